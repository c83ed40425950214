"""The results in numbers: counts and costs, and the distributions that plots are drawn from."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.ledger.result_statistics import AttemptGroup
from imagegen_pipeline.results.spending import counted_as, is_charge

OUTCOMES = ("made", "shared", "failed", "unknown", "held")
"""How an attempt can have ended."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
INTERVALS: Mapping[int, str] = {
    _MINUTE: "minute",
    5 * _MINUTE: "5 minutes",
    15 * _MINUTE: "quarter of an hour",
    _HOUR: "hour",
    3 * _HOUR: "3 hours",
    6 * _HOUR: "6 hours",
    _DAY: "day",
    7 * _DAY: "week",
    28 * _DAY: "4 weeks",
    364 * _DAY: "52 weeks",
}
"""Intervals in which ended attempts are counted: seconds, and a name."""
_MAX_INTERVALS = 60


@dataclass(frozen=True, slots=True)
class ModelCost:
    """The cost of a model's images: the number of charges, their known cost (None if no price is
    known) and the number of charges that are not in it.
    """

    provider: str
    model: str
    charges: int
    cost: float | None
    unpriced: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts and costs of all rows.

    ``states`` counts rows by state, ``outcomes`` counts attempts by outcome, with ``open`` for
    those that have not ended. ``cost`` is the money known to be spent (None if there are charges
    and no price is known), ``unpriced`` the number of charges that are not in it; ``…_today`` is
    the same for requests sent since midnight UTC.
    """

    rows: int
    states: Mapping[str, int]
    outcomes: Mapping[str, int]
    cost: float | None
    unpriced: int
    cost_today: float | None
    unpriced_today: int
    models: Sequence[ModelCost]

    @property
    def success_rate(self) -> float | None:
        """The share (0 to 1) of the ended attempts that made an image; None without any.

        Shared images are left out, since they were not requested from a provider.
        """
        tried = sum(self.outcomes[name] for name in OUTCOMES if name != "shared")
        return self.outcomes["made"] / tried if tried else None


@dataclass(frozen=True, slots=True)
class Durations:
    """A distribution: ascending ``seconds``, and how many images took each of them."""

    seconds: Sequence[float]
    counts: Sequence[int]

    def percentile(self, percent: float) -> float:
        """The percentile (0 to 100), interpolated linearly between neighbours."""
        ends = list(accumulate(self.counts))
        rank = percent / 100 * (ends[-1] - 1)
        lower = self.seconds[bisect_right(ends, int(rank))]
        upper = self.seconds[bisect_right(ends, min(int(rank) + 1, ends[-1] - 1))]
        return lower + (upper - lower) * (rank - int(rank))


@dataclass(frozen=True, slots=True)
class Distributions:
    """When attempts ended, and how long images took.

    ``ended`` has for each outcome the number of attempts by the start of the interval (seconds
    since the epoch) in which they ended; ``interval`` is its length in seconds, a key of
    ``INTERVALS``. ``durations`` has for each provider the seconds from planned to stored, to
    three significant digits; shared images are left out.
    """

    interval: int
    ended: Mapping[str, Mapping[int, int]]
    durations: Mapping[str, Durations]


def read_statistics(ledger: Ledger, now: float) -> Statistics:
    """Count all attempts; ``now`` (seconds since the epoch) decides what is of today."""
    groups, unreadable = ledger.statistics.groups(now - now % _DAY)
    states = Counter({"unreadable": unreadable} if unreadable else {})
    outcomes: Counter[str] = Counter()
    models: dict[tuple[str, str], list[AttemptGroup]] = defaultdict(list)
    for group in groups:
        states[group.state] += group.count
        outcomes[_outcome(group.state, is_shared=group.is_shared)] += group.count
        if is_charge(
            group.state,
            group.error_kind,
            is_shared=group.is_shared,
            is_paid=group.is_paid,
        ):
            models[group.provider, group.model].append(group)
    charged = [group for several in models.values() for group in several]
    total = _cost("", "", charged)
    today = _cost("", "", [group for group in charged if group.is_today])
    by_model = [_cost(provider, model, some) for (provider, model), some in models.items()]
    return Statistics(
        rows=states.total(),
        states=dict(sorted(states.items())),
        outcomes={name: outcomes[name] for name in (*OUTCOMES, "open")},
        cost=total.cost,
        unpriced=total.unpriced,
        cost_today=today.cost,
        unpriced_today=today.unpriced,
        models=sorted(by_model, key=lambda one: (-(one.cost or 0.0), -one.charges, one.model)),
    )


def read_distributions(ledger: Ledger) -> Distributions:
    """Read when attempts ended and how long images took, in at most 60 intervals."""
    span = ledger.statistics.ended_span()
    interval = _interval(*span) if span else _MINUTE
    ended: dict[str, Counter[int]] = defaultdict(Counter)
    for one in ledger.statistics.ended_counts(interval) if span else ():
        ended[_outcome(one.state, is_shared=one.is_shared)][one.start] += one.count
    durations: dict[str, tuple[list[float], list[int]]] = defaultdict(lambda: ([], []))
    for provider, seconds, count in ledger.statistics.durations():
        durations[provider][0].append(seconds)
        durations[provider][1].append(count)
    return Distributions(
        interval, dict(ended), {name: Durations(*columns) for name, columns in durations.items()}
    )


def _outcome(state: str, *, is_shared: bool) -> str:
    return "held" if state == State.HELD else counted_as(state, is_shared=is_shared)


def _cost(provider: str, model: str, charged: Sequence[AttemptGroup]) -> ModelCost:
    charges = sum(group.count for group in charged)
    unpriced = sum(group.count for group in charged if not group.is_priced)
    cost = round(sum((group.cost for group in charged), 0.0), 6)
    is_known = not charges or unpriced < charges
    return ModelCost(provider, model, charges, cost if is_known else None, unpriced)


def _interval(first: int, last: int) -> int:
    """The shortest interval of which a limited number covers the span."""
    fitting = (one for one in INTERVALS if (last - first) / one < _MAX_INTERVALS)
    return next(fitting, max(INTERVALS))
