"""What is made already is used again, as long as it is what is asked for."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline.domain.requests import Status
from imagegen_pipeline_tests.conftest import Project
from imagegen_pipeline_tests.engine.bench import DRAWN, PARAMETERS, SUBMIT, Bench, picture


def test_the_same_request_is_reused_at_no_cost(bench: Bench) -> None:
    """The same prompt asked for again gives the same file, costs nothing and sends nothing."""
    prompt = bench.prompt()
    made = bench.make_one(prompt)
    again = bench.make_one(prompt)

    assert made.status is Status.MADE
    assert again.status is Status.REUSED
    assert again.path == made.path
    assert again.cost == 0
    assert bench.simulator.billed() == 1
    assert bench.requests(SUBMIT) == 1


def test_another_process_reuses_too(bench: Bench) -> None:
    """A pipeline opened later on the same folder finds what is made, also with a drawn seed."""
    prompt = bench.prompt()
    made = bench.make_one(prompt, DRAWN)
    with closing(bench.project.pipeline()) as later:
        (again,) = later.generate_images([prompt], DRAWN, later.order())

    assert again.status is Status.REUSED
    assert again.path == made.path
    assert bench.simulator.billed() == 1


def test_a_changed_text_is_made_anew_and_the_old_file_stays(bench: Bench) -> None:
    """An edited prompt keeps its key, gets a new picture, and loses no old one."""
    old_prompt = bench.prompt("a red boat")
    old = bench.make_one(old_prompt)
    old_bytes = picture(old)
    new_prompt = bench.prompt("a green boat")
    new = bench.make_one(new_prompt)

    assert new_prompt.key == old_prompt.key
    assert new.status is Status.MADE
    assert new.path != old.path
    assert picture(new) != old_bytes
    assert picture(old) == old_bytes
    assert bench.simulator.billed() == 2


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
def test_a_changed_parameter_is_made_anew(bench: Bench, change: dict[str, Any]) -> None:
    """Every parameter is part of the request: another value is another picture."""
    prompt = bench.prompt()
    old = bench.make_one(prompt)
    new = bench.make_one(prompt, replace(PARAMETERS, **change))

    assert new.status is Status.MADE
    assert picture(new) != picture(old)
    assert bench.simulator.billed() == 2


def test_going_back_to_an_older_text_buys_nothing(bench: Bench) -> None:
    """A prompt that is edited and edited back gets the picture that was made of it before."""
    first = bench.make_one(bench.prompt("a red boat"))
    bench.make_one(bench.prompt("a green boat"))
    back = bench.make_one(bench.prompt("a red boat"))

    assert back.status is Status.SHARED
    assert picture(back) == picture(first)
    assert bench.simulator.billed() == 2


def test_a_deleted_file_is_made_again(bench: Bench) -> None:
    """A picture that is no longer on disk is made again."""
    prompt = bench.prompt()
    made = bench.make_one(prompt)
    Path(str(made.path)).unlink()
    again = bench.make_one(prompt)

    assert again.status is Status.MADE
    assert picture(again)
    assert bench.simulator.billed() == 2


def test_an_altered_file_is_made_again_and_kept(bench: Bench) -> None:
    """A picture whose bytes have changed does not count, and is not overwritten either."""
    prompt = bench.prompt()
    made = Path(str(bench.make_one(prompt).path))
    altered = made.read_bytes()[:-1] + b"?"
    made.write_bytes(altered)
    again = bench.make_one(prompt)

    assert again.status is Status.MADE
    assert Path(str(again.path)) != made
    assert made.read_bytes() == altered
    assert bench.simulator.billed() == 2


def test_a_regenerated_picture_counts_for_the_plain_request(bench: Bench) -> None:
    """What was regenerated with another seed is the item's picture: nothing goes back to the
    first one, and nothing is bought.
    """
    prompt = bench.prompt()
    first = bench.make_one(prompt)
    second = bench.make_one(prompt, regenerate=True)
    third = bench.make_one(prompt)

    assert second.attempt is not None
    assert second.attempt.seed != PARAMETERS.seed
    assert third.status is Status.REUSED
    assert third.path == second.path != first.path
    assert bench.simulator.billed() == 2


def go_live(bench: Bench, monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    """From here on pipelines believe the simulator to be the real service."""
    live = {
        "IMAGEGEN_SIMULATOR": "",
        "DUOMI_BASE_URL": f"{bench.simulator.url}/duomi",
        "DUOMI_API_KEY": "simulated-duomi-key",
        "IMAGEGEN_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
    }
    for name, value in {**live, **more}.items():
        monkeypatch.setenv(name, value)


def test_a_simulated_picture_never_satisfies_a_live_request(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live work makes its own pictures in its own folder, whatever the simulator made."""
    prompt = bench.prompt()
    simulated = bench.make_one(prompt)
    go_live(bench, monkeypatch)
    with closing(bench.project.pipeline()) as live:
        (found,) = live.scan_prompts(database=False).prompts
        (real,) = live.generate_images([found], PARAMETERS, live.order())

    assert real.status is Status.MADE
    assert real.attempt is not None
    assert not real.attempt.simulated
    assert Path(str(simulated.path)).is_relative_to(bench.project.results)
    assert Path(str(real.path)).parent == bench.project.data / "generated_images"
    assert bench.simulator.billed() == 2


def test_not_even_in_the_same_ledger(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    """Live work that is pointed at the simulated folder takes no picture from it, neither as
    its own nor as a shared one.
    """
    prompts = bench.prompts(boat="a red boat")
    bench.make(prompts)
    go_live(
        bench,
        monkeypatch,
        IMAGEGEN_DATA_DIR=str(project.results),
        IMAGEGEN_PROMPT_JSON_DIR=str(project.data / "prompt_json"),
    )
    with closing(project.pipeline()) as live:
        assert live.settings.ledger_url == bench.pipeline.settings.ledger_url
        (outcome,) = live.generate_images(prompts, PARAMETERS, live.order())

    assert outcome.status is Status.MADE
    assert bench.simulator.billed() == 2
