"""Counts, costs and distributions, computed by the ledger's database."""

from __future__ import annotations

import datetime as dt
import random

import numpy as np
import pytest

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.results.spending import spending_rows
from imagegen_pipeline_tests.unit.results.rows import (
    NOON,
    UNREADABLE,
    distributions,
    row,
    statistics,
)

DAY = 86_400


@pytest.mark.parametrize("state", State)
def test_every_attempt_counts_once(state: State) -> None:
    """An attempt of any state is in exactly one of the six counts."""
    numbers = statistics(row(state))
    expected = {
        State.STORED: "made",
        State.FAILED: "failed",
        State.EXPIRED: "failed",
        State.UNKNOWN: "unknown",
        State.HELD: "held",
    }.get(state, "open")
    assert {name for name, count in numbers.outcomes.items() if count} == {expected}
    assert numbers.states == {state: 1}
    ended = distributions(row(state)).ended
    totals = {name: sum(counts.values()) for name, counts in ended.items()}
    assert totals == ({} if expected == "open" else {expected: 1})


def test_success_rate_is_the_share_of_ended_attempts_that_made_an_image() -> None:
    """Failed, unknown and held attempts lower it; shared and open ones do not count."""
    tried = [row()] * 3 + [row("failed"), row("unknown"), row("held")]
    others = [row(shared_from=1, cost=0.0), row("submitted"), UNREADABLE]
    assert statistics(*tried).success_rate == 0.5
    assert statistics(*tried, *others).success_rate == 0.5
    assert statistics(*others).success_rate is None
    assert statistics().success_rate is None


def test_percentiles_are_of_generated_images_by_provider() -> None:
    """Failures, open attempts and shared images do not count."""
    duomi = [row(seconds=float(number)) for number in range(1, 101)]
    runpod = [row(seconds=40.0, provider="runpod"), row(seconds=60.0, provider="runpod")]
    others = [row("failed", seconds=900.0), row(seconds=0.001, shared_from=1), row("submitted")]
    durations = distributions(*duomi, *others, *runpod).durations
    percentiles = {
        name: (one.percentile(50), one.percentile(95)) for name, one in durations.items()
    }
    assert list(percentiles) == ["duomi", "runpod"]
    assert percentiles["duomi"] == pytest.approx((50.5, 95.05))
    assert percentiles["runpod"] == pytest.approx((50.0, 59.0))


@pytest.mark.parametrize(
    ("seconds", "counted"),
    [(0.0, 0.0), (0.012, 0.012), (4.567, 4.57), (45.67, 45.7), (456.7, 457.0), (4567.8, 4568.0)],
)
def test_durations_have_three_digits(seconds: float, counted: float) -> None:
    """Rounding bounds the number of distinct durations, whatever the number of images."""
    (one,) = distributions(row(seconds=seconds)).durations.values()
    assert (one.seconds, one.counts) == ([counted], [1])
    assert one.percentile(0) == one.percentile(50) == one.percentile(100) == counted


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_those_of_numpy(seed: int) -> None:
    """Equal durations are stored once, with a count, and interpolated as if listed."""
    dice = random.Random(seed)  # noqa: S311 - the same durations every time
    seconds = [dice.randint(1, 30) / 10 for _ in range(dice.randint(1, 60))]
    (one,) = distributions(*(row(seconds=value) for value in seconds)).durations.values()
    for percent in (0, 5, 50, 95, 99, 100):
        assert one.percentile(percent) == pytest.approx(np.percentile(seconds, percent))


def test_cost_of_today_is_of_the_requests_sent_today() -> None:
    """The day begins at midnight UTC; a request counts for the day on which it was sent."""
    rows = (
        row(cost=1.0),
        row(cost=2.0, ago=DAY // 2 - 5),  # sent a second after midnight
        row(cost=4.0, ago=DAY // 2 - 3),  # sent a second before, ended after
        row(ago=DAY),
        row(cost=0.5, state="failed", error_kind="not_a_picture"),
    )
    numbers = statistics(*rows)
    assert (numbers.cost, numbers.cost_today) == (7.5, 3.5)
    assert (numbers.unpriced, numbers.unpriced_today) == (1, 0)
    assert statistics(*rows, now=NOON + dt.timedelta(days=1)).cost_today == 0.0
    before = statistics(*rows, now=NOON - dt.timedelta(days=1))
    assert (before.cost_today, before.unpriced_today) == (7.5, 1), "a clock that was set back"


def test_unknown_cost_is_none() -> None:
    """The cost is None if all charges have an unknown price, and 0 without any charge."""
    assert statistics(row(), row()).cost is None
    assert statistics(row(), row(cost=0.2)).cost == 0.2
    assert statistics(row("failed", error_kind="bad_request")).cost == 0.0
    assert statistics(UNREADABLE).cost == 0.0


def test_models_are_ordered_by_cost() -> None:
    """Each provider and model by itself, the highest cost first; models without charges are out."""
    numbers = statistics(
        row(model="flux", provider="runpod"),
        row(model="cheap", cost=0.1),
        row(model="dear", cost=0.3),
        row(model="dear"),
        row("failed", model="refused", error_kind="bad_request"),
    )
    models = [(one.model, one.charges, one.cost, one.unpriced) for one in numbers.models]
    assert models == [("dear", 2, 0.3, 1), ("cheap", 1, 0.1, 0), ("flux", 1, None, 1)]


@pytest.mark.parametrize("seed", range(5))
def test_statistics_agree_with_the_spending_by_day(seed: int) -> None:
    """SQL and `imagegen results --by day` give the same totals for random attempts."""
    dice = random.Random(seed)  # noqa: S311 - the same attempts every time
    rows = [
        row(
            dice.choice(list(State)),
            ago=dice.uniform(0, DAY // 3),
            cost=dice.choice([None, 0.0, 0.25]),
            shared_from=dice.choice([None, None, 3]),
            error_kind=dice.choice([None, "not_a_picture", "download", "bad_request"]),
        )
        for _ in range(300)
    ]
    numbers = statistics(*rows, UNREADABLE)
    (day,) = spending_rows(rows, "day")
    outcomes = numbers.outcomes
    assert outcomes["unknown"] + outcomes["held"] == day["unknown"]
    for name in ("made", "shared", "failed", "open"):
        assert outcomes[name] == day[name]
    assert (numbers.cost, numbers.unpriced) == (day["cost"], day["unknown_price"])
    assert (numbers.cost_today, numbers.unpriced_today) == (day["cost"], day["unknown_price"])
    assert numbers.rows == 301
