"""The table in numbers."""

from __future__ import annotations

import random

import pytest

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.results import spending_rows
from imagegen_pipeline_tests.results.rows import UNREADABLE, row, statistics

DAY = 86_400


@pytest.mark.parametrize("state", State)
def test_every_attempt_counts_once(state: State) -> None:
    """Whatever state an attempt is in, it is in one of the six counts."""
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
    ended = {name for name, moments in numbers.ended.items() if len(moments)}
    assert ended == {expected} - {"open"}


def test_success_is_a_picture_of_what_a_service_was_asked_for() -> None:
    """Of what has ended: three were made; a failure, an unanswered and a held one were not.
    A shared picture asked no service, and what is under way has not ended.
    """
    tried = [row()] * 3 + [row("failed"), row("unknown"), row("held")]
    others = [row(shared_from=1, cost=0.0), row("submitted"), UNREADABLE]
    assert statistics(*tried).success_rate == 0.5
    assert statistics(*tried, *others).success_rate == 0.5
    assert statistics(*others).success_rate is None
    assert statistics().success_rate is None


def test_seconds_are_of_the_pictures_that_were_made_by_service() -> None:
    """Median and 95th percentile: failures, and pictures that were shared in no time, are no
    part of them.
    """
    duomi = [row(seconds=float(number)) for number in range(1, 101)]
    runpod = [row(seconds=40.0, provider="runpod"), row(seconds=60.0, provider="runpod")]
    others = [row("failed", seconds=900.0), row(seconds=0.001, shared_from=1), row("submitted")]
    numbers = statistics(*duomi, *others, *runpod)
    assert numbers.percentiles("duomi") == pytest.approx((50.5, 95.05))
    assert numbers.percentiles("runpod") == pytest.approx((50.0, 59.0))
    assert list(numbers.seconds) == ["duomi", "runpod"]


def test_money_of_today_is_of_what_was_sent_today() -> None:
    """The day begins at midnight UTC, and what was sent before it counts for the day before."""
    numbers = statistics(
        row(cost=1.0),
        row(cost=2.0, ago=DAY // 2 - 5),  # sent a second after midnight
        row(cost=4.0, ago=DAY // 2 - 3),  # sent a second before, ended after
        row(ago=DAY),
        row(cost=0.5, state="failed", error_kind="not_a_picture"),
    )
    assert (numbers.cost, numbers.cost_today) == (7.5, 3.5)
    assert (numbers.unpriced, numbers.unpriced_today) == (1, 0)


def test_what_is_not_known_is_not_nothing() -> None:
    """Charges without any price have no cost; no charges at all cost nothing."""
    assert statistics(row(), row()).cost is None
    assert statistics(row(), row(cost=0.2)).cost == 0.2
    assert statistics(row("failed", error_kind="bad_request")).cost == 0.0
    assert statistics(UNREADABLE).cost == 0.0


def test_models_are_ordered_by_what_they_have_cost() -> None:
    """Each service and model by itself, the dearest first; what was not charged is left out."""
    numbers = statistics(
        row(model="flux", provider="runpod"),
        row(model="cheap", cost=0.1),
        row(model="dear", cost=0.3),
        row(model="dear"),
        row("failed", model="refused", error_kind="bad_request"),
    )
    told = [(one.model, one.charges, one.cost, one.unpriced) for one in numbers.models]
    assert told == [("dear", 2, 0.3, 1), ("cheap", 1, 0.1, 0), ("flux", 1, None, 1)]


@pytest.mark.parametrize("seed", range(5))
def test_the_numbers_are_those_of_the_sums_by_day(seed: int) -> None:
    """Whatever the attempts are, `imagegen results --by day` adds them up to the same."""
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
