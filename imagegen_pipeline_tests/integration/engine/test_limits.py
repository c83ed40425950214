"""Limits and budgets in a batch: what they hold up, what they stop, and what is never crossed."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from imagegen_pipeline.domain.limits import Budget, Limits
from imagegen_pipeline.domain.prices import Prices
from imagegen_pipeline.domain.requests import ProviderName, State, Status
from imagegen_pipeline.engine import EngineContext
from imagegen_pipeline.providers.registry import price_models
from imagegen_pipeline_tests.conftest import Project
from imagegen_pipeline_tests.integration.engine.harness import (
    PARAMETERS,
    SUBMIT,
    EngineHarness,
    FakeClock,
    counts,
)

PRICE = 0.25


class AgeingClock(FakeClock):
    """A clock whose waits pass at once, for the ledger's times too."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self._file = project.results / "imagegen.db"

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """See ``Clock.wait``."""
        with closing(sqlite3.connect(self._file, timeout=60)) as connection, connection:
            connection.execute("UPDATE attempts SET submitted_at = submitted_at - ?", (seconds,))
        return super().wait(stop, seconds)


def shop_with(
    harness: EngineHarness, *, limits: Limits | None = None, **changes: Any
) -> EngineContext:
    """The pipeline's workshop with limits, and prices of its own."""

    def of(_provider: ProviderName) -> Limits:
        return limits or Limits()

    prices = Prices({"duomi": {PARAMETERS.model: PRICE}}, price_models())
    return replace(harness.pipeline.engine_context, **{"limits": of, "prices": prices, **changes})


def test_a_rate_spreads_a_batch(harness: EngineHarness) -> None:
    """Seven pictures at three a minute are all made, and take two minutes of waiting."""
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(7)})
    clock = AgeingClock(harness.project)
    context = shop_with(harness, limits=Limits(per_minute=3), clock=clock)
    outcomes = harness.make(prompts, context=context, concurrency=4)

    assert counts(outcomes) == {"made": 7}
    assert 100 <= sum(clock.waits) <= 200


def test_the_in_flight_limit_holds_for_two_batches_at_once(harness: EngineHarness) -> None:
    """Two batches of four workers each, and two in flight on the ledger: the service never has
    more than two.
    """
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(12)})
    context = shop_with(harness, limits=Limits(in_flight=2))
    halves = (prompts[:6], prompts[6:])
    made: list[dict[str, int]] = []

    def batch(half: int) -> None:
        made.append(counts(harness.make(halves[half], context=context, concurrency=4)))

    threads = [threading.Thread(target=batch, args=(half,)) for half in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert made == [{"made": 6}] * 2
    assert harness.simulator.stats()["duomi"]["max_in_flight"] <= 2


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_budget_buys_what_fits_and_stops_the_batch(
    harness: EngineHarness, concurrency: int
) -> None:
    """Of ten pictures at 0.25 a run's budget of 1 buys four; the others are not begun, and say
    why. The next run, a new budget, goes on.
    """
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(10)})
    context = shop_with(harness, budget=Budget(run=1.0))
    first = harness.make(prompts, context=context, concurrency=concurrency)

    assert counts(first) == {"made": 4, "skipped": 6}
    assert harness.simulator.billed() == 4
    for outcome in first.values():
        if not outcome.ok:
            assert outcome.error_kind == "budget"
            assert "budget of the run is 1" in outcome.reason
            assert outcome.cost == 0
    second = harness.make(prompts, context=context, concurrency=concurrency)
    assert counts(second) == {"reused": 4, "made": 4, "skipped": 2}
    assert harness.simulator.billed() == 8


def test_a_retry_of_the_same_run_has_no_second_budget(harness: EngineHarness) -> None:
    """The budget is the intent's: a re-execution finds what the first one left of it."""
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(3)})
    context = shop_with(harness, budget=Budget(run=0.5))
    harness.make(prompts, context=context, intent="run 1", concurrency=1)
    again = harness.make(prompts, context=context, intent="run 1", concurrency=1)
    assert counts(again) == {"reused": 2, "skipped": 1}


def test_a_day_budget_counts_what_may_have_been_billed(harness: EngineHarness) -> None:
    """A request without an answer, sent again, takes its price from the day's budget twice."""
    prompts = harness.prompts(a="boat a", b="boat b", c="boat c")
    harness.simulator.fault(provider="duomi", operation="submit", fault="reset_after_work")
    context = shop_with(harness, budget=Budget(day=0.75), clock=harness.clock)
    outcomes = harness.make(prompts, context=context, concurrency=1)

    assert counts(outcomes) == {"made": 2, "skipped": 1}
    assert harness.simulator.billed() == 3
    doubled = [attempt for attempt in harness.attempts() if attempt.possible_double_charge]
    assert len(doubled) == 1


def test_a_price_that_nobody_knows_stops_a_batch_with_a_budget(harness: EngineHarness) -> None:
    """Nothing is sent; an assumed price lets it go on, and the cost stays unknown."""
    prompt = harness.prompt()
    unpriced = shop_with(harness, prices=Prices({}, price_models()), budget=Budget(day=1.0))
    refused = harness.make_one(prompt, context=unpriced)
    assert (refused.status, refused.error_kind) == (Status.SKIPPED, "unknown_price")
    assert harness.requests(SUBMIT) == 0

    assumed = Prices({"assumed": {"duomi": 0.4}}, price_models())
    made = harness.make_one(
        prompt, context=shop_with(harness, prices=assumed, budget=Budget(day=1.0))
    )
    assert made.status is Status.MADE
    assert made.cost is None
    assert made.attempt is not None
    assert made.attempt.reserved == 0.4


def test_a_day_limit_stops_the_batch_and_says_when_to_go_on(harness: EngineHarness) -> None:
    """Two a day: two are made, the rest is not begun and is told of tomorrow."""
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(5)})
    outcomes = harness.make(prompts, context=shop_with(harness, limits=Limits(per_day=2)))
    assert counts(outcomes) == {"made": 2, "skipped": 3}
    skipped = [outcome for outcome in outcomes.values() if not outcome.ok]
    assert {outcome.error_kind for outcome in skipped} == {"day_limit"}
    assert all("tomorrow" in outcome.reason for outcome in skipped)
    assert harness.simulator.billed() == 2


def test_a_job_sets_its_longest_time_aside_and_settles_for_what_it_took(
    harness: EngineHarness,
) -> None:
    """A base image reserves the run's time limit at the price of a second; its cost is by the
    seconds that the service says.
    """
    actor = harness.actor()
    context = harness.pipeline.engine_context
    prices = Prices({"runpod": {"per_second": 0.001}}, price_models())
    harness.pipeline.__dict__["engine_context"] = replace(
        context, prices=prices, budget=Budget(day=1.0)
    )
    made = harness.make_base(actor)

    assert made.ok, made.reason
    assert made.attempt is not None
    assert made.attempt.reserved == pytest.approx(context.deadlines.run * 0.001)
    assert made.attempt.run_seconds is not None
    assert made.cost == pytest.approx(made.attempt.run_seconds * 0.001)
    assert made.cost is not None
    assert made.cost < 0.1


def test_a_stop_ends_the_waiting_for_a_limit(harness: EngineHarness) -> None:
    """A batch that waits for its turn ends at once when it is stopped; nothing more is sent."""
    prompts = harness.prompts(a="boat a", b="boat b")
    context = shop_with(harness, limits=Limits(per_minute=1))
    from imagegen_pipeline.engine import BatchOptions, generate
    from imagegen_pipeline_tests.integration.engine.harness import image_task

    batch = generate(context, [image_task(p) for p in prompts], BatchOptions(concurrency=1))
    first = next(batch)
    batch.stop()
    rest = list(batch)
    assert [first.status, *(one.status for one in rest)] == [Status.MADE, Status.SKIPPED]
    assert State.SUBMITTING not in harness.states()
    assert harness.simulator.billed() == 1
