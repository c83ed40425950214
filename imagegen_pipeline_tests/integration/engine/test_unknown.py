"""A request that got no answer: sent once more at most, and never in silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from imagegen_pipeline.domain.errors import (
    JobExpiredError,
    OutcomeUnknownError,
    RateLimitedError,
)
from imagegen_pipeline.domain.requests import State, Status
from imagegen_pipeline.ledger import Decision
from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.engine.harness import (
    GPT,
    PARAMETERS,
    SUBMIT,
    EngineHarness,
    counts,
)
from imagegen_pipeline_tests.unit.ledger.ledger_rows import submitting


def lose_answers(harness: EngineHarness, times: int, match: str | None = None) -> None:
    """The service makes and bills so many pictures, and resets before it answers."""
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="reset_after_work", times=times, match=match
    )


@pytest.fixture
def holding(
    project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EngineHarness]:
    """A pipeline that is set to hold what is unknown."""
    monkeypatch.setenv("IMAGEGEN_ON_UNKNOWN", "hold")
    with closing(project.pipeline()) as pipeline:
        yield EngineHarness(project, simulator, pipeline)


def test_a_lost_answer_is_sent_once_more_and_says_so(harness: EngineHarness) -> None:
    """The second try makes the picture; its row says that it may have been charged twice."""
    prompt = harness.prompt()
    lose_answers(harness, times=1)
    outcome = harness.make_one(prompt)

    assert outcome.status is Status.MADE
    first, second = harness.attempts()
    assert (first.state, first.error_kind) == (State.UNKNOWN, "unknown")
    assert (second.state, second.possible_double_charge) == (State.STORED, True)
    assert first.seed == second.seed
    assert not first.possible_double_charge
    assert harness.simulator.billed() == 2


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_gateway_error_is_no_refusal(harness: EngineHarness, status: int) -> None:
    """A gateway's 5xx does not say whether the picture was billed."""
    prompt = harness.prompt()
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="status", status=status, work=True
    )
    outcome = harness.make_one(prompt)

    assert outcome.status is Status.MADE
    assert harness.states() == [State.UNKNOWN, State.STORED]


def test_a_second_lost_answer_holds_the_item(harness: EngineHarness) -> None:
    """After two requests without an answer nothing more is sent, in this batch or a later one."""
    prompt = harness.prompt()
    lose_answers(harness, times=3)
    held = harness.make_one(prompt)
    again = harness.make_one(prompt)

    assert (held.status, again.status) == (Status.HELD, Status.HELD)
    assert held.cost is None, "nobody knows what it cost"
    assert again.cost == 0
    assert f"imagegen resolve {prompt.key} --resubmit" in held.reason
    assert harness.states() == [State.UNKNOWN, State.HELD]
    assert harness.requests(SUBMIT) == 2


def test_hold_sends_nothing_a_second_time(holding: EngineHarness) -> None:
    """With IMAGEGEN_ON_UNKNOWN=hold the first lost answer holds the item."""
    prompt = holding.prompt()
    lose_answers(holding, times=1)
    held = holding.make_one(prompt)
    again = holding.make_one(prompt)

    assert (held.status, again.status) == (Status.HELD, Status.HELD)
    assert held.error_kind == "unknown"
    assert holding.states() == [State.HELD]
    assert holding.requests(SUBMIT) == 1


def test_hold_applies_to_what_a_dead_process_was_sending(holding: EngineHarness) -> None:
    """A request of which a dead process left no answer is held too."""
    prompt = holding.prompt()
    submitting(holding.pipeline.ledger, holding.plan(prompt))
    held = holding.make_one(prompt)

    assert held.status is Status.HELD
    assert holding.states() == [State.HELD]
    assert holding.requests(SUBMIT) == 0


def test_a_held_item_costs_only_itself(holding: EngineHarness) -> None:
    """The other items of the batch are made."""
    lose_answers(holding, times=1, match="boat b")
    outcomes = holding.make(holding.prompts(a="boat a", b="boat b", c="boat c"))

    assert counts(outcomes) == {"made": 2, "held": 1}


def test_regenerate_lifts_what_is_held(holding: EngineHarness) -> None:
    """A person who asks for it anew gets it, once for each intent."""
    prompt = holding.prompt()
    lose_answers(holding, times=1)
    holding.make_one(prompt)
    made = holding.make_one(prompt, regenerate=True, intent="by hand")
    after = holding.make_one(prompt)

    assert made.status is Status.MADE
    assert (after.status, after.path) == (Status.REUSED, made.path)
    assert holding.requests(SUBMIT) == 2


def test_a_regenerate_is_held_within_its_intent(holding: EngineHarness) -> None:
    """A retry of the intent that got no answer sends nothing; another intent does."""
    prompt = holding.prompt()
    lose_answers(holding, times=1)
    first = holding.make_one(prompt, regenerate=True, intent="run-1")
    again = holding.make_one(prompt, regenerate=True, intent="run-1")
    other = holding.make_one(prompt, regenerate=True, intent="run-2")

    assert [first.status, again.status, other.status] == [Status.HELD, Status.HELD, Status.MADE]
    assert holding.requests(SUBMIT) == 2


def test_a_changed_request_is_not_held(holding: EngineHarness) -> None:
    """What is held is a request, not an item for ever."""
    prompt = holding.prompt()
    lose_answers(holding, times=1)
    holding.make_one(prompt)
    made = holding.make_one(prompt, replace(PARAMETERS, seed=7))

    assert made.status is Status.MADE


def test_a_refused_resubmit_does_not_forget_the_first(harness: EngineHarness) -> None:
    """When the second request was refused, a third is still a possible double charge, and is
    held when it, too, gets no answer.
    """
    prompt = harness.prompt()
    lose_answers(harness, times=1)
    harness.simulator.fault(provider="duomi", operation="submit", fault="status", status=400)
    failed = harness.make_one(prompt)
    lose_answers(harness, times=1)
    held = harness.make_one(prompt)

    assert (failed.status, held.status) == (Status.FAILED, Status.HELD)
    assert [a.possible_double_charge for a in harness.attempts()] == [False, True, True]
    assert harness.requests(SUBMIT) == 3


def test_what_came_between_does_not_hide_a_lost_answer(harness: EngineHarness) -> None:
    """A lost answer, then a regenerate whose result expired: the plain request that follows is
    still marked as a possible double charge.
    """
    prompt, gallery = harness.prompt(), harness.pipeline.ledger.attempts
    lost = submitting(harness.pipeline.ledger, harness.plan(prompt))
    gallery.unknown(lost, OutcomeUnknownError("Silence."))
    anew = harness.plan(prompt, regenerate=True, intent="anew", file_stem="anew")
    sent = submitting(harness.pipeline.ledger, anew)
    sent = gallery.submitted(
        sent, job_id="job", endpoint=harness.pipeline.provider("duomi").endpoint
    )
    gallery.expired(sent, JobExpiredError("Too late.", job_id="job"))

    assert harness.make_one(prompt).status is Status.MADE
    assert harness.attempts()[-1].possible_double_charge


def test_from_the_third_in_ten_minutes_on_nothing_is_sent_twice(harness: EngineHarness) -> None:
    """Of five items whose answers are lost the first two are sent again, the others are held;
    what was lost longer ago does not count.
    """
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(5)})
    for number in range(5):
        lose_answers(harness, times=1, match=f"boat {number}")
    outcomes = harness.make(prompts, context=harness.on_fake_clock(), concurrency=1)
    assert counts(outcomes) == {"made": 2, "held": 3}
    assert harness.simulator.billed() == 7
    held = [outcome for outcome in outcomes.values() if not outcome.ok]
    assert "in ten minutes" in held[0].reason

    harness.age(11 * 60)
    later = harness.prompt("a later boat", stem="later")
    lose_answers(harness, times=1, match="later")
    assert harness.make_one(later, context=harness.on_fake_clock()).status is Status.MADE


def test_a_second_try_that_never_left_uses_nothing_up(holding: EngineHarness) -> None:
    """A lost answer, then a refusal: with ``hold`` nothing is sent, however often it is asked."""
    prompt = holding.prompt()
    gallery = holding.pipeline.ledger.attempts
    lost = submitting(holding.pipeline.ledger, holding.plan(prompt))
    gallery.unknown(lost, OutcomeUnknownError("Silence."))
    again = holding.plan(prompt, possible_double_charge=True, file_stem="again")
    gallery.failed(again, RateLimitedError("Too many."))

    assert holding.make_one(prompt).status is Status.HELD
    assert holding.requests(SUBMIT) == 0


def test_a_task_without_a_name_is_held(harness: EngineHarness) -> None:
    """A 200 to a task's submit that names none may have begun one: it is not sent again."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="duomi", operation="submit", fault="html_200", work=True)
    outcome = harness.make_one(prompt, GPT)
    assert (outcome.status, outcome.error_kind) == (Status.HELD, "bad_answer")
    assert harness.requests(SUBMIT) == 1


def test_what_a_person_has_sent_again_says_that_it_may_be_charged_twice(
    holding: EngineHarness,
) -> None:
    """Held after one lost answer, then sent again by decision: the second row is marked."""
    prompt = holding.prompt()
    lose_answers(holding, times=1)
    assert holding.make_one(prompt).status is Status.HELD
    holding.pipeline.resolve(prompt.key, Decision.RESUBMIT)

    assert holding.make_one(prompt).status is Status.MADE
    assert [one.possible_double_charge for one in holding.attempts()] == [False, True]
    assert holding.simulator.billed() == 2
