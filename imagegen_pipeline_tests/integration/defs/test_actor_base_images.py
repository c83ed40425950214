"""``actor_base_images``: a base image of each actor, with its old ones kept."""

from __future__ import annotations

import pytest
from PIL import Image

from imagegen_pipeline_tests.conftest import Simulator
from imagegen_pipeline_tests.integration.defs.conftest import Dagster

ACTOR_ASSETS = ("actors", "actor_base_images", "generation_results")


@pytest.fixture
def actors(dagster: Dagster) -> list[str]:
    """Two actors, registered; returns their keys."""
    dagster.project.write_actor("0101_european_25_male", description="european 25 year old male")
    dagster.project.write_actor(
        "0102_asian_31_female", description="asian 31 year old female", seed=7, steps=30
    )
    dagster.register()
    return list(dagster.instance.get_dynamic_partitions("actors"))


def test_a_range_makes_each_base_image_at_its_fixed_path(
    dagster: Dagster, actors: list[str], simulator: Simulator
) -> None:
    """Each actor gets ``{actor}_base.png`` of the asked size, with one event and one bill."""
    assert dagster.run(*ACTOR_ASSETS, keys=actors).success

    assert dagster.count("actor_base_images") == dict.fromkeys(actors, 1)
    assert simulator.billed("runpod") == 2
    for name in actors:
        folder = dagster.project.results / "actors" / name / "base_image"
        with Image.open(folder / f"{name}_base.png") as picture:
            assert (picture.format, picture.size) == ("PNG", (64, 96))


def test_a_fixed_seed_is_the_actors_own(dagster: Dagster, actors: list[str]) -> None:
    """The seed of ``actor.json`` is used; without one a seed is drawn and written down."""
    dagster.run("actor_base_images", keys=actors)

    seeds = {e.partition: e.metadata["seed"].value for e in dagster.events("actor_base_images")}
    assert seeds["0102_asian_31_female"] == "7"
    assert int(str(seeds["0101_european_25_male"])) >= 0


def test_base_images_are_reused_until_regenerate_keeps_the_old_one(
    dagster: Dagster, actors: list[str], simulator: Simulator
) -> None:
    """A random seed does not spoil reuse; a regenerate leaves the replaced one in history."""
    key = actors[:1]
    dagster.run("actor_base_images", keys=key)
    dagster.run("actor_base_images", keys=key)
    assert simulator.billed("runpod") == 1
    folder = dagster.project.results / "actors" / key[0] / "base_image"
    old = (folder / f"{key[0]}_base.png").read_bytes()

    dagster.run("actor_base_images", keys=key, config={"regenerate": True})

    new = (folder / f"{key[0]}_base.png").read_bytes()
    assert simulator.billed("runpod") == 2
    assert new != old
    assert old in [path.read_bytes() for path in (folder / "history").glob("*.png")]


def test_a_bad_actor_is_told_and_the_others_go_on(dagster: Dagster, simulator: Simulator) -> None:
    """An ``actor.json`` that cannot be read is listed in the scan; the good one is made."""
    dagster.project.write_actor("good", description="european 40 year old female")
    (dagster.project.data / "actors" / "bad").mkdir()
    dagster.register()

    (scan,) = dagster.events("source_scan")
    assert "actor.json" in str(scan.metadata["problems"].value)
    assert list(dagster.instance.get_dynamic_partitions("actors")) == ["good"]
    assert dagster.run("actor_base_images", keys=["good"]).success
    assert simulator.billed("runpod") == 1
