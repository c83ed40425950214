"""A forecast says what a batch would do and cost, and does nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import Status
from imagegen_pipeline.engine.dry_run import DryRun
from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.engine.harness import (
    DRAWN,
    PARAMETERS,
    SUBMIT,
    EngineHarness,
    counts,
)
from imagegen_pipeline_tests.unit.ledger.ledger_rows import submitting


@pytest.fixture
def priced(
    project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EngineHarness]:
    """A pipeline that knows what Duomi's default model costs, and holds what is unknown."""
    monkeypatch.setenv("IMAGEGEN_PRICES", json.dumps({"duomi": {PARAMETERS.model: 0.25}}))
    monkeypatch.setenv("IMAGEGEN_ON_UNKNOWN", "hold")
    with closing(project.pipeline()) as pipeline:
        yield EngineHarness(project, simulator, pipeline)


def dry_run(harness: EngineHarness, prompts: list[Prompt], *, regenerate: bool = False) -> DryRun:
    """The pipeline's forecast with small pictures."""
    return harness.pipeline.dry_run_images(prompts, PARAMETERS, regenerate=regenerate)


def test_every_fate_is_foreseen_and_comes_true(priced: EngineHarness) -> None:
    """Make, reuse, share, collect and hold, as the batch then does them; only what is made
    anew costs.
    """
    reused, twin, collected, held, fresh, fresh_twin = priced.prompts(
        a="boat a", b="boat a", c="boat c", d="boat d", e="boat e", f="boat e"
    )
    priced.make([reused])
    gallery = priced.pipeline.ledger.attempts
    attempt = submitting(priced.pipeline.ledger, priced.plan(collected))
    report = priced.pipeline.provider("duomi").submit(attempt.sent_request).report
    assert report is not None
    gallery.completed(attempt, result_url=report.images[0].url)
    submitting(priced.pipeline.ledger, priced.plan(held))
    prompts = [reused, twin, collected, held, fresh, fresh_twin]
    sent = priced.requests(SUBMIT)
    states = priced.states()

    forecast = dry_run(priced, prompts)
    assert list(forecast.fates.values()) == ["reuse", "share", "collect", "hold", "make", "share"]
    assert forecast.cost == 0.25
    assert priced.requests(SUBMIT) == sent
    assert priced.states() == states

    outcomes = priced.make(prompts)
    assert counts(outcomes) == {"reused": 1, "shared": 2, "made": 2, "held": 1}
    assert outcomes[collected.key].status is Status.MADE
    assert priced.requests(SUBMIT) == sent + 1


def test_a_regenerate_is_foreseen_to_cost_every_item(priced: EngineHarness) -> None:
    """Nothing is reused, shared or collected in a regenerate with a new intent."""
    prompts = priced.prompts(a="boat a", b="boat a")
    priced.make(prompts)
    forecast = dry_run(priced, prompts, regenerate=True)

    assert set(forecast.fates.values()) == {"make"}
    assert forecast.cost == 0.5


def test_seed_minus_one_is_never_foreseen_to_be_shared(priced: EngineHarness) -> None:
    """Random pictures of one text cost each."""
    prompts = priced.prompts(a="boat a", b="boat a")
    forecast = priced.pipeline.dry_run_images(prompts, DRAWN, regenerate=False)

    assert set(forecast.fates.values()) == {"make"}
    assert forecast.cost == 0.5


def test_a_deleted_picture_is_neither_reused_nor_shared(priced: EngineHarness) -> None:
    """The forecast looks at the files too."""
    first, second = priced.prompts(a="boat a", b="boat a")
    Path(str(priced.make_one(first).path)).unlink()
    forecast = dry_run(priced, [second])

    assert forecast.fates == {second.key: "make"}
    assert priced.make_one(second).status is Status.MADE


def test_an_open_attempt_of_another_request_is_not_this_ones_picture(priced: EngineHarness) -> None:
    """A picture under way for the old text does not save the new text's bill."""
    gallery = priced.pipeline.ledger.attempts
    attempt = submitting(priced.pipeline.ledger, priced.plan(priced.prompt("a red boat")))
    gallery.submitted(attempt, job_id="task-1", endpoint="http://127.0.0.1:9")
    prompt = priced.prompt("a green boat")

    assert dry_run(priced, [prompt]).fates == {prompt.key: "make"}


def test_a_picture_lost_with_its_answer_is_foreseen_to_be_made(priced: EngineHarness) -> None:
    """What cannot be collected any more is bought anew."""
    prompt = priced.prompt()
    gallery = priced.pipeline.ledger.attempts
    gallery.completed(submitting(priced.pipeline.ledger, priced.plan(prompt)), result_url=None)

    forecast = dry_run(priced, [prompt])
    assert (forecast.fates, forecast.cost) == ({prompt.key: "make"}, 0.25)


def test_an_unknown_price_is_not_called_nothing(priced: EngineHarness) -> None:
    """One picture without a price makes the whole cost unknown."""
    prompts = priced.prompts(a="boat a")
    other = replace(PARAMETERS, model="stabilityai/stable-diffusion-2-1")
    forecast = priced.pipeline.dry_run_images(prompts, other, regenerate=False)

    assert forecast.cost is None


def test_a_forecast_needs_no_key(
    harness: EngineHarness, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live work can be looked at before any key is set; nothing is sent."""
    prompts = harness.prompts(a="boat a")
    monkeypatch.setenv("IMAGEGEN_SIMULATOR", "")
    with closing(project.pipeline()) as live:
        forecast = live.dry_run_images(prompts, PARAMETERS, regenerate=False)

    assert set(forecast.fates.values()) == {"make"}
    assert harness.requests(SUBMIT) == 0
