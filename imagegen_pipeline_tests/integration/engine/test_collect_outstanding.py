"""``Pipeline.collect``: what was sent comes home, whatever it was for; nothing new is sent."""

from __future__ import annotations

from contextlib import closing

from imagegen_pipeline.domain.requests import Outcome, State, Status
from imagegen_pipeline_tests.conftest import until
from imagegen_pipeline_tests.integration.engine.harness import (
    GPT,
    HOUR,
    PARAMETERS,
    RUN,
    SUBMIT,
    EngineHarness,
    picture,
    plan_base,
    submitted,
)
from imagegen_pipeline_tests.unit.ledger.ledger_rows import submitting


def collect(harness: EngineHarness) -> dict[str, Outcome]:
    """One look at everything outstanding, as a process of its own."""
    with closing(harness.project.pipeline()) as pipeline:
        return {outcome.item_key: outcome for outcome in pipeline.collect()}


def ready(harness: EngineHarness, provider: str = "runpod", number: int = 1) -> None:
    """Wait until the service has made so many pictures."""
    until(lambda: harness.simulator.billed(provider) >= number)


def test_nothing_outstanding_is_nothing_to_do(harness: EngineHarness) -> None:
    """Without open attempts no service is asked, and no key is needed."""
    harness.make_one(harness.prompt())
    before = harness.simulator.stats()["requests"]
    assert collect(harness) == {}
    assert harness.simulator.stats()["requests"] == before


def test_finished_jobs_of_every_kind_come_home(harness: EngineHarness) -> None:
    """A base image and a task of Duomi's, sent by a process that is gone, are stored, published
    and current; each was sent once.
    """
    actor, prompt = harness.actor(), harness.prompt()
    submitted(harness, actor)
    attempt = submitting(harness.pipeline.ledger, harness.plan(prompt, GPT))
    duomi = harness.pipeline.provider("duomi")
    task = duomi.submit(attempt.sent_request).job_id
    harness.pipeline.ledger.attempts.submitted(attempt, job_id=str(task), endpoint=duomi.endpoint)
    ready(harness, "runpod")
    ready(harness, "duomi")

    outcomes = collect(harness)
    assert {key: one.status for key, one in outcomes.items()} == {
        actor.key: Status.MADE,
        prompt.key: Status.MADE,
    }
    assert picture(outcomes[actor.key])
    assert str(outcomes[actor.key].path).endswith(f"{actor.name}_base.png")
    assert harness.make_base(actor).status is Status.REUSED
    assert harness.make_one(prompt, GPT).status is Status.REUSED
    assert (harness.requests(RUN), harness.requests(SUBMIT)) == (1, 1)


def test_a_running_job_is_left(harness: EngineHarness) -> None:
    """A job that is not done is not waited for, and is not given up."""
    actor = harness.actor()
    attempt = plan_base(harness, actor)
    harness.simulator.fault(provider="runpod", operation="submit", fault="stuck_in_queue")
    runpod = harness.pipeline.provider("runpod")
    job_id = runpod.submit(attempt.sent_request).job_id
    harness.pipeline.ledger.attempts.submitted(
        attempt, job_id=str(job_id), endpoint=runpod.endpoint
    )
    outcome = collect(harness)[actor.key]
    assert outcome.status is Status.SKIPPED
    assert str(job_id) in outcome.reason
    assert harness.states() == [State.SUBMITTED]


def test_a_failed_download_is_tried_again(harness: EngineHarness) -> None:
    """A picture whose URL did not deliver comes home later, and is not bought again."""
    prompt = harness.prompt()
    harness.simulator.fault(
        provider="files", operation="download", fault="status", status=500, times=4
    )
    failed = harness.make_one(prompt, context=harness.on_fake_clock())
    assert failed.error_kind == "download"
    assert collect(harness)[prompt.key].status is Status.MADE
    assert harness.simulator.billed() == 1


def test_what_got_no_answer_is_called_unknown(harness: EngineHarness) -> None:
    """A request whose process died before the answer is named, and not sent again here."""
    prompt = harness.prompt()
    submitting(harness.pipeline.ledger, harness.plan(prompt))
    outcome = collect(harness)[prompt.key]
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "unknown")
    assert harness.states() == [State.UNKNOWN]
    assert harness.requests(SUBMIT) == 0


def test_an_item_that_somebody_is_at_is_left_to_him(harness: EngineHarness) -> None:
    """A batch that waits for its own job is not disturbed."""
    actor = harness.actor()
    submitted(harness, actor)
    harness.pipeline.ledger.leases.acquire([f"item:{actor.key}"], "a batch")
    outcome = collect(harness)[actor.key]
    assert outcome.status is Status.SKIPPED
    assert "Another process is at this item" in outcome.reason
    assert harness.states() == [State.SUBMITTED]


def test_a_job_past_its_retention_is_expired(harness: EngineHarness) -> None:
    """What the service no longer has is written down as billed and lost; not while it must
    have it still, whatever a gateway says.
    """
    actor = harness.actor()
    attempt = plan_base(harness, actor)
    endpoint = harness.pipeline.provider("runpod").endpoint
    harness.pipeline.ledger.attempts.submitted(attempt, job_id="long-gone", endpoint=endpoint)
    early = collect(harness)[actor.key]
    assert (early.status, harness.states()) == (Status.SKIPPED, [State.SUBMITTED])
    harness.age(HOUR)
    outcome = collect(harness)[actor.key]
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "job_expired")
    assert harness.states() == [State.EXPIRED]


def test_sent_ones_come_first_in_a_batch(harness: EngineHarness) -> None:
    """A batch of one worker brings home what was sent before it sends anything new."""
    prompts = harness.prompts(a="boat a", b="boat b", c="boat c")
    harness.simulator.fault(
        provider="files", operation="download", fault="status", status=500, times=4, match="boat c"
    )
    harness.make([prompts[2]], context=harness.on_fake_clock())
    batch = harness.pipeline.generate_images(
        prompts, PARAMETERS, harness.pipeline.order(concurrency=1)
    )
    first, *_ = (outcome.item_key for outcome in batch)
    assert first == prompts[2].key
    assert harness.simulator.billed() == 3
