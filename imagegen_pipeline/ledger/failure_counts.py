"""Items whose newest attempt failed, and the number of failures in a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.domain.retry_backoff import COUNTED, Failures
from imagegen_pipeline.ledger.change_log import record_change
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.schema import attempts, items

_FAILED = (State.FAILED, State.UNKNOWN, State.EXPIRED)
_CHUNK = 500


class FailureCountRepository:
    """The failures in the ``attempts`` table, and their reset by a user."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def failing(self) -> dict[str, Failures]:
        """Every present item whose newest attempt failed, in the items' order. Held and given up
        items need a decision and are not included.
        """
        query = (
            select(items.c.key)
            .join(attempts, attempts.c.id == items.c.last_attempt)
            .where(items.c.gone.is_(False), attempts.c.state.in_(_FAILED))
            .order_by(items.c.position)
        )
        with self._database.read() as connection:
            return self._of(connection, list(connection.scalars(query)))

    def of(self, keys: Iterable[str]) -> dict[str, Failures]:
        """The failures in a row of these items; items without a failure are left out."""
        with self._database.read() as connection:
            found = self._of(connection, list(keys))
        return {key: failures for key, failures in found.items() if failures.count}

    def _of(self, connection: Connection, keys: list[str]) -> dict[str, Failures]:
        columns = (attempts.c.item_key, attempts.c.fingerprint, attempts.c.state)
        facts = (attempts.c.error_kind, attempts.c.finished_at)
        histories: dict[str, list[Any]] = {key: [] for key in keys}
        for start in range(0, len(keys), _CHUNK):
            query = (
                select(*columns, *facts)
                .join(items, items.c.key == attempts.c.item_key)
                .where(
                    attempts.c.item_key.in_(keys[start : start + _CHUNK]),
                    attempts.c.id > items.c.failures_reset,
                )
                .order_by(attempts.c.id.desc())
            )
            for row in connection.execute(query):
                histories[row.item_key].append(row)
        return {key: _in_a_row(history) for key, history in histories.items()}

    def forgive(self, key: str) -> int:
        """Reset the failures of an item, so that it is retried; returns how many there were."""
        with self._database.write() as connection:
            failures = self._of(connection, [key])[key]
            here = select(items.c.last_attempt).where(items.c.key == key)
            record_change(connection, [key], failures_reset=connection.scalar(here))
        return failures.count


def _in_a_row(history: list[Any]) -> Failures:
    """The failures of the newest attempt's request since its last success."""
    count, last_at = 0, 0.0
    for row in history:
        if row.fingerprint != history[0].fingerprint or row.state not in _FAILED:
            break
        last_at = max(last_at, row.finished_at or 0.0)
        count += row.error_kind in COUNTED
    return Failures(count, last_at)
