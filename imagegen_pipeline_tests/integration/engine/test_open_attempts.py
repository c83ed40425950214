"""Paid work that comes home by a narrow way: a dead endpoint, a full ledger, a stop."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from PIL import Image

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.domain.requests import (
    Attempt,
    GenerationRequest,
    ProviderName,
    State,
    Status,
)
from imagegen_pipeline.engine import BatchOptions
from imagegen_pipeline.providers.base import JobReport, JobState, RemoteImage, Submission
from imagegen_pipeline.providers.http.response_parsing import read_image
from imagegen_pipeline_tests.integration.engine.harness import (
    PARAMETERS,
    RUN,
    EngineHarness,
    picture,
    plan_base,
    submitted,
)
from imagegen_pipeline_tests.integration.engine.test_job_recovery import make_base


@dataclass
class InAnswer:
    """A service whose answer holds the picture itself, and that counts what it bills."""

    name: ProviderName = "duomi"
    endpoint: str = "http://in-answer"
    billed: int = 0

    def submit(self, request: GenerationRequest) -> Submission:
        """See ``ImageService.submit``."""
        self.billed += 1
        out = io.BytesIO()
        Image.new("RGB", (request.width, request.height), (9, 99, 199)).save(out, "PNG")
        return Submission(
            report=JobReport(JobState.COMPLETED, images=(RemoteImage(data=out.getvalue()),))
        )

    def poll(self, job_id: str, endpoint: str) -> JobReport:
        """Never asked: there are no jobs."""
        raise AssertionError(job_id, endpoint)

    def cancel(self, job_id: str, endpoint: str) -> None:
        """Never asked."""
        raise AssertionError(job_id, endpoint)

    def health(self) -> dict[str, object]:
        """Nothing to tell."""
        return {}


def test_a_job_at_an_endpoint_that_is_gone_does_not_block_its_item(harness: EngineHarness) -> None:
    """A simulated job whose simulator is no more is given up, and the picture is made anew."""
    actor = harness.actor()
    attempt = plan_base(harness, actor)
    dead = "http://127.0.0.1:9/runpod/v2/gone"
    harness.pipeline.ledger.attempts.submitted(attempt, job_id="dead-1", endpoint=dead)
    outcome = make_base(harness, actor, harness.on_fake_clock())

    assert outcome.status is Status.MADE
    assert harness.states() == [State.EXPIRED, State.STORED]
    assert harness.requests(RUN) == 1


def test_a_picture_inside_the_answer_survives_a_ledger_that_fails(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are on disk before the ledger moves, and the next batch adopts them unbilled."""
    provider = InAnswer()
    harness.pipeline.use(provider)
    prompt = harness.prompt()
    gallery = harness.pipeline.ledger.attempts
    real = gallery.stored
    failures: Iterator[bool] = iter([True])

    def stored(attempt: Attempt, **facts: Any) -> Attempt:
        if next(failures, False):
            raise LedgerError("The ledger is locked.")
        return real(attempt, **facts)

    monkeypatch.setattr(gallery, "stored", stored)
    failed = harness.make_one(prompt)
    again = harness.make_one(prompt)

    assert (failed.status, again.status) == (Status.FAILED, Status.MADE)
    assert provider.billed == 1
    assert picture(again)


def test_a_picture_inside_the_answer_survives_that_its_name_is_taken(
    harness: EngineHarness,
) -> None:
    """Its bytes are kept aside, and the next batch stores them unbilled once the name is free."""
    store = harness.pipeline.store

    class TakesTheName(InAnswer):
        def submit(self, request: GenerationRequest) -> Submission:
            (attempt,) = harness.attempts()
            self.taken = store.absolute(f"{attempt.folder}/{attempt.file_stem}.png")
            self.taken.symlink_to("gone.png")
            return super().submit(request)

    provider = TakesTheName()
    harness.pipeline.use(provider)
    prompt = harness.prompt()
    failed = harness.make_one(prompt)
    provider.taken.unlink()
    again = harness.make_one(prompt)

    assert (failed.status, failed.error_kind) == (Status.FAILED, "name_taken")
    assert again.status is Status.MADE
    assert provider.billed == 1
    assert picture(again)


def test_a_hold_outlives_another_request_in_between(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held stays held, although the item has got a picture of another request since."""
    context = replace(harness.pipeline.engine_context, on_unknown="hold")
    prompt = harness.prompt()
    harness.simulator.fault(provider="duomi", operation="submit", fault="reset_after_work")
    held = harness.make_one(prompt, context=context)
    other = harness.make_one(prompt, replace(PARAMETERS, seed=7), context=context)
    again = harness.make_one(prompt, context=context)

    assert (held.status, other.status, again.status) == (Status.HELD, Status.MADE, Status.HELD)
    assert harness.simulator.billed() == 2


def test_an_account_error_lets_jobs_that_were_sent_finish(harness: EngineHarness) -> None:
    """One refusal that stops the batch does not abandon another item's paid job."""
    first, second = harness.actor("0100_sailor"), harness.actor("0200_cook", description="a cook")
    submitted(harness, first)
    harness.simulator.fault(provider="runpod", operation="submit", fault="status", status=401)
    batch = harness.pipeline.generate_base_images([first, second], BatchOptions(concurrency=2))
    outcomes = {outcome.item_key: outcome for outcome in batch}

    assert outcomes[first.key].status is Status.MADE
    assert outcomes[second.key].error_kind == "account"


@pytest.mark.parametrize("text", ["_-8=", "_-8", "/+8=", "/+8"])
def test_base64_of_any_alphabet_is_read(text: str) -> None:
    """The alphabet for URLs and a missing padding lose no paid bytes."""
    assert read_image(text, provider="Duomi").data == b"\xff\xef"
