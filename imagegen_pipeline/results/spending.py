"""What was made and spent in each run, or on each day (UTC): one row for each."""

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
    "run": "The run or command that asked; its retries and re-executions are the same.",
    "day": "The day (UTC) on which the requests were sent, or planned if they were not.",
}
_COLUMNS: dict[str, tuple[str, str]] = {
    "attempts": ("Int64", "Attempts: the five counts that follow add up to it."),
    "made": ("Int64", "Pictures that were made and stored."),
    "shared": ("Int64", "Pictures that share the bytes of another one, at no cost."),
    "failed": ("Int64", "Attempts that ended without a picture."),
    "unknown": ("Int64", "Requests without an answer: each may be a charge without a picture."),
    "open": ("Int64", "Attempts that are under way, or that the next run goes on with."),
    "possible_double_charges": ("Int64", "Requests sent again after an answer that never came."),
    "cost": ("Float64", "Money known to be spent; empty when nothing is known of any charge."),
    "unknown_price": ("Int64", "Charges whose price is not known, and so not in the cost."),
    "reserved": ("Float64", "Money set aside for what has no known cost."),
    "first": ("moment", "When the first request was sent or planned (UTC)."),
    "last": ("moment", "When the last thing happened (UTC)."),
}
_COUNTED_AS = {
    State.FAILED: "failed",
    State.EXPIRED: "failed",
    State.UNKNOWN: "unknown",
    State.HELD: "unknown",
}
_CHARGED = (State.COMPLETED, State.STORED, State.EXPIRED)
_PAID_FAILURES = (NotAPictureError.kind, DownloadError.kind)
"""The service had made a picture; it did not arrive, or not whole."""


def spending_columns(by: By) -> dict[str, tuple[str, str]]:
    """The columns of the table, with their types and what they hold."""
    return {by: ("string", _NAMES[by]), **_COLUMNS}


def spending_rows(rows: Iterable[Row], by: By) -> list[dict[str, Any]]:
    """One row for each run or day, the oldest first, out of the rows of attempts."""
    sums: dict[str, _Sum] = {}
    for row in rows:
        if row["attempt"] is not None:
            name = row["run"] if by == "run" else _moment(row)[: len("2026-01-31")]
            sums.setdefault(name, _Sum(_moment(row))).add(row)
    found = [{by: name, **one.as_row()} for name, one in sums.items()]
    return sorted(found, key=lambda row: row["first"])


def spending_for_reading(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The rows for people, whose times have no parts of a second."""
    return [{**row, **{name: f"{row[name][:19]}Z" for name in ("first", "last")}} for row in rows]


def _moment(row: Row) -> str:
    """When money was set aside for it: that day's budget is meant."""
    return str(row["submitted_at"] or row["created_at"])


@dataclass
class _Sum:
    """What the attempts of one run or day come to."""

    first: str
    last: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    doubtful: int = 0
    priced: int = 0
    unpriced: int = 0
    cost: float = 0.0
    reserved: float = 0.0

    def add(self, row: Row) -> None:
        self.first = min(self.first, _moment(row))
        self.last = max(self.last, row["finished_at"] or _moment(row))
        self.counts[counted_as(row)] += 1
        self.doubtful += row["possible_double_charge"]
        self.unpriced += is_unpriced(row)
        if row["cost"] is not None and is_charge(row):
            self.priced += 1
            self.cost += row["cost"]
        self.reserved += row["reserved"] or 0.0

    def as_row(self) -> dict[str, Any]:
        names = ("made", "shared", "failed", "unknown", "open")
        return {
            "attempts": self.counts.total(),
            **{name: self.counts[name] for name in names},
            "possible_double_charges": self.doubtful,
            "cost": None if self.unpriced and not self.priced else round(self.cost, 6),
            "unknown_price": self.unpriced,
            "reserved": round(self.reserved, 6),
            "first": self.first,
            "last": self.last,
        }


def _is_shared(row: Row) -> bool:
    return row["shared_from"] is not None


def counted_as(row: Row) -> str:
    """Which of the five counts an attempt is in."""
    if row["state"] == State.STORED:
        return "shared" if _is_shared(row) else "made"
    return _COUNTED_AS.get(row["state"], "open")


def is_charge(row: Row) -> bool:
    """Whether it was charged for certain: a picture was made, or a failure is known to cost."""
    is_paid_failure = row["state"] == State.FAILED and row["error_kind"] in _PAID_FAILURES
    was_charged = row["state"] in _CHARGED or is_paid_failure or (row["cost"] or 0.0) > 0
    return was_charged and not _is_shared(row)


def is_unpriced(row: Row) -> bool:
    """Whether it was charged, and nobody knows how much."""
    return row["cost"] is None and is_charge(row)
