"""Counts, costs and durations over all attempts, aggregated by the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, cast, func, select

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.schema import attempts, problems

_SHARED, _UNPRICED, _PAID, _TODAY = 1, 2, 4, 8
_ended_at = func.coalesce(attempts.c.finished_at, attempts.c.submitted_at, attempts.c.created_at)
_has_ended = attempts.c.state.in_(
    (State.STORED, State.FAILED, State.EXPIRED, State.UNKNOWN, State.HELD)
)
_is_shared = attempts.c.shared_from.is_not(None)


@dataclass(frozen=True, slots=True)
class AttemptGroup:
    """The attempts that agree in all fields but the last two.

    ``is_priced`` says that the cost is known, ``is_paid`` that it is known and above 0,
    ``is_today`` that the request was sent (or planned, if it was not sent) since midnight UTC.
    ``cost`` is the sum of the known costs.
    """

    state: str
    provider: str
    model: str
    error_kind: str | None
    is_shared: bool
    is_priced: bool
    is_paid: bool
    is_today: bool
    count: int
    cost: float


@dataclass(frozen=True, slots=True)
class EndedCount:
    """How many attempts of a state ended in the interval that begins at ``start`` (seconds since
    the epoch).
    """

    state: str
    is_shared: bool
    start: int
    count: int


class ResultStatistics:
    """Read-only aggregates; the sizes of the answers do not grow with the number of attempts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def groups(self, midnight: float) -> tuple[list[AttemptGroup], int]:
        """The attempts in groups, and the number of unreadable source items.

        ``midnight`` is the start of today (seconds since the epoch).
        """
        # One number instead of four columns: the database sorts all rows by these columns.
        flags = (
            case((_is_shared, _SHARED), else_=0)
            + case((attempts.c.cost.is_(None), _UNPRICED), (attempts.c.cost > 0, _PAID), else_=0)
            + case(
                (
                    func.coalesce(attempts.c.submitted_at, attempts.c.created_at) >= midnight,
                    _TODAY,
                ),
                else_=0,
            )
        ).label("flags")
        columns = [attempts.c[name] for name in ("state", "provider", "model", "error_kind")]
        sums = (func.count().label("attempts"), func.sum(attempts.c.cost).label("cost"))
        query = select(flags, *columns, *sums).group_by("flags", *columns)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            unreadable = connection.scalar(select(func.count()).select_from(problems)) or 0
        return [_group(row) for row in rows], unreadable

    def ended_span(self) -> tuple[int, int] | None:
        """When the first and the last attempt ended (seconds since the epoch); None if none did."""
        query = select(func.min(_ended_at), func.max(_ended_at)).where(_has_ended)
        with self._database.read() as connection:
            first, last = connection.execute(query).one()
        return None if first is None else (int(first), int(last))

    def ended_counts(self, step: int) -> list[EndedCount]:
        """How many attempts ended in each interval of ``step`` seconds, by state."""
        start = (cast(_ended_at, BigInteger) // step).label("start")
        is_shared = case((_is_shared, 1), else_=0).label("is_shared")
        query = (
            select(attempts.c.state, is_shared, start, func.count())
            .where(_has_ended)
            .group_by(attempts.c.state, "is_shared", "start")
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [EndedCount(state, bool(shared), at * step, n) for state, shared, at, n in rows]

    def durations(self) -> list[tuple[str, float, int]]:
        """``(provider, seconds, count)``: how long the generated images took from planned to
        stored, to three significant digits, ascending by provider and seconds.
        """
        seconds = attempts.c.finished_at - attempts.c.created_at
        milliseconds = _three_digits(cast(seconds * 1000 + 0.5, BigInteger)).label("milliseconds")
        query = (
            select(attempts.c.provider, milliseconds, func.count())
            .where(attempts.c.state == State.STORED, ~_is_shared, seconds.is_not(None))
            .group_by(attempts.c.provider, "milliseconds")
            .order_by(attempts.c.provider, "milliseconds")
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [(provider, ms / 1000, count) for provider, ms, count in rows]


def _group(row: Any) -> AttemptGroup:  # noqa: ANN401 - a database row
    return AttemptGroup(
        state=row.state,
        provider=row.provider,
        model=row.model,
        error_kind=row.error_kind,
        is_shared=bool(row.flags & _SHARED),
        is_priced=not row.flags & _UNPRICED,
        is_paid=bool(row.flags & _PAID),
        is_today=bool(row.flags & _TODAY),
        count=row.attempts,
        cost=row.cost or 0.0,
    )


def _three_digits(number: ColumnElement[int]) -> ColumnElement[int]:
    """A whole number rounded to three significant digits below 1,000,000, to thousands above."""
    return case(
        (number < 1_000, number),
        (number < 10_000, (number + 5) // 10 * 10),
        (number < 100_000, (number + 50) // 100 * 100),
        else_=(number + 500) // 1000 * 1000,
    )
