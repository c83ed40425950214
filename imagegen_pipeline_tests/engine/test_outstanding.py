"""``Pipeline.collect``: what was sent comes home, whatever it was for; nothing new is sent."""

from __future__ import annotations

from contextlib import closing

from imagegen_pipeline.domain.requests import Outcome, State, Status
from imagegen_pipeline_tests.conftest import until
from imagegen_pipeline_tests.engine.bench import (
    GPT,
    HOUR,
    PARAMETERS,
    RUN,
    SUBMIT,
    Bench,
    picture,
    plan_base,
    submitted,
)
from imagegen_pipeline_tests.ledger.ledger_rows import submitting


def collect(bench: Bench) -> dict[str, Outcome]:
    """One look at everything outstanding, as a process of its own."""
    with closing(bench.project.pipeline()) as pipeline:
        return {outcome.item_key: outcome for outcome in pipeline.collect()}


def ready(bench: Bench, provider: str = "runpod", number: int = 1) -> None:
    """Wait until the service has made so many pictures."""
    until(lambda: bench.simulator.billed(provider) >= number)


def test_nothing_outstanding_is_nothing_to_do(bench: Bench) -> None:
    """Without open attempts no service is asked, and no key is needed."""
    bench.make_one(bench.prompt())
    before = bench.simulator.stats()["requests"]
    assert collect(bench) == {}
    assert bench.simulator.stats()["requests"] == before


def test_finished_jobs_of_every_kind_come_home(bench: Bench) -> None:
    """A base image and a task of Duomi's, sent by a process that is gone, are stored, published
    and current; each was sent once.
    """
    actor, prompt = bench.actor(), bench.prompt()
    submitted(bench, actor)
    attempt = submitting(bench.pipeline.ledger, bench.plan(prompt, GPT))
    duomi = bench.pipeline.provider("duomi")
    task = duomi.submit(attempt.sent_request).job_id
    bench.pipeline.ledger.attempts.submitted(attempt, job_id=str(task), endpoint=duomi.endpoint)
    ready(bench, "runpod")
    ready(bench, "duomi")

    outcomes = collect(bench)
    assert {key: one.status for key, one in outcomes.items()} == {
        actor.key: Status.MADE,
        prompt.key: Status.MADE,
    }
    assert picture(outcomes[actor.key])
    assert str(outcomes[actor.key].path).endswith(f"{actor.name}_base.png")
    assert bench.make_base(actor).status is Status.REUSED
    assert bench.make_one(prompt, GPT).status is Status.REUSED
    assert (bench.requests(RUN), bench.requests(SUBMIT)) == (1, 1)


def test_a_running_job_is_left(bench: Bench) -> None:
    """A job that is not done is not waited for, and is not given up."""
    actor = bench.actor()
    attempt = plan_base(bench, actor)
    bench.simulator.fault(provider="runpod", operation="submit", fault="stuck_in_queue")
    runpod = bench.pipeline.provider("runpod")
    job_id = runpod.submit(attempt.sent_request).job_id
    bench.pipeline.ledger.attempts.submitted(attempt, job_id=str(job_id), endpoint=runpod.endpoint)
    outcome = collect(bench)[actor.key]
    assert outcome.status is Status.SKIPPED
    assert str(job_id) in outcome.reason
    assert bench.states() == [State.SUBMITTED]


def test_a_failed_download_is_tried_again(bench: Bench) -> None:
    """A picture whose URL did not deliver comes home later, and is not bought again."""
    prompt = bench.prompt()
    bench.simulator.fault(
        provider="files", operation="download", fault="status", status=500, times=4
    )
    failed = bench.make_one(prompt, shop=bench.on_fake_clock())
    assert failed.error_kind == "download"
    assert collect(bench)[prompt.key].status is Status.MADE
    assert bench.simulator.billed() == 1


def test_what_got_no_answer_is_called_unknown(bench: Bench) -> None:
    """A request whose process died before the answer is named, and not sent again here."""
    prompt = bench.prompt()
    submitting(bench.pipeline.ledger, bench.plan(prompt))
    outcome = collect(bench)[prompt.key]
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "unknown")
    assert bench.states() == [State.UNKNOWN]
    assert bench.requests(SUBMIT) == 0


def test_an_item_that_somebody_is_at_is_left_to_him(bench: Bench) -> None:
    """A batch that waits for its own job is not disturbed."""
    actor = bench.actor()
    submitted(bench, actor)
    bench.pipeline.ledger.leases.acquire([f"item:{actor.key}"], "a batch")
    outcome = collect(bench)[actor.key]
    assert outcome.status is Status.SKIPPED
    assert "Another process is at this item" in outcome.reason
    assert bench.states() == [State.SUBMITTED]


def test_a_job_past_its_retention_is_expired(bench: Bench) -> None:
    """What the service no longer has is written down as billed and lost; not while it must
    have it still, whatever a gateway says.
    """
    actor = bench.actor()
    attempt = plan_base(bench, actor)
    endpoint = bench.pipeline.provider("runpod").endpoint
    bench.pipeline.ledger.attempts.submitted(attempt, job_id="long-gone", endpoint=endpoint)
    early = collect(bench)[actor.key]
    assert (early.status, bench.states()) == (Status.SKIPPED, [State.SUBMITTED])
    bench.age(HOUR)
    outcome = collect(bench)[actor.key]
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "job_expired")
    assert bench.states() == [State.EXPIRED]


def test_sent_ones_come_first_in_a_batch(bench: Bench) -> None:
    """A batch of one worker brings home what was sent before it sends anything new."""
    prompts = bench.prompts(a="boat a", b="boat b", c="boat c")
    bench.simulator.fault(
        provider="files", operation="download", fault="status", status=500, times=4, match="boat c"
    )
    bench.make([prompts[2]], shop=bench.on_fake_clock())
    batch = bench.pipeline.generate_images(prompts, PARAMETERS, bench.pipeline.order(concurrency=1))
    first, *_ = (outcome.item_key for outcome in batch)
    assert first == prompts[2].key
    assert bench.simulator.billed() == 3
