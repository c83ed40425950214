"""Regenerate: one new generation for each item and intent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imagegen_pipeline.domain.requests import State, Status
from imagegen_pipeline_tests.integration.engine.harness import (
    PARAMETERS,
    SUBMIT,
    EngineHarness,
    counts,
    picture,
)


def test_regenerate_makes_a_new_picture_and_keeps_the_old_file(harness: EngineHarness) -> None:
    """A regenerate buys one picture with a newly drawn seed; the old file stays."""
    prompt = harness.prompt()
    old = harness.make_one(prompt)
    old_bytes = picture(old)
    new = harness.make_one(prompt, regenerate=True)

    assert new.status is Status.MADE
    assert new.attempt is not None
    assert new.attempt.regenerate
    assert new.attempt.seed != PARAMETERS.seed
    assert picture(new) != old_bytes
    assert picture(old) == old_bytes
    assert harness.simulator.billed() == 2


def test_the_same_intent_buys_once(harness: EngineHarness) -> None:
    """A re-execution of the same intent reuses its picture; a new intent buys again."""
    prompt = harness.prompt()
    first = harness.make_one(prompt, regenerate=True, intent="run-1")
    again = harness.make_one(prompt, regenerate=True, intent="run-1")
    assert (first.status, again.status) == (Status.MADE, Status.REUSED)
    assert again.path == first.path
    assert again.cost == 0
    assert harness.simulator.billed() == 1

    other = harness.make_one(prompt, regenerate=True, intent="run-2")
    assert other.status is Status.MADE
    assert other.path != first.path
    assert harness.simulator.billed() == 2


def test_a_re_execution_makes_only_what_is_missing(harness: EngineHarness) -> None:
    """Of a batch in which one item failed, the same intent makes that one and no other."""
    prompts = harness.prompts(a="boat a", b="boat b", c="boat c")
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match="boat b"
    )
    first = harness.make(prompts, regenerate=True, intent="run-1")
    second = harness.make(prompts, regenerate=True, intent="run-1")

    assert counts(first) == {"made": 2, "failed": 1}
    assert counts(second) == {"made": 1, "reused": 2}
    assert harness.simulator.billed() == 3


def test_a_plain_picture_of_the_same_intent_is_not_a_regenerated_one(
    harness: EngineHarness,
) -> None:
    """What a run made plainly does not answer a regenerate, even under the same name."""
    prompt = harness.prompt()
    harness.make_one(prompt, intent="run-1")
    again = harness.make_one(prompt, regenerate=True, intent="run-1")

    assert again.status is Status.MADE
    assert harness.simulator.billed() == 2


def test_a_given_seed_is_kept(harness: EngineHarness) -> None:
    """With the seed given, a regenerate buys the request as it stands."""
    prompt = harness.prompt()
    harness.make_one(prompt)
    again = harness.make_one(
        prompt, replace(PARAMETERS, seed=77), regenerate=True, seed_given=True, intent="run-1"
    )

    assert again.status is Status.MADE
    assert again.attempt is not None
    assert again.attempt.seed == 77
    assert harness.simulator.billed() == 2


def test_a_regenerate_is_not_answered_by_sharing(harness: EngineHarness) -> None:
    """Two items with one request are both made anew, though an identical picture lies there."""
    prompts = harness.prompts(a="one boat", b="one boat")
    harness.make(prompts)
    outcomes = harness.make(prompts, regenerate=True, seed_given=True)

    assert counts(outcomes) == {"made": 2}
    assert harness.simulator.billed() == 3


def test_retries_of_an_intent_keep_its_drawn_seed(harness: EngineHarness) -> None:
    """The seed that a regenerate drew is sent again after a failure, under the same intent."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="duomi", operation="submit", fault="status", status=400)
    failed = harness.make_one(prompt, regenerate=True, intent="run-1")
    made = harness.make_one(prompt, regenerate=True, intent="run-1")
    other = harness.make_one(prompt, regenerate=True, intent="run-2")

    assert [failed.status, made.status, other.status] == [Status.FAILED, Status.MADE, Status.MADE]
    first, second, third = (attempt.seed for attempt in harness.attempts())
    assert first == second
    assert third != second


def test_the_old_picture_stays_current_when_the_new_one_fails(harness: EngineHarness) -> None:
    """A regenerate that fails takes nothing away: the item still has its old picture."""
    prompt = harness.prompt()
    old = harness.make_one(prompt)
    harness.simulator.fault(provider="duomi", operation="submit", fault="status", status=400)
    failed = harness.make_one(prompt, regenerate=True)

    current = harness.pipeline.ledger.attempts.current(prompt.key)
    assert failed.status is Status.FAILED
    assert current is not None
    assert old.attempt is not None
    assert current.id == old.attempt.id
    plain = harness.make_one(prompt)
    assert (plain.status, plain.path) == (Status.REUSED, old.path)
    assert harness.simulator.billed() == 1


def test_the_same_intent_collects_what_it_sent(harness: EngineHarness) -> None:
    """A regenerate whose download failed is downloaded by the same intent, not bought again."""
    prompt = harness.prompt()
    harness.simulator.fault(
        provider="files", operation="download", fault="status", status=500, times=4
    )
    failed = harness.make_one(
        prompt, regenerate=True, intent="run-1", context=harness.on_fake_clock()
    )
    made = harness.make_one(prompt, regenerate=True, intent="run-1")

    assert failed.error_kind == "download"
    assert made.status is Status.MADE
    assert harness.states() == [State.STORED]
    assert harness.simulator.billed() == 1


def test_a_deleted_regenerated_picture_is_made_again(harness: EngineHarness) -> None:
    """The intent's picture counts only while its file is there."""
    prompt = harness.prompt()
    made = harness.make_one(prompt, regenerate=True, intent="run-1")
    Path(str(made.path)).unlink()
    again = harness.make_one(prompt, regenerate=True, intent="run-1")

    assert again.status is Status.MADE
    assert harness.requests(SUBMIT) == 2
