"""Items: what pictures are wanted for, and what in the sources cannot become one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from imagegen_pipeline.domain.actors import Actor, ActorScan
from imagegen_pipeline.domain.prompts import Prompt, PromptScan, SourceProblem
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.schema import items, problems
from imagegen_pipeline.ledger.touching import last_touched

Kind = Literal["prompt", "actor"]
_CHUNK = 500
_PROMPT_DETAIL = (
    "row_id",
    "image_id",
    "original_filename",
    "descriptive_name",
    "filename",
    "pic_name",
    "image_url",
)
_ACTOR_DETAIL = ("width", "height", "steps", "seed")
_COMPARED = ("digest", "gone", "container", "location", "detail")


@dataclass(frozen=True, slots=True)
class Item:
    """A row of the items table: the thing itself and what the ledger knows of it.

    ``revision`` counts the changes of what it is made from, the first being 1.
    """

    thing: Prompt | Actor
    revision: int
    gone: bool
    first_seen: float
    last_seen: float

    @property
    def key(self) -> str:
        """The partition key."""
        return self.thing.key


@dataclass(frozen=True, slots=True)
class ScanChange:
    """What a scan changed, as keys in the source's order."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    unchanged: int = 0


class ItemBook:
    """The ``items`` and ``problems`` tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, scan: PromptScan | ActorScan) -> ScanChange:
        """Write down what a scan found; what the scan no longer has is marked gone.

        The same text found again changes nothing but ``last_seen``. A scan that could not
        read its container marks nothing gone.
        """
        things: Sequence[Prompt | Actor] = (
            scan.prompts if isinstance(scan, PromptScan) else scan.actors
        )
        kind: Kind = "prompt" if isinstance(scan, PromptScan) else "actor"
        now = time.time()
        with self._database.write() as connection:
            change = self._record_things(connection, kind, things, now)
            gone = self._mark_gone(connection, kind, scan, things) if scan.complete else ()
            if scan.complete or scan.problems:  # a single item written down is no scan
                self._record_problems(connection, scan.container, scan.problems, now)
        return ScanChange(change.new, change.changed, gone, change.unchanged)

    def _record_things(
        self, connection: Connection, kind: Kind, things: Sequence[Prompt | Actor], now: float
    ) -> ScanChange:
        known = self._known(connection, [thing.key for thing in things])
        counts = (func.coalesce(func.max(items.c[name]), 0) for name in ("position", "sequence"))
        position, sequence = connection.execute(select(*counts)).one()
        rows, changed_rows, same = [], [], []
        touched = last_touched(connection) + 1
        for thing in things:
            before = known.get(thing.key)
            if before is None:
                position, sequence = position + 1, sequence + 1
                row = _new_row(kind, thing, now, position=position, sequence=sequence)
                rows.append({**row, "touched": touched})
            elif before != _compared(thing):
                is_new_text = before["digest"] != thing.digest
                sequence += is_new_text
                changed_rows.append((thing, sequence if is_new_text else None))
            else:
                same.append({"of": thing.key, "now": now})
        if rows:
            connection.execute(insert(items), rows)
        for thing, new_sequence in changed_rows:
            connection.execute(_update_row(thing, now, new_sequence).values(touched=touched))
        if same:
            connection.execute(
                update(items)
                .where(items.c.key == bindparam("of"))
                .values(last_seen=bindparam("now")),
                same,
            )
        changed = tuple(thing.key for thing, new_sequence in changed_rows if new_sequence)
        return ScanChange(
            new=tuple(row["key"] for row in rows),
            changed=changed,
            unchanged=len(things) - len(rows) - len(changed),
        )

    def _known(self, connection: Connection, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        columns = [items.c[name] for name in ("key", *_COMPARED)]
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            for row in connection.execute(select(*columns).where(items.c.key.in_(part))):
                found[row.key] = {name: getattr(row, name) for name in _COMPARED}
        return found

    def _mark_gone(
        self,
        connection: Connection,
        kind: Kind,
        scan: PromptScan | ActorScan,
        things: Sequence[Prompt | Actor],
    ) -> tuple[str, ...]:
        present = {thing.key for thing in things}
        # A file that is half written, or a row that is broken now, has not left its source.
        unreadable = {problem.location for problem in scan.problems}
        here = select(items.c.key, items.c.location).where(
            items.c.kind == kind,
            items.c.container == scan.container,
            items.c.gone.is_(False),
        )
        gone = tuple(
            key
            for key, location in connection.execute(here.order_by(items.c.position))
            if key not in present and location not in unreadable
        )
        touched = last_touched(connection) + 1
        for start in range(0, len(gone), _CHUNK):
            part = gone[start : start + _CHUNK]
            connection.execute(
                update(items).where(items.c.key.in_(part)).values(gone=True, touched=touched)
            )
        return gone

    def _record_problems(
        self,
        connection: Connection,
        container: str,
        found: Sequence[SourceProblem],
        now: float,
    ) -> None:
        first_seen = {
            (row.location, row.message): row.first_seen
            for row in connection.execute(select(problems).where(problems.c.container == container))
        }
        connection.execute(delete(problems).where(problems.c.container == container))
        rows = {
            problem.location: {
                "container": container,
                "location": problem.location,
                "message": problem.message,
                "remedy": problem.remedy,
                "first_seen": first_seen.get((problem.location, problem.message), now),
                "last_seen": now,
            }
            for problem in found
        }
        if rows:
            connection.execute(insert(problems), list(rows.values()))

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

    def news(self, kind: Kind, *, after: int, limit: int) -> list[tuple[int, str]]:
        """``(sequence, key)`` of what was new or changed after ``after``, oldest first."""
        query = (
            select(items.c.sequence, items.c.key)
            .where(items.c.kind == kind, items.c.gone.is_(False), items.c.sequence > after)
            .order_by(items.c.sequence)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(row.sequence, row.key) for row in connection.execute(query)]

    def last_sequence(self) -> int:
        """The sequence of the newest change."""
        with self._database.read() as connection:
            return connection.scalar(select(func.coalesce(func.max(items.c.sequence), 0))) or 0

    def keys(self, kind: Kind) -> list[str]:
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
        query = select(items.c.key).where(items.c.container == container, items.c.gone.is_(False))
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


def _compared(thing: Prompt | Actor) -> dict[str, Any]:
    content = _content(thing)
    return {name: content[name] for name in _COMPARED}


def _content(thing: Prompt | Actor) -> dict[str, Any]:
    names = _PROMPT_DETAIL if isinstance(thing, Prompt) else _ACTOR_DETAIL
    text = thing.text if isinstance(thing, Prompt) else thing.description
    return {
        "source": thing.source if isinstance(thing, Prompt) else "actor",
        "container": thing.container,
        "location": thing.location,
        "text": text,
        "digest": thing.digest,
        "detail": {name: getattr(thing, name) for name in names},
        "gone": False,
    }


def _new_row(
    kind: Kind, thing: Prompt | Actor, now: float, *, position: int, sequence: int
) -> dict[str, Any]:
    return {
        "key": thing.key,
        "kind": kind,
        "position": position,
        "sequence": sequence,
        "revision": 1,
        "first_seen": now,
        "last_seen": now,
        **_content(thing),
    }


def _update_row(thing: Prompt | Actor, now: float, new_sequence: int | None) -> Any:  # noqa: ANN401
    values = {**_content(thing), "last_seen": now}
    if new_sequence is not None:
        values |= {"revision": items.c.revision + 1, "sequence": new_sequence}
    return update(items).where(items.c.key == thing.key).values(**values)


def _to_item(row: Any) -> Item:  # noqa: ANN401 - SQLAlchemy rows have no static columns
    place = {"container": row.container, "location": row.location}
    thing: Prompt | Actor
    if row.kind == "prompt":
        thing = Prompt(key=row.key, text=row.text, source=row.source, **place, **row.detail)
    else:
        thing = Actor(name=row.key, description=row.text, **place, **row.detail)
    return Item(thing, row.revision, row.gone, row.first_seen, row.last_seen)
