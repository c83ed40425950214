"""What is made already is used again, as long as it is what is asked for."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline.domain.requests import Status
from imagegen_pipeline_tests.conftest import Project
from imagegen_pipeline_tests.integration.engine.harness import (
    DRAWN,
    PARAMETERS,
    SUBMIT,
    EngineHarness,
    picture,
)


def test_the_same_request_is_reused_at_no_cost(harness: EngineHarness) -> None:
    """The same prompt asked for again gives the same file, costs nothing and sends nothing."""
    prompt = harness.prompt()
    made = harness.make_one(prompt)
    again = harness.make_one(prompt)

    assert made.status is Status.MADE
    assert again.status is Status.REUSED
    assert again.path == made.path
    assert again.cost == 0
    assert harness.simulator.billed() == 1
    assert harness.requests(SUBMIT) == 1


def test_another_process_reuses_too(harness: EngineHarness) -> None:
    """A pipeline opened later on the same folder finds what is made, also with a drawn seed."""
    prompt = harness.prompt()
    made = harness.make_one(prompt, DRAWN)
    with closing(harness.project.pipeline()) as later:
        (again,) = later.generate_images([prompt], DRAWN, later.order())

    assert again.status is Status.REUSED
    assert again.path == made.path
    assert harness.simulator.billed() == 1


def test_a_changed_text_is_made_anew_and_the_old_file_stays(harness: EngineHarness) -> None:
    """An edited prompt keeps its key, gets a new picture, and loses no old one."""
    old_prompt = harness.prompt("a red boat")
    old = harness.make_one(old_prompt)
    old_bytes = picture(old)
    new_prompt = harness.prompt("a green boat")
    new = harness.make_one(new_prompt)

    assert new_prompt.key == old_prompt.key
    assert new.status is Status.MADE
    assert new.path != old.path
    assert picture(new) != old_bytes
    assert picture(old) == old_bytes
    assert harness.simulator.billed() == 2


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7},
        {"steps": 21},
        {"guidance": 8.0},
        {"image_size": "64x96"},
        {"negative_prompt": "fog"},
        {"model": "stabilityai/stable-diffusion-2-1"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_parameter_is_made_anew(harness: EngineHarness, change: dict[str, Any]) -> None:
    """Every parameter is part of the request: another value is another picture."""
    prompt = harness.prompt()
    old = harness.make_one(prompt)
    new = harness.make_one(prompt, replace(PARAMETERS, **change))

    assert new.status is Status.MADE
    assert picture(new) != picture(old)
    assert harness.simulator.billed() == 2


def test_going_back_to_an_older_text_buys_nothing(harness: EngineHarness) -> None:
    """A prompt that is edited and edited back gets the picture that was made of it before."""
    first = harness.make_one(harness.prompt("a red boat"))
    harness.make_one(harness.prompt("a green boat"))
    back = harness.make_one(harness.prompt("a red boat"))

    assert back.status is Status.SHARED
    assert picture(back) == picture(first)
    assert harness.simulator.billed() == 2


def test_a_deleted_file_is_made_again(harness: EngineHarness) -> None:
    """A picture that is no longer on disk is made again."""
    prompt = harness.prompt()
    made = harness.make_one(prompt)
    Path(str(made.path)).unlink()
    again = harness.make_one(prompt)

    assert again.status is Status.MADE
    assert picture(again)
    assert harness.simulator.billed() == 2


def test_an_altered_file_is_made_again_and_kept(harness: EngineHarness) -> None:
    """A picture whose bytes have changed does not count, and is not overwritten either."""
    prompt = harness.prompt()
    made = Path(str(harness.make_one(prompt).path))
    altered = made.read_bytes()[:-1] + b"?"
    made.write_bytes(altered)
    again = harness.make_one(prompt)

    assert again.status is Status.MADE
    assert Path(str(again.path)) != made
    assert made.read_bytes() == altered
    assert harness.simulator.billed() == 2


def test_a_regenerated_picture_counts_for_the_plain_request(harness: EngineHarness) -> None:
    """What was regenerated with another seed is the item's picture: nothing goes back to the
    first one, and nothing is bought.
    """
    prompt = harness.prompt()
    first = harness.make_one(prompt)
    second = harness.make_one(prompt, regenerate=True)
    third = harness.make_one(prompt)

    assert second.attempt is not None
    assert second.attempt.seed != PARAMETERS.seed
    assert third.status is Status.REUSED
    assert third.path == second.path != first.path
    assert harness.simulator.billed() == 2


def go_live(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    """From here on pipelines believe the simulator to be the real service."""
    live = {
        "IMAGEGEN_SIMULATOR": "",
        "DUOMI_BASE_URL": f"{harness.simulator.url}/duomi",
        "DUOMI_API_KEY": "simulated-duomi-key",
        "IMAGEGEN_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
    }
    for name, value in {**live, **more}.items():
        monkeypatch.setenv(name, value)


def test_a_simulated_picture_never_satisfies_a_live_request(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live work makes its own pictures in its own folder, whatever the simulator made."""
    prompt = harness.prompt()
    simulated = harness.make_one(prompt)
    go_live(harness, monkeypatch)
    with closing(harness.project.pipeline()) as live:
        (found,) = live.scan_prompts(database=False).prompts
        (real,) = live.generate_images([found], PARAMETERS, live.order())

    assert real.status is Status.MADE
    assert real.attempt is not None
    assert not real.attempt.simulated
    assert Path(str(simulated.path)).is_relative_to(harness.project.results)
    assert Path(str(real.path)).parent == harness.project.data / "generated_images"
    assert harness.simulator.billed() == 2


def test_not_even_in_the_same_ledger(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    """Live work that is pointed at the simulated folder takes no picture from it, neither as
    its own nor as a shared one.
    """
    prompts = harness.prompts(boat="a red boat")
    harness.make(prompts)
    go_live(
        harness,
        monkeypatch,
        IMAGEGEN_DATA_DIR=str(project.results),
        IMAGEGEN_PROMPT_JSON_DIR=str(project.data / "prompt_json"),
    )
    with closing(project.pipeline()) as live:
        assert live.settings.ledger_url == harness.pipeline.settings.ledger_url
        (outcome,) = live.generate_images(prompts, PARAMETERS, live.order())

    assert outcome.status is Status.MADE
    assert harness.simulator.billed() == 2
