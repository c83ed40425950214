"""Actor folders that are links: nothing is written through one that leads outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imagegen_pipeline.app.base_image import BaseImageParams, generate_base_image
from imagegen_pipeline.domain.partition_keys import LONGEST_KEY
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.hostile.test_names import DESCRIPTION

NAME = "0100_sailor"
LINKS = ["", "base_image", "base_image/history"]


@pytest.fixture
def pipeline(live_project: Project) -> Iterator[Pipeline]:
    """The pipeline of a live project, whose base images go to the actors' own folders."""
    with closing(live_project.pipeline()) as opened:
        yield opened


def link(project: Project, place: str, to: Path) -> None:
    """Make the actor's folder, or one within it, a link."""
    (project.data / "actors").mkdir(exist_ok=True)
    path = project.data / "actors" / NAME / place if place else project.data / "actors" / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


@pytest.mark.parametrize("place", LINKS)
def test_no_base_image_is_written_through_a_link(
    place: str, live_project: Project, pipeline: Pipeline, simulator: Simulator
) -> None:
    """A request for a linked actor is refused, and nothing is written outside."""
    outside = live_project.root / "outside"
    outside.mkdir()
    link(live_project, place, outside)
    answer = generate_base_image(pipeline, BaseImageParams(NAME, DESCRIPTION, 64, 96))
    assert (answer.status_code, answer.body["status"]) == (400, "FAILED")
    assert "leads outside" in answer.body["error"]
    assert list(outside.iterdir()) == []
    assert simulator.billed("runpod") == 0


@pytest.mark.parametrize("place", LINKS)
def test_a_linked_actor_is_none(place: str, live_project: Project, pipeline: Pipeline) -> None:
    """A scan reports it as a problem, so that no batch generates its image."""
    outside = live_project.root / "outside"
    outside.mkdir()
    live_project.write_actor("0100_other", description=DESCRIPTION)
    link(live_project, place, outside)
    folder = live_project.data / "actors" / NAME
    if place:
        (folder / "actor.json").write_text(f'{{"description": "{DESCRIPTION}"}}')
    else:
        (outside / "actor.json").write_text(f'{{"description": "{DESCRIPTION}"}}')
    found = pipeline.scan_actors()
    assert [actor.name for actor in found.actors] == ["0100_other"]
    assert "leads outside" in found.problems[0].message


def test_links_within_the_roster_are_followed(live_project: Project, pipeline: Pipeline) -> None:
    """An alias of another actor is an actor, and the actors' folder itself may be a link."""
    real = live_project.root / "roster"
    (real / "0100_real").mkdir(parents=True)
    (live_project.data / "actors").symlink_to(real)
    link(live_project, "", real / "0100_real")
    answer = generate_base_image(pipeline, BaseImageParams(NAME, DESCRIPTION, 64, 96))
    assert answer.status_code == 200
    assert (real / "0100_real" / "base_image" / f"{NAME}_base.png").is_file()


@pytest.mark.parametrize("length", [LONGEST_KEY + 1, 240, 255, 300, 5000])
def test_a_name_that_is_too_long_buys_nothing(
    length: int, live_project: Project, pipeline: Pipeline, simulator: Simulator
) -> None:
    """It is refused before the purchase, because no file could have its name; the longest name
    works.
    """
    answer = generate_base_image(pipeline, BaseImageParams("x" * length, DESCRIPTION, 64, 96))
    assert answer.status_code == 400
    assert len(answer.body["error"]) < 400
    assert simulator.billed("runpod") == 0
    longest = "y" * LONGEST_KEY
    answer = generate_base_image(pipeline, BaseImageParams(longest, DESCRIPTION, 64, 96))
    assert answer.status_code == 200
    assert len(list((live_project.data / "actors").iterdir())) == 1
