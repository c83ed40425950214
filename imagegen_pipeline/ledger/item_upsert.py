"""Records the changes of a source: new, changed, returned, gone and unreadable items."""

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

TokenedItem = tuple[Prompt | Actor, str | None]
"""An item and the change token that its file or row had; None when the token is not trusted."""
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
    """The changes of a scan, as keys in the source's order. ``unchanged`` is a count."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    unchanged: int = 0

    def __add__(self, other: ScanChange) -> ScanChange:
        return ScanChange(
            self.new + other.new,
            self.changed + other.changed,
            self.gone + other.gone,
            self.unchanged + other.unchanged,
        )


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """The changes that a scan found in one source.

    ``gone``: keys that have left it. ``problems``: all its problems now; None leaves the stored
    ones. Other items of the source stay as they are.
    """

    kind: ItemKind
    container: str
    source_items: Sequence[TokenedItem] = ()
    gone: Sequence[str] = ()
    problems: Sequence[SourceProblem] | None = None


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

    def source_items(self, kind: ItemKind, source_items: Sequence[TokenedItem]) -> ScanChange:
        """Record items that are present. For unchanged content only a trusted token is stored."""
        known = self._known([source_item.key for source_item, _ in source_items])
        rows: list[dict[str, Any]] = []
        tokens: list[dict[str, Any]] = []
        changed: list[str] = []
        left: set[str] = set()
        for source_item, token in source_items:
            before = known.get(source_item.key)
            if before is None:
                rows.append(self._new_row(kind, source_item, token))
            elif all(before[name] == value for name, value in _compared(source_item).items()):
                if token is not None and token != before["change_token"]:
                    tokens.append({"of": source_item.key, "now": token})
            else:
                if before["container"] != source_item.container:
                    left.add(before["container"])
                if self._change(source_item, token, before):
                    changed.append(source_item.key)
        if rows:
            self._connection.execute(insert(items), rows)
        if tokens:
            with_key = update(items).where(items.c.key == bindparam("of"))
            self._connection.execute(with_key.values(change_token=bindparam("now")), tokens)
        mark_stale(self._connection, left)
        new = tuple(row["key"] for row in rows)
        return ScanChange(new, tuple(changed), (), len(source_items) - len(new) - len(changed))

    def _known(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        names = (*_COMPARED, "change_token")
        columns = [items.c[name] for name in ("key", *names)]
        known: dict[str, dict[str, Any]] = {}
        for part in _chunks(keys):
            for row in self._connection.execute(select(*columns).where(items.c.key.in_(part))):
                known[row.key] = {name: getattr(row, name) for name in names}
        return known

    def _new_row(
        self, kind: ItemKind, source_item: Prompt | Actor, token: str | None
    ) -> dict[str, Any]:
        sequence = self._next()
        return {
            "key": source_item.key,
            "kind": kind,
            "position": sequence,  # increases with it, and has an index
            "sequence": sequence,
            "revision": 1,
            "first_seen": self._now,
            "last_seen": self._now,
            "change_seq": self._change_seq,
            "change_token": token,
            **_content(source_item),
        }

    def _change(
        self, source_item: Prompt | Actor, token: str | None, before: dict[str, Any]
    ) -> bool:
        """Update an item; returns whether its content has changed."""
        is_new_text: bool = before["digest"] != source_item.digest
        values = {
            **_content(source_item),
            "change_token": token,
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

    def gone(self, keys: Sequence[str]) -> None:
        """Mark items gone. Their tokens are dropped, so that a return is noticed."""
        if keys:
            with_key = update(items).where(items.c.key == bindparam("of"))
            values = {"gone": True, "change_token": None, "last_seen": self._now}
            self._connection.execute(
                with_key.values(sequence=bindparam("at"), change_seq=self._change_seq, **values),
                [{"of": key, "at": self._next()} for key in keys],
            )

    def problems(self, container: str, current: Sequence[SourceProblem]) -> None:
        """Replace the problems of a source."""
        first_seen = self._first_seen(problems.c.container == container)
        self._connection.execute(delete(problems).where(problems.c.container == container))
        self._insert_problems(current, first_seen)

    def _first_seen(self, here: Any) -> dict[tuple[str, str], float]:  # noqa: ANN401 - a clause
        stored = self._connection.execute(select(problems).where(here))
        return {(row.location, row.message): row.first_seen for row in stored}

    def _insert_problems(
        self, current: Sequence[SourceProblem], first_seen: dict[tuple[str, str], float]
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
            for problem in current
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


def to_source_item(row: Any) -> Prompt | Actor:  # noqa: ANN401 - SQLAlchemy rows have no types
    """The prompt or actor of a row of the ``items`` table."""
    paths = {"container": row.container, "location": row.location}
    if row.kind == "prompt":
        return Prompt(key=row.key, text=row.text, source=row.source, **paths, **row.detail)
    return Actor(name=row.key, description=row.text, **paths, **row.detail)


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
