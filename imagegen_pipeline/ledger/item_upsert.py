"""What was read of a source is written down: new, changed, back, gone, or unreadable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.ledger.change_log import last_change_seq
from imagegen_pipeline.ledger.schema import items, problems
from imagegen_pipeline.ledger.source_state import mark_stale

Stamped = tuple[Prompt | Actor, str | None]
"""An item and the stamp of what it was read from; None when it is to be read again."""
_CHUNK = 500
PROMPT_DETAIL = (
    "row_id",
    "image_id",
    "original_filename",
    "descriptive_name",
    "filename",
    "pic_name",
    "image_url",
)
ACTOR_DETAIL = ("width", "height", "steps", "seed")
_COMPARED = ("digest", "gone", "container", "location", "detail")


@dataclass(frozen=True, slots=True)
class ScanChange:
    """What a scan changed, as keys in the source's order."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class ScanPart:
    """What was read of a part of a source.

    ``gone`` are keys that have left it; ``readable`` are locations that are no problem (any
    more): read well, or no longer there. What is not named here stays as it is.
    """

    kind: ItemKind
    container: str
    source_items: Sequence[Stamped] = ()
    gone: Sequence[str] = ()
    problems: Sequence[SourceProblem] = ()
    readable: Sequence[str] = ()


class ItemUpsert:
    """Writes within one transaction."""

    def __init__(self, connection: Connection, now: float) -> None:
        self._connection = connection
        self._now = now
        self._change_seq = last_change_seq(connection) + 1
        self._sequence = last_sequence(connection)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def source_items(
        self, kind: ItemKind, source_items: Sequence[Stamped], *, keep_stamps: bool = False
    ) -> ScanChange:
        """Write down what is there. The same content again changes its stamp at most, and not
        that if ``keep_stamps``: who reads without stamps says nothing of those that are known.
        """
        known = self._known([source_item.key for source_item, _ in source_items])
        rows: list[dict[str, Any]] = []
        stamps: list[dict[str, Any]] = []
        changed: list[str] = []
        left: set[str] = set()
        for source_item, stamp in source_items:
            before = known.get(source_item.key)
            if before is None:
                rows.append(self._new_row(kind, source_item, stamp))
            elif all(before[name] == value for name, value in _compared(source_item).items()):
                if stamp != before["stamp"] and not keep_stamps:
                    stamps.append({"of": source_item.key, "now": stamp})
            else:
                if before["container"] != source_item.container:
                    left.add(before["container"])
                if self._change(source_item, stamp, before):
                    changed.append(source_item.key)
        if rows:
            self._connection.execute(insert(items), rows)
        if stamps:
            to = update(items).where(items.c.key == bindparam("of")).values(stamp=bindparam("now"))
            self._connection.execute(to, stamps)
        mark_stale(self._connection, left)
        new = tuple(row["key"] for row in rows)
        return ScanChange(new, tuple(changed), (), len(source_items) - len(new) - len(changed))

    def _known(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        names = (*_COMPARED, "stamp")
        columns = [items.c[name] for name in ("key", *names)]
        found: dict[str, dict[str, Any]] = {}
        for part in _chunks(keys):
            for row in self._connection.execute(select(*columns).where(items.c.key.in_(part))):
                found[row.key] = {name: getattr(row, name) for name in names}
        return found

    def _new_row(
        self, kind: ItemKind, source_item: Prompt | Actor, stamp: str | None
    ) -> dict[str, Any]:
        sequence = self._next()
        return {
            "key": source_item.key,
            "kind": kind,
            "position": sequence,  # grows as it does, and has an index
            "sequence": sequence,
            "revision": 1,
            "first_seen": self._now,
            "last_seen": self._now,
            "change_seq": self._change_seq,
            "stamp": stamp,
            **_content(source_item),
        }

    def _change(
        self, source_item: Prompt | Actor, stamp: str | None, before: dict[str, Any]
    ) -> bool:
        """Write an item anew; returns whether its text is another."""
        is_new_text: bool = before["digest"] != source_item.digest
        values = {
            **_content(source_item),
            "stamp": stamp,
            "last_seen": self._now,
            "change_seq": self._change_seq,
        }
        if is_new_text:
            values["revision"] = items.c.revision + 1
        if is_new_text or before["gone"]:
            values["sequence"] = self._next()
        self._connection.execute(
            update(items).where(items.c.key == source_item.key).values(**values)
        )
        return is_new_text

    def seen(self, keys: Sequence[str]) -> None:
        """Note that these were there when their source was looked at."""
        for part in _chunks(keys):
            self._connection.execute(
                update(items).where(items.c.key.in_(part)).values(last_seen=self._now)
            )

    def gone(self, keys: Sequence[str]) -> None:
        """Mark items gone: news, too. They have no stamp, so that their return is noticed."""
        if keys:
            one = update(items).where(items.c.key == bindparam("of"))
            values = {"gone": True, "stamp": None, "last_seen": self._now}
            self._connection.execute(
                one.values(sequence=bindparam("at"), change_seq=self._change_seq, **values),
                [{"of": key, "at": self._next()} for key in keys],
            )

    def all_problems(self, container: str, found: Sequence[SourceProblem]) -> None:
        """Write down all the problems of a source; others that it had are no more."""
        first_seen = self._first_seen(problems.c.container == container)
        self._connection.execute(delete(problems).where(problems.c.container == container))
        self._insert_problems(found, first_seen)

    def some_problems(
        self, container: str, found: Sequence[SourceProblem], readable: Sequence[str]
    ) -> None:
        """Write down the problems of a part of a source, and drop those of ``readable``."""
        first_seen: dict[tuple[str, str], float] = {}
        for part in _chunks([*(problem.location for problem in found), *readable]):
            here = (problems.c.container == container) & problems.c.location.in_(part)
            first_seen |= self._first_seen(here)
            self._connection.execute(delete(problems).where(here))
        self._insert_problems(found, first_seen)

    def old_problems(self, container: str, before: float) -> None:
        """Drop the problems that were last seen before a moment."""
        here = (problems.c.container == container) & (problems.c.last_seen < before)
        self._connection.execute(delete(problems).where(here))

    def _first_seen(self, here: Any) -> dict[tuple[str, str], float]:  # noqa: ANN401 - a clause
        found = self._connection.execute(select(problems).where(here))
        return {(row.location, row.message): row.first_seen for row in found}

    def _insert_problems(
        self, found: Sequence[SourceProblem], first_seen: dict[tuple[str, str], float]
    ) -> None:
        rows = {
            problem.location: {
                "container": problem.container,
                "location": problem.location,
                "message": problem.message,
                "remedy": problem.remedy,
                "first_seen": first_seen.get((problem.location, problem.message), self._now),
                "last_seen": self._now,
            }
            for problem in found
        }
        if rows:
            self._connection.execute(insert(problems), list(rows.values()))


def last_sequence(connection: Connection, kinds: Sequence[str] = ("prompt", "actor")) -> int:
    """The sequence of the newest change of these kinds."""
    newest = (
        connection.scalar(select(func.max(items.c.sequence)).where(items.c.kind == kind))
        for kind in kinds
    )
    return max((sequence for sequence in newest if sequence is not None), default=0)


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]


def _compared(source_item: Prompt | Actor) -> dict[str, Any]:
    content = _content(source_item)
    return {name: content[name] for name in _COMPARED}


def _content(source_item: Prompt | Actor) -> dict[str, Any]:
    names = PROMPT_DETAIL if isinstance(source_item, Prompt) else ACTOR_DETAIL
    text = source_item.text if isinstance(source_item, Prompt) else source_item.description
    return {
        "source": source_item.source if isinstance(source_item, Prompt) else "actor",
        "container": source_item.container,
        "location": source_item.location,
        "text": text,
        "digest": source_item.digest,
        "detail": {name: getattr(source_item, name) for name in names},
        "gone": False,
    }
