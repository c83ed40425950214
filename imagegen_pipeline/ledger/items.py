"""Items: what pictures are wanted for, and what in the sources cannot become one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from imagegen_pipeline.domain.actors import Actor, ActorScan
from imagegen_pipeline.domain.prompts import Prompt, PromptScan, SourceProblem
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.item_upsert import (
    ItemUpsert,
    ScanChange,
    ScanPart,
    last_sequence,
)
from imagegen_pipeline.ledger.schema import items, problems
from imagegen_pipeline.ledger.source_state import SourceState, write_source_state

__all__ = ["Item", "ItemRepository", "ScanChange", "ScanPart", "SourceChange"]

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Item:
    """A row of the items table: the thing itself and what the ledger knows of it.

    ``revision`` counts the changes of what it is made from, the first being 1. ``last_seen`` is
    when it was last read; of one that is gone, when that was noticed.
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
    """An item that was new, changed, gone or back, by the number of that change."""

    sequence: int
    key: str
    gone: bool


class ItemRepository:
    """The ``items`` and ``problems`` tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, scan: PromptScan | ActorScan) -> ScanChange:
        """Write down what a scan of a whole source found; what it no longer has is marked gone.

        The same text found again changes nothing but ``last_seen``. A scan that could not
        read its container marks nothing gone.
        """
        source_items: Sequence[Prompt | Actor] = (
            scan.prompts if isinstance(scan, PromptScan) else scan.actors
        )
        kind: ItemKind = "prompt" if isinstance(scan, PromptScan) else "actor"
        with self._database.write() as connection:
            recorder = ItemUpsert(connection, time.time())
            change = recorder.source_items(
                kind, [(source_item, None) for source_item in source_items], keep_stamps=True
            )
            recorder.seen([source_item.key for source_item in source_items])
            gone = _missing(connection, kind, scan, source_items) if scan.complete else ()
            recorder.gone(gone)
            if scan.complete or scan.problems:  # a single item written down is no scan
                recorder.all_problems(scan.container, scan.problems)
        return ScanChange(change.new, change.changed, gone, change.unchanged)

    def record_part(
        self,
        part: ScanPart,
        read: SourceState | None = None,
        *,
        instead_of: SourceState | None = None,
    ) -> ScanChange:
        """Write down what was read of a part of a source, and with it, if given, how far it has
        been read; see ``write_source_state``.
        """
        with self._database.write() as connection:
            recorder = ItemUpsert(connection, time.time())
            change = recorder.source_items(part.kind, part.source_items)
            recorder.gone(part.gone)
            recorder.some_problems(part.container, part.problems, part.readable)
            if read is not None:
                write_source_state(connection, part.container, read, instead_of=instead_of)
        return ScanChange(change.new, change.changed, tuple(part.gone), change.unchanged)

    def drop_problems(self, container: str, *, before: float) -> None:
        """Drop the problems of a source that were last seen before a moment: a look through all
        of it, which began then, has not met them.
        """
        with self._database.write() as connection:
            ItemUpsert(connection, time.time()).old_problems(container, before)

    def get(self, keys: Iterable[str]) -> dict[str, Item]:
        """The items of these keys; a key that the ledger does not know is left out."""
        wanted = list(keys)
        found: dict[str, Item] = {}
        with self._database.read() as connection:
            for start in range(0, len(wanted), _CHUNK):
                part = wanted[start : start + _CHUNK]
                for row in connection.execute(select(items).where(items.c.key.in_(part))):
                    found[row.key] = _to_item(row)
        return {key: found[key] for key in wanted if key in found}

    def changes(self, kind: ItemKind, *, after: int, until: int, limit: int) -> list[SourceChange]:
        """What was new, changed, gone or back after ``after``, oldest first. An item stands where
        its newest change is.
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
        """How many ``changes`` there are."""
        query = select(func.count()).where(items.c.kind == kind, items.c.sequence > after)
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def last_sequence(self, *kinds: ItemKind) -> int:
        """The sequence of the newest change, of these kinds if any are named."""
        with self._database.read() as connection:
            return last_sequence(connection, kinds or ("prompt", "actor"))

    def keys(self, kind: ItemKind) -> list[str]:
        """The keys of everything present, in the order in which it was first seen."""
        query = (
            select(items.c.key)
            .where(items.c.kind == kind, items.c.gone.is_(False))
            .order_by(items.c.position)
        )
        with self._database.read() as connection:
            return [key for (key,) in connection.execute(query)]

    def has_any(self, container: str) -> bool:
        """Whether a source has brought anything that it still had when it was last read."""
        query = select(items.c.key).where(
            items.c.kind.in_(("prompt", "actor")),  # all of them: by it the index is used
            items.c.container == container,
            items.c.gone.is_(False),
        )
        with self._database.read() as connection:
            return connection.scalar(query.limit(1)) is not None

    def problems(self) -> list[SourceProblem]:
        """What the last scans could not read."""
        query = select(problems).order_by(problems.c.container, problems.c.location)
        with self._database.read() as connection:
            return [
                SourceProblem(row.container, row.location, row.message, row.remedy)
                for row in connection.execute(query)
            ]


def _missing(
    connection: Connection,
    kind: ItemKind,
    scan: PromptScan | ActorScan,
    source_items: Sequence[Prompt | Actor],
) -> tuple[str, ...]:
    present = {source_item.key for source_item in source_items}
    # A file that is half written, or a row that is broken now, has not left its source.
    unreadable = {problem.location for problem in scan.problems}
    here = select(items.c.key, items.c.location).where(
        items.c.kind == kind, items.c.container == scan.container, items.c.gone.is_(False)
    )
    return tuple(
        key
        for key, location in connection.execute(here.order_by(items.c.position))
        if key not in present and location not in unreadable
    )


def _to_item(row: Any) -> Item:  # noqa: ANN401 - SQLAlchemy rows have no static columns
    place = {"container": row.container, "location": row.location}
    source_item: Prompt | Actor
    if row.kind == "prompt":
        source_item = Prompt(key=row.key, text=row.text, source=row.source, **place, **row.detail)
    else:
        source_item = Actor(name=row.key, description=row.text, **place, **row.detail)
    return Item(source_item, row.revision, row.gone, row.first_seen, row.last_seen)
