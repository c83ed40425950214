"""Reads the attempts that the results table is made of, and finds those that have changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.ledger.change_log import last_change_seq
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.reviews import Verdict
from imagegen_pipeline.ledger.schema import attempts, items

_IDS_PER_QUERY = 500
_LATE_COMMITS = 200
"""With several concurrent writers a change may be committed after others that have a higher
number, so the last numbers are read again. SQLite has one writer at a time and needs none of it.
"""
_FETCH_ROWS = 500
"""Rows of a streamed query that are in memory at a time."""
_ATTEMPT_COLUMNS = (
    *("id", "item_key", "provider", "model", "request", "seed", "state", "intent", "regenerate"),
    *("simulated", "created_at", "submitted_at", "finished_at", "job_id", "path", "archive"),
    *("digest", "width", "height", "cost", "reserved", "run_seconds", "error_kind", "error"),
    *("remedy", "warnings", "shared_from", "possible_double_charge", "verdict", "verdict_at"),
)
_ITEM_COLUMNS = ("kind", "source", "location", "gone", "current_attempt")
_ROWS = select(
    *(attempts.c[name] for name in _ATTEMPT_COLUMNS), *(items.c[name] for name in _ITEM_COLUMNS)
).join(items, items.c.key == attempts.c.item_key)


@dataclass(frozen=True, slots=True)
class ResultsCursor:
    """A position in the ledger's history: the number of the newest change, the id of the newest
    attempt (0 if there is none) and the time when that attempt was planned.
    """

    change_seq: int
    last_attempt: int
    planned_at: float | None


@dataclass(frozen=True, slots=True)
class ResultChanges:
    """The end of the ledger's history, and the ids, ascending, of the attempts that may have
    changed since a cursor; None if the cursor is not in the history of this ledger.
    """

    cursor: ResultsCursor
    attempt_ids: list[int] | None


class ResultRows:
    """Read-only queries. A row has the columns of an attempt, and its item's kind, source,
    location, ``gone`` and ``current_attempt``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def changes(self, since: ResultsCursor | None) -> ResultChanges:
        """All attempts of the items that have changed after ``since``: older attempts are
        included, since another one may be current now.

        A cursor of another ledger, or one that is newer than a restored backup, is not in the
        history; None is not either.
        """
        newest = select(attempts.c.id, attempts.c.created_at).order_by(attempts.c.id.desc())
        changed = select(attempts.c.id).join(items, items.c.key == attempts.c.item_key)
        with self._database.read() as connection:
            change_seq = last_change_seq(connection)
            row = connection.execute(newest.limit(1)).one_or_none()
            cursor = ResultsCursor(
                change_seq, row.id if row else 0, row.created_at if row else None
            )
            if since is None or not _is_in_history(connection, since, change_seq):
                return ResultChanges(cursor, None)
            late = 0 if connection.dialect.name == "sqlite" else _LATE_COMMITS
            changed = changed.where(items.c.change_seq > since.change_seq - late)
            return ResultChanges(cursor, sorted(connection.scalars(changed)))

    def all(self) -> Iterator[Any]:
        """Every attempt, oldest first."""
        return self._stream(_ROWS.order_by(attempts.c.id))

    def between(self, first: int, last: int) -> Iterator[Any]:
        """The attempts with ids from ``first`` to ``last``, both included, oldest first."""
        in_range = attempts.c.id.between(first, last)
        return self._stream(_ROWS.where(in_range).order_by(attempts.c.id))

    def by_ids(self, attempt_ids: Sequence[int]) -> Iterator[Any]:
        """The attempts with these ids; ascending if ``attempt_ids`` are."""
        for start in range(0, len(attempt_ids), _IDS_PER_QUERY):
            in_chunk = attempts.c.id.in_(attempt_ids[start : start + _IDS_PER_QUERY])
            yield from self._stream(_ROWS.where(in_chunk).order_by(attempts.c.id))

    def approved(self) -> Iterator[Any]:
        """The current images that a person has approved, oldest first."""
        is_approved = (
            attempts.c.verdict == Verdict.APPROVED,
            items.c.current_attempt == attempts.c.id,
        )
        return self._stream(_ROWS.where(*is_approved).order_by(attempts.c.id))

    def newest_pictures(self, limit: int) -> list[tuple[str, str]]:
        """``(key, digest)`` of the current images, the most recently stored first."""
        is_current = (items.c.key == attempts.c.item_key) & (
            items.c.current_attempt == attempts.c.id
        )
        query = (
            select(attempts.c.item_key, attempts.c.digest)
            .join(items, is_current)
            .where(attempts.c.state == State.STORED)
            .order_by(attempts.c.finished_at.desc(), attempts.c.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(row.item_key, row.digest or "") for row in connection.execute(query)]

    def _stream(self, query: Select[Any]) -> Iterator[Any]:
        with self._database.read() as connection:
            yield from connection.execute(query.execution_options(yield_per=_FETCH_ROWS))


def _is_in_history(connection: Connection, cursor: ResultsCursor, change_seq: int) -> bool:
    planned_at = select(attempts.c.created_at).where(attempts.c.id == cursor.last_attempt)
    return cursor.change_seq <= change_seq and (
        cursor.last_attempt == 0 or connection.scalar(planned_at) == cursor.planned_at
    )
