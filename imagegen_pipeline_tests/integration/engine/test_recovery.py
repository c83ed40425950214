"""What a batch does with attempts that another process left open: nothing is bought twice."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from imagegen_pipeline.domain.errors import MissingKeyError, OutcomeUnknownError
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import Attempt, State, Status
from imagegen_pipeline.engine import BatchOptions
from imagegen_pipeline.ledger import Decision
from imagegen_pipeline.providers.base import ProviderClient
from imagegen_pipeline_tests.integration.engine.harness import (
    DRAWN,
    HOUR,
    PARAMETERS,
    SUBMIT,
    EngineHarness,
    FakeClock,
    picture,
    plan_base,
    submitted,
)
from imagegen_pipeline_tests.unit.ledger.ledger_rows import submitting


def paid_url(harness: EngineHarness, attempt: Attempt) -> str:
    """Buy the attempt's picture as the process before did; where the service keeps it."""
    report = harness.pipeline.provider("duomi").submit(attempt.sent_request).report
    assert report is not None
    return str(report.images[0].url)


def completed(harness: EngineHarness, prompt: Prompt, **facts: Any) -> Attempt:
    """An attempt whose picture the service has made, left before it was on disk."""
    gallery = harness.pipeline.ledger.attempts
    attempt = harness.plan(prompt)
    submitting(harness.pipeline.ledger, attempt)
    url = facts.pop("result_url", None) or paid_url(harness, attempt)
    return gallery.completed(attempt, result_url=url, cost=0.5, **facts)


def test_planned_was_never_sent(harness: EngineHarness) -> None:
    """An attempt that was only planned is closed, and its item made with the seed it drew."""
    prompt = harness.prompt()
    harness.plan(prompt, DRAWN, seed=4321)
    made = harness.make_one(prompt, DRAWN)

    assert made.status is Status.MADE
    assert made.attempt is not None
    assert made.attempt.seed == 4321
    assert not made.attempt.possible_double_charge
    assert harness.states() == [State.FAILED, State.STORED]
    assert harness.simulator.billed() == 1


def test_submitting_is_unknown_and_sent_once_more(harness: EngineHarness) -> None:
    """When nobody knows whether the request arrived, it is sent again and marked as such."""
    prompt = harness.prompt()
    submitting(harness.pipeline.ledger, harness.plan(prompt, DRAWN, seed=4321))
    made = harness.make_one(prompt, DRAWN)

    assert made.status is Status.MADE
    assert made.attempt is not None
    assert made.attempt.possible_double_charge
    assert made.attempt.seed == 4321
    assert harness.states() == [State.UNKNOWN, State.STORED]
    assert harness.requests(SUBMIT) == 1


def test_completed_is_downloaded_again(harness: EngineHarness) -> None:
    """A picture that the service has made is fetched from its URL, not bought again."""
    prompt = harness.prompt()
    attempt = completed(harness, prompt)
    made = harness.make_one(prompt)

    assert made.status is Status.MADE
    assert made.attempt is not None
    assert made.attempt.id == attempt.id
    assert made.cost == 0.5
    assert Path(str(made.path)).name == "earlier.png"
    assert harness.states() == [State.STORED]
    assert harness.simulator.billed() == 1


def test_a_whole_file_of_the_reserved_name_is_adopted(harness: EngineHarness) -> None:
    """A process that died between the file and the ledger loses nothing: the file is taken."""
    prompt = harness.prompt()
    attempt = completed(harness, prompt)
    bytes_on_disk = requests.get(str(attempt.result_url), timeout=10).content
    harness.pipeline.store.keep(bytes_on_disk, attempt.folder, attempt.file_stem, {})
    downloads = harness.simulator.stats()["downloads"]
    made = harness.make_one(prompt)

    assert made.status is Status.MADE
    assert made.attempt is not None
    assert made.attempt.id == attempt.id
    assert picture(made) == bytes_on_disk
    assert harness.simulator.stats()["downloads"] == downloads
    assert harness.simulator.billed() == 1


def test_a_picture_lost_with_its_answer_is_expired_and_made_anew(harness: EngineHarness) -> None:
    """Bytes that came inside the answer and never reached the disk are charged and lost."""
    prompt = harness.prompt()
    attempt = harness.plan(prompt)
    submitting(harness.pipeline.ledger, attempt)
    harness.pipeline.ledger.attempts.completed(attempt, result_url=None, cost=0.5)
    made = harness.make_one(prompt)

    assert made.status is Status.MADE
    assert harness.states() == [State.EXPIRED, State.STORED]
    lost = harness.attempts()[0]
    assert lost.cost == 0.5, "it was charged"
    assert "lost" in str(lost.error)


def test_a_url_that_fails_is_tried_again_while_it_may_live(harness: EngineHarness) -> None:
    """Within the hour a failed download leaves the picture to be fetched, and buys nothing."""
    prompt = harness.prompt()
    completed(harness, prompt, result_url=f"{harness.simulator.url}/files/none/picture.png")
    outcome = harness.make_one(prompt, context=harness.on_fake_clock())

    assert outcome.status is Status.FAILED
    assert outcome.error_kind == "download"
    assert harness.states() == [State.COMPLETED]
    assert harness.requests(SUBMIT) == 0


def test_a_dead_url_does_not_hold_the_item_up_for_ever(harness: EngineHarness) -> None:
    """Once its URL cannot live any more, the picture is written off and made anew."""
    prompt = harness.prompt()
    completed(harness, prompt, result_url=f"{harness.simulator.url}/files/none/picture.png")
    later = FakeClock(ahead=1.1 * HOUR)
    outcome = harness.make_one(prompt, context=harness.on_fake_clock(clock=later))

    assert outcome.status is Status.MADE
    assert harness.states() == [State.EXPIRED, State.STORED]
    assert harness.simulator.billed() == 1


def test_an_old_url_that_still_delivers_is_taken(harness: EngineHarness) -> None:
    """The age of a URL alone is no reason to buy again."""
    prompt = harness.prompt()
    completed(harness, prompt)
    later = FakeClock(ahead=24 * HOUR)
    outcome = harness.make_one(prompt, context=harness.on_fake_clock(clock=later))

    assert outcome.status is Status.MADE
    assert harness.states() == [State.STORED]
    assert harness.simulator.billed() == 1


def test_a_share_that_was_not_written_is_shared_again(harness: EngineHarness) -> None:
    """A planned share without its file is closed, and the item shares once more."""
    source = harness.make_one(harness.prompt("one boat", stem="a"))
    prompt = harness.prompt("one boat", stem="b")
    assert source.attempt is not None
    harness.plan(prompt, shared_from=source.attempt.id)
    outcome = harness.make_one(prompt)

    assert outcome.status is Status.SHARED
    assert harness.states(prompt.key) == [State.FAILED, State.STORED]
    assert harness.simulator.billed() == 1


def test_a_share_that_was_written_is_adopted_at_no_cost(harness: EngineHarness) -> None:
    """A shared file that a dead process wrote counts as shared: it costs 0, not an unknown sum."""
    source = harness.make_one(harness.prompt("one boat", stem="a"))
    prompt = harness.prompt("one boat", stem="b")
    assert source.attempt is not None
    attempt = harness.plan(prompt, shared_from=source.attempt.id)
    harness.pipeline.store.share(
        str(source.attempt.path), attempt.folder, attempt.file_stem, {"key": prompt.key}
    )
    outcome = harness.make_one(prompt)

    assert (outcome.status, outcome.cost) == (Status.SHARED, 0)
    assert outcome.attempt is not None
    assert (outcome.attempt.id, outcome.attempt.cost) == (attempt.id, 0)
    assert picture(outcome) == picture(source)


def test_an_old_request_is_collected_before_the_new_one_is_made(harness: EngineHarness) -> None:
    """A picture paid for before the text changed is kept, and the new text's one is current."""
    old_prompt = harness.prompt("a red boat")
    old = completed(harness, old_prompt)
    new = harness.make_one(harness.prompt("a green boat"))

    assert new.status is Status.MADE
    assert new.attempt is not None
    assert new.attempt.id != old.id
    assert new.attempt.request["prompt"] == "a green boat"
    assert harness.states() == [State.STORED, State.STORED]
    assert harness.simulator.billed() == 2


def test_an_old_request_is_measured_by_its_own_size(harness: EngineHarness) -> None:
    """A collected picture of the size that was asked for then carries no warning now."""
    prompt = harness.prompt()
    completed(harness, prompt)
    harness.make_one(prompt, replace(PARAMETERS, image_size="64x96"))

    assert [attempt.warnings for attempt in harness.attempts()] == [(), ()]


@pytest.mark.parametrize("state", ["planned", "submitting", "completed"])
def test_a_valid_picture_is_reused_whatever_is_open(harness: EngineHarness, state: str) -> None:
    """An unfinished regenerate does not keep a plain batch from the picture that is there."""
    prompt = harness.prompt()
    made = harness.make_one(prompt)
    gallery = harness.pipeline.ledger.attempts
    attempt = harness.plan(prompt, seed=9, regenerate=True)
    if state != "planned":
        submitting(harness.pipeline.ledger, attempt)
    if state == "completed":
        gallery.completed(attempt, result_url="https://gone.example/x.png")
    again = harness.make_one(prompt)

    assert (again.status, again.path) == (Status.REUSED, made.path)
    assert harness.simulator.billed() == 1


def test_without_its_key_a_job_is_left_and_not_written_off(harness: EngineHarness) -> None:
    """A process that has no key for a service cannot collect, and must not give up, what was
    sent there; a picture whose URL is known needs no key.
    """
    actor, prompt = harness.actor(), harness.prompt()
    submitted(harness, actor)
    harness.simulator.fault(
        provider="files", operation="download", fault="status", status=500, times=4
    )
    harness.make_one(prompt, context=harness.on_fake_clock())

    def no_key(name: str) -> ProviderClient:
        raise MissingKeyError(f"{name}'s key")

    harness.pipeline.__dict__["engine_context"] = replace(
        harness.pipeline.engine_context, provider=no_key
    )
    outcomes = {outcome.item_key: outcome for outcome in harness.pipeline.collect()}
    assert outcomes[actor.key].error_kind == "missing_key"
    assert outcomes[prompt.key].status is Status.MADE
    assert harness.states(actor.key) == [State.SUBMITTED]


def test_a_live_process_that_was_not_heard_of_is_waited_for(harness: EngineHarness) -> None:
    """A lease that ended while nobody knows that its owner is dead: his request is not called
    unknown before his answer would have come, and not sent again.
    """
    prompt = harness.prompt()
    names = [f"item:{prompt.key}"]
    harness.pipeline.ledger.leases.acquire(names, "another machine/1/a")
    attempt = submitting(harness.pipeline.ledger, harness.plan(prompt))
    harness.expire_leases()

    class Clock(FakeClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            """The other's answer comes meanwhile."""
            if not self.waits:
                harness.pipeline.ledger.attempts.completed(
                    attempt, result_url=paid_url(harness, attempt)
                )
            return super().wait(stop, seconds)

    clock = Clock()
    outcome = harness.make_one(prompt, context=harness.on_fake_clock(clock=clock))
    assert outcome.status is Status.MADE
    assert clock.waits[0] > 60
    assert harness.states() == [State.STORED]
    assert harness.simulator.billed() == 1


def test_a_late_job_is_noted_when_a_person_had_it_sent_again(harness: EngineHarness) -> None:
    """A sleeper's answer that comes after the decision brings its job back into the ledger."""
    actor = harness.actor()
    attempt = plan_base(harness, actor)
    gallery = harness.pipeline.ledger.attempts
    gallery.unknown(attempt, OutcomeUnknownError("Silence."))
    harness.pipeline.resolve(actor.key, Decision.RESUBMIT)
    late = gallery.submitted(attempt, job_id="late-1", endpoint="https://e")
    assert (late.state, late.job_id) == (State.SUBMITTED, "late-1")


def test_a_refused_poll_stops_no_other_item(harness: EngineHarness) -> None:
    """A job that an old key sent and the new one may not see fails its own item only."""
    actor, other = harness.actor("0100_a"), harness.actor("0100_b")
    submitted(harness, actor)
    harness.simulator.fault(provider="runpod", operation="status", fault="status", status=401)
    outcomes = {
        one.item_key: one
        for one in harness.pipeline.generate_base_images(
            [actor, other], BatchOptions(concurrency=1)
        )
    }
    assert outcomes[actor.key].error_kind == "job_elsewhere"
    assert outcomes[other.key].status is Status.MADE
    assert harness.states(actor.key) == [State.SUBMITTED]
