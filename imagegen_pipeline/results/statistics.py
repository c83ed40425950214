"""The table in numbers: the sums of its parts together, so that any number of rows will do.

What is kept of each attempt are the moment at which it ended and its seconds (16 bytes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.results.part_sums import PartSums
from imagegen_pipeline.results.spending import counted_as, is_charge, is_unpriced

if TYPE_CHECKING:
    import numpy as np

OUTCOMES = ("made", "shared", "failed", "unknown", "held")
"""How an attempt can have ended."""


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What the pictures of a model have cost, ``cost`` None when nothing of it is known;
    ``charges`` is how many there were, ``unpriced`` how many of them are not in the cost.
    """

    provider: str
    model: str
    charges: int
    cost: float | None
    unpriced: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """The table in numbers.

    ``states`` counts rows by state, ``outcomes`` attempts by how they ended, and ``open`` those
    under way. ``ended`` are the moments (seconds since the epoch) of each outcome, ``seconds`` how
    long each picture that was made took, by service, in no order. ``cost`` is money known to be
    spent (None when nothing is known of any charge) and ``unpriced`` the charges that are not in
    it; those of today (UTC) again.
    """

    rows: int
    states: Mapping[str, int]
    outcomes: Mapping[str, int]
    cost: float | None
    unpriced: int
    cost_today: float | None
    unpriced_today: int
    models: Sequence[ModelCost]
    ended: Mapping[str, np.ndarray]
    seconds: Mapping[str, np.ndarray]

    @property
    def success_rate(self) -> float | None:
        """Of the attempts that were for a service to make and have ended, how many (0 to 1) have
        brought a picture. Shared pictures asked no service; what is under way has not ended. None
        when there is no such attempt.
        """
        tried = sum(self.outcomes[name] for name in OUTCOMES if name != "shared")
        return self.outcomes["made"] / tried if tried else None

    def percentiles(self, provider: str) -> tuple[float, float]:
        """The median and the 95th percentile of the seconds of a service's pictures."""
        import numpy as np

        median, slow = np.percentile(self.seconds[provider], (50, 95))
        return float(median), float(slow)


def statistics_of(parts: Iterable[PartSums], this_day: int) -> Statistics:
    """The numbers of a table, from those of its parts; ``this_day`` is what counts as today."""
    sums = _Sums()
    for part in parts:
        sums.add(part, this_day)
    return sums.result()


@dataclass
class _Spent:
    """Charges that are added up."""

    charges: int = 0
    unpriced: int = 0
    cost: float = 0.0

    def add(self, group: Mapping[str, Any], count: int, cost: float) -> None:
        if is_charge(group):
            self.charges += count
            self.unpriced += count if is_unpriced(group) else 0
            self.cost += cost

    def known(self) -> float | None:
        """The cost; None when there are charges and nothing is known of any."""
        return None if self.charges and self.unpriced == self.charges else round(self.cost, 6)


@dataclass
class _Sums:
    """What is kept of the parts that were read."""

    states: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    spent: _Spent = field(default_factory=_Spent)
    today: _Spent = field(default_factory=_Spent)
    models: dict[tuple[str, str], _Spent] = field(default_factory=dict)
    ended: dict[str, list[Any]] = field(default_factory=dict)
    seconds: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, part: PartSums, this_day: int) -> None:
        is_of_today = part.day is not None and part.day >= this_day
        for group in part.groups:
            self._count(_as_row(group), is_new=is_of_today and group["new"])
        for outcome, moments in part.ended.items():
            self.ended.setdefault(outcome, []).append(moments)
        for provider, took in part.seconds.items():
            self.seconds.setdefault(provider, []).append(took)

    def _count(self, group: Mapping[str, Any], *, is_new: bool) -> None:
        count = group["count"]
        self.states[group["state"]] += count
        if group["attempt"] is None:  # an unreadable source
            return
        held = group["state"] == State.HELD
        self.outcomes["held" if held else counted_as(group)] += count
        model = self.models.setdefault((group["provider"], group["model"]), _Spent())
        for spent in (self.spent, model, *((self.today,) if is_new else ())):
            spent.add(group, count, group["sum"])

    def result(self) -> Statistics:
        import numpy as np

        models = [
            ModelCost(provider, model, spent.charges, spent.known(), spent.unpriced)
            for (provider, model), spent in self.models.items()
            if spent.charges
        ]
        none = np.array([], dtype="int64")
        return Statistics(
            rows=sum(self.states.values()),
            states=dict(sorted(self.states.items())),
            outcomes={name: self.outcomes[name] for name in (*OUTCOMES, "open")},
            cost=self.spent.known(),
            unpriced=self.spent.unpriced,
            cost_today=self.today.known(),
            unpriced_today=self.today.unpriced,
            models=sorted(models, key=lambda one: (-(one.cost or 0.0), -one.charges, one.model)),
            ended={name: np.concatenate([none, *self.ended.get(name, [])]) for name in OUTCOMES},
            seconds={name: np.concatenate(parts) for name, parts in sorted(self.seconds.items())},
        )


def _as_row(group: Mapping[str, Any]) -> dict[str, Any]:
    """Attempts that count alike, as a row of the table that counts as they do."""
    cost = (1.0 if group["paid"] else 0.0) if group["priced"] else None
    return {
        **{name: group[name] for name in ("state", "provider", "model", "error_kind")},
        "attempt": 1 if group["attempt"] else None,
        "shared_from": 1 if group["shared"] else None,
        "cost": cost,
        "count": group["count_all"],
        "sum": group["cost_sum"] or 0.0,
    }
