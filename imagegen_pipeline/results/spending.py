"""Counts and costs of the attempts, one row per run or per day (UTC)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from imagegen_pipeline.domain.errors import DownloadError, NotAPictureError
from imagegen_pipeline.domain.requests import State

By = Literal["run", "day"]
Row = Mapping[str, Any]

_NAMES = {
    "run": "The run or command that asked; its retries and re-executions have the same name.",
    "day": "The day (UTC) on which the requests were sent, or planned if they were not.",
}
_COLUMNS: dict[str, tuple[str, str]] = {
    "attempts": ("Int64", "Attempts: the sum of the next five columns."),
    "made": ("Int64", "Images that were generated and stored."),
    "shared": ("Int64", "Images that share the bytes of another one, at no cost."),
    "failed": ("Int64", "Attempts that ended without an image."),
    "unknown": ("Int64", "Requests without a response: each may be a charge without an image."),
    "open": ("Int64", "Attempts that have not ended: in progress, or continued by the next run."),
    "possible_double_charges": ("Int64", "Requests sent again because no response arrived."),
    "cost": ("Float64", "Money known to be spent; empty if every charge has an unknown price."),
    "unknown_price": ("Int64", "Charges that are not in the cost, since their price is unknown."),
    "reserved": ("Float64", "Money reserved for attempts whose cost is unknown."),
    "first": ("moment", "When the first request was sent or planned (UTC)."),
    "last": ("moment", "When the last attempt ended (UTC), or was sent or planned if it has not."),
}
_COUNTED_AS: Mapping[str, str] = {
    State.FAILED: "failed",
    State.EXPIRED: "failed",
    State.UNKNOWN: "unknown",
    State.HELD: "unknown",
}
_CHARGED = (State.COMPLETED, State.STORED, State.EXPIRED)
_PAID_FAILURES = (NotAPictureError.kind, DownloadError.kind)
"""The provider had generated an image, which did not arrive or is not readable."""


def spending_columns(by: By) -> dict[str, tuple[str, str]]:
    """The columns of the table, with their types and descriptions."""
    return {by: ("string", _NAMES[by]), **_COLUMNS}


def spending_rows(rows: Iterable[Row], by: By) -> list[dict[str, Any]]:
    """Aggregate the rows of attempts: one row per run or day, the oldest first."""
    sums: dict[str, _Sum] = {}
    for row in rows:
        if row["attempt"] is not None:
            name = row["run"] if by == "run" else _requested_at(row)[: len("2026-01-31")]
            sums.setdefault(name, _Sum(_requested_at(row))).add(row)
    totals = ({by: name, **one.as_row()} for name, one in sums.items())
    return sorted(totals, key=lambda row: row["first"])


def spending_for_display(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The rows with times to the second."""
    return [{**row, **{name: f"{row[name][:19]}Z" for name in ("first", "last")}} for row in rows]


def _requested_at(row: Row) -> str:
    """When the request was sent: the day whose budget it counts against."""
    return str(row["submitted_at"] or row["created_at"])


@dataclass
class _Sum:
    """The totals of one run or day."""

    first: str
    last: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    possible_double_charges: int = 0
    priced: int = 0
    unpriced: int = 0
    cost: float = 0.0
    reserved: float = 0.0

    def add(self, row: Row) -> None:
        self.first = min(self.first, _requested_at(row))
        self.last = max(self.last, row["finished_at"] or _requested_at(row))
        is_shared = row["shared_from"] is not None
        self.counts[counted_as(row["state"], is_shared=is_shared)] += 1
        self.possible_double_charges += row["possible_double_charge"]
        cost = row["cost"]
        is_paid = cost is not None and cost > 0
        if is_charge(row["state"], row["error_kind"], is_shared=is_shared, is_paid=is_paid):
            self.priced += cost is not None
            self.unpriced += cost is None
            self.cost += cost or 0.0
        self.reserved += row["reserved"] or 0.0

    def as_row(self) -> dict[str, Any]:
        names = ("made", "shared", "failed", "unknown", "open")
        return {
            "attempts": self.counts.total(),
            **{name: self.counts[name] for name in names},
            "possible_double_charges": self.possible_double_charges,
            "cost": None if self.unpriced and not self.priced else round(self.cost, 6),
            "unknown_price": self.unpriced,
            "reserved": round(self.reserved, 6),
            "first": self.first,
            "last": self.last,
        }


def counted_as(state: str, *, is_shared: bool) -> str:
    """Which of the five counts an attempt belongs to."""
    if state == State.STORED:
        return "shared" if is_shared else "made"
    return _COUNTED_AS.get(state, "open")


def is_charge(state: str, error_kind: str | None, *, is_shared: bool, is_paid: bool) -> bool:
    """Whether an attempt was certainly charged: an image was generated, the failure is one that
    comes after that, or a cost above 0 is known (``is_paid``).
    """
    is_paid_failure = state == State.FAILED and error_kind in _PAID_FAILURES
    return not is_shared and (state in _CHARGED or is_paid_failure or is_paid)
