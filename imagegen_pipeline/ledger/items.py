"""Items: the prompts and actors that images are made for, and the problems of their sources."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.item_upsert import (
    ItemUpsert,
    ScanChange,
    SourceRecord,
    last_sequence,
    to_source_item,
)
from imagegen_pipeline.ledger.schema import items, problems
from imagegen_pipeline.ledger.source_state import (
    SourceState,
    StoredSource,
    read_problems,
    read_source_state,
    write_source_state,
)

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Item:
    """A row of the items table: the prompt or actor and its history.

    ``revision`` counts the versions of its content, from 1. ``last_seen`` is when its content
    was last recorded; for a gone item, when a scan noticed that.
    """

    source_item: Prompt | Actor
    revision: int
    gone: bool
    first_seen: float
    last_seen: float

    @property
    def key(self) -> str:
        """The partition key."""
        return self.source_item.key


@dataclass(frozen=True, slots=True)
class SourceChange:
    """An item that was new, changed, gone or back, with the sequence number of that change."""

    sequence: int
    key: str
    gone: bool


class ItemRepository:
    """The ``items`` and ``problems`` tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        record: SourceRecord,
        state: SourceState | None = None,
        *,
        instead_of: SourceState | None = None,
    ) -> ScanChange:
        """Record the changes of a source in one transaction, with its state if given.

        See ``write_source_state`` for ``instead_of``.
        """
        with self._database.write() as connection:
            upsert = ItemUpsert(connection, time.time())
            change = upsert.source_items(record.kind, record.source_items)
            upsert.gone(record.gone)
            if record.problems is not None:
                upsert.problems(record.container, record.problems)
            if state is not None:
                write_source_state(connection, record.container, state, instead_of=instead_of)
        return ScanChange(change.new, change.changed, tuple(record.gone), change.unchanged)

    def of_source(self, kind: ItemKind, container: str) -> StoredSource:
        """A source as the last scan recorded it, with its items."""
        query = select(items).where(
            items.c.kind == kind, items.c.container == container, items.c.gone.is_(False)
        )
        with self._database.read() as connection:
            return StoredSource(
                read_source_state(connection, container),
                read_problems(connection, container),
                {row.key: to_source_item(row) for row in connection.execute(query)},
                {row.location: (row.key, row.change_token) for row in connection.execute(query)},
            )

    def get(self, keys: Iterable[str]) -> dict[str, Item]:
        """The items of these keys; a key that the ledger does not know is left out."""
        requested = list(keys)
        known: dict[str, Item] = {}
        with self._database.read() as connection:
            for start in range(0, len(requested), _CHUNK):
                part = requested[start : start + _CHUNK]
                for row in connection.execute(select(items).where(items.c.key.in_(part))):
                    known[row.key] = _to_item(row)
        return {key: known[key] for key in requested if key in known}

    def changes(self, kind: ItemKind, *, after: int, until: int, limit: int) -> list[SourceChange]:
        """The items that were new, changed, gone or back after ``after``, oldest first. Each item
        is listed once, at its newest change.
        """
        query = (
            select(items.c.sequence, items.c.key, items.c.gone)
            .where(items.c.kind == kind, items.c.sequence > after, items.c.sequence <= until)
            .order_by(items.c.sequence)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [
                SourceChange(row.sequence, row.key, row.gone) for row in connection.execute(query)
            ]

    def count_changes(self, kind: ItemKind, *, after: int) -> int:
        """The number of ``changes``."""
        query = select(func.count()).where(items.c.kind == kind, items.c.sequence > after)
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def last_sequence(self, *kinds: ItemKind) -> int:
        """The sequence number of the newest change, of these kinds if any are named."""
        with self._database.read() as connection:
            return last_sequence(connection, kinds or ("prompt", "actor"))

    def keys(self, kind: ItemKind) -> list[str]:
        """The keys of all present items, in the order in which they were first seen."""
        query = (
            select(items.c.key)
            .where(items.c.kind == kind, items.c.gone.is_(False))
            .order_by(items.c.position)
        )
        with self._database.read() as connection:
            return [key for (key,) in connection.execute(query)]

    def has_any(self, container: str) -> bool:
        """Whether a source had any item at its last scan."""
        query = select(items.c.key).where(
            items.c.kind.in_(("prompt", "actor")),  # all kinds: the index begins with it
            items.c.container == container,
            items.c.gone.is_(False),
        )
        with self._database.read() as connection:
            return connection.scalar(query.limit(1)) is not None

    def problems(self) -> list[SourceProblem]:
        """The problems of all sources at their last scans."""
        query = select(problems).order_by(problems.c.container, problems.c.location)
        with self._database.read() as connection:
            return [
                SourceProblem(row.container, row.location, row.message, row.remedy)
                for row in connection.execute(query)
            ]


def _to_item(row: Any) -> Item:  # noqa: ANN401 - SQLAlchemy rows have no static columns
    return Item(to_source_item(row), row.revision, row.gone, row.first_seen, row.last_seen)
