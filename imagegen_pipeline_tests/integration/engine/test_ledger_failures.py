"""The ledger fails just when a service has answered: the next run still brings the work home."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.domain.requests import Outcome, Status
from imagegen_pipeline.ledger import AttemptRepository
from imagegen_pipeline_tests.integration.engine.harness import RUN, SUBMIT, EngineHarness, picture


def break_once(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The ledger cannot write this step, this once."""
    real, left = getattr(AttemptRepository, step), [1]

    def broken(gallery: AttemptRepository, *args: Any, **facts: Any) -> Any:
        if left.pop() if left else None:
            raise LedgerError("The ledger failed: database is locked.")
        return real(gallery, *args, **facts)

    monkeypatch.setattr(AttemptRepository, step, broken)


def next_run(harness: EngineHarness, make: str, source_item: Any) -> Outcome:
    """The same wish from a process of its own."""
    with closing(harness.project.pipeline()) as pipeline:
        return getattr(replace(harness, pipeline=pipeline), make)(source_item)


def test_a_job_that_the_ledger_could_not_take_is_noted_beside_it(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's name is kept, and the next run collects it: one submit, one bill."""
    actor = harness.actor()
    break_once(monkeypatch, "submitted")
    failed = harness.make_base(actor)
    assert failed.error_kind == "ledger"

    outcome = next_run(harness, "make_base", actor)
    assert outcome.status is Status.MADE
    assert picture(outcome)
    assert harness.requests(RUN) == 1
    assert not [one for one in harness.attempts() if one.possible_double_charge]


def test_a_picture_that_the_ledger_could_not_take_is_kept_and_adopted(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A synchronous answer's URL is known to nobody else: its picture is fetched at once."""
    prompt = harness.prompt()
    break_once(monkeypatch, "completed")
    failed = harness.make_one(prompt)
    assert failed.error_kind == "ledger"

    outcome = next_run(harness, "make_one", prompt)
    assert outcome.status is Status.MADE
    assert picture(outcome)
    assert harness.requests(SUBMIT) == 1


def test_a_stored_picture_that_the_ledger_could_not_take_is_adopted(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole file of the settled name is taken over as it is."""
    prompt = harness.prompt()
    break_once(monkeypatch, "stored")
    assert harness.make_one(prompt).error_kind == "ledger"
    before = harness.simulator.stats()["downloads"]

    outcome = next_run(harness, "make_one", prompt)
    assert outcome.status is Status.MADE
    assert harness.simulator.stats()["downloads"] == before
    assert harness.requests(SUBMIT) == 1
