"""What the table of results is made of: attempts beside their items, and which have changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.ledger.change_log import last_change_seq
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.reviews import Verdict
from imagegen_pipeline.ledger.schema import attempts, items

_CHUNK = 500
_LATE = 200
"""Where several write at once, a change may be committed after others that have a higher number:
so many numbers are looked at again. SQLite has one writer at a time.
"""
_FETCHED = 500
"""Rows that are in memory at a time, however many there are."""
_OF_ATTEMPTS = (
    *("id", "item_key", "provider", "model", "request", "seed", "state", "intent", "regenerate"),
    *("simulated", "created_at", "submitted_at", "finished_at", "job_id", "path", "archive"),
    *("digest", "width", "height", "cost", "reserved", "run_seconds", "error_kind", "error"),
    *("remedy", "warnings", "shared_from", "possible_double_charge", "verdict", "verdict_at"),
)
_OF_ITEMS = ("kind", "source", "location", "gone", "current_attempt")
_ROWS = select(
    *(attempts.c[name] for name in _OF_ATTEMPTS), *(items.c[name] for name in _OF_ITEMS)
).join(items, items.c.key == attempts.c.item_key)


@dataclass(frozen=True, slots=True)
class ResultsCursor:
    """How far a ledger has come: the number of its newest change, its newest attempt (0 when it
    has none) and when that was planned.
    """

    change_seq: int
    last_attempt: int
    planned_at: float | None


class ResultRows:
    """Questions of the table of results; it writes nothing. A row has the columns of an attempt,
    and its item's kind, source, location, ``gone`` and ``current_attempt``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def standing(self) -> ResultsCursor:
        """How far the ledger has come."""
        newest = select(attempts.c.id, attempts.c.created_at).order_by(attempts.c.id.desc())
        with self._database.read() as connection:
            change_seq = last_change_seq(connection)
            row = connection.execute(newest.limit(1)).one_or_none()
        return ResultsCursor(change_seq, row.id if row else 0, row.created_at if row else None)

    def planned_at(self, attempt_id: int) -> float | None:
        """When an attempt was planned (seconds since the epoch); None when there is none."""
        query = select(attempts.c.created_at).where(attempts.c.id == attempt_id)
        with self._database.read() as connection:
            return connection.scalar(query)

    def all(self) -> Iterator[Any]:
        """Every attempt, oldest first."""
        return self._stream(_ROWS.order_by(attempts.c.id))

    def between(self, first: int, last: int) -> Iterator[Any]:
        """The attempts from ``first`` to ``last``, both included, oldest first."""
        here = attempts.c.id.between(first, last)
        return self._stream(_ROWS.where(here).order_by(attempts.c.id))

    def of(self, attempt_ids: Sequence[int]) -> Iterator[Any]:
        """These attempts, in the order of their chunks."""
        for start in range(0, len(attempt_ids), _CHUNK):
            here = attempts.c.id.in_(attempt_ids[start : start + _CHUNK])
            yield from self._stream(_ROWS.where(here).order_by(attempts.c.id))

    def changed(self, after: int) -> list[int]:
        """The attempts of every item that something has happened to since the change ``after``,
        in order: its older ones too, since another may be its current picture now.
        """
        query = select(attempts.c.id).join(items, items.c.key == attempts.c.item_key)
        with self._database.read() as connection:
            late = 0 if connection.dialect.name == "sqlite" else _LATE
            return sorted(connection.scalars(query.where(items.c.change_seq > after - late)))

    def approved(self) -> Iterator[Any]:
        """The current pictures that a person has approved, oldest first."""
        is_meant = (
            attempts.c.verdict == Verdict.APPROVED,
            items.c.current_attempt == attempts.c.id,
        )
        return self._stream(_ROWS.where(*is_meant).order_by(attempts.c.id))

    def newest_pictures(self, limit: int) -> list[tuple[str, str]]:
        """``(key, digest)`` of the pictures that were made last and count now, newest first."""
        counts = (items.c.key == attempts.c.item_key) & (items.c.current_attempt == attempts.c.id)
        query = (
            select(attempts.c.item_key, attempts.c.digest)
            .join(items, counts)
            .where(attempts.c.state == State.STORED)
            .order_by(attempts.c.finished_at.desc(), attempts.c.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(row.item_key, row.digest or "") for row in connection.execute(query)]

    def _stream(self, query: Select[Any]) -> Iterator[Any]:
        with self._database.read() as connection:
            yield from connection.execute(query.execution_options(yield_per=_FETCHED))
