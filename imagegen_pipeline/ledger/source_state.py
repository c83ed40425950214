"""How each source was when it was last read, so that what has not changed is not read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from imagegen_pipeline.domain.prompts import SourceProblem
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.schema import items, problems, source_reads

_CHUNK = 500
DOUBTED = ""
"""The stamp of a source that is to be looked through at the next look."""


@dataclass(frozen=True, slots=True)
class SourceState:
    """The stamp that a source had when it was last read to its end (``DOUBTED`` when it was not),
    where reading goes on in one that is read in parts, and since when stamps are believed:
    ``read_at``, in seconds since the epoch.
    """

    stamp: str
    read_at: float
    cursor: Mapping[str, Any] | None = None


class SourceStateRepository:
    """The ``source_reads`` table, and the stamps of items."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, container: str) -> SourceState | None:
        """How a source was when it was last read; None when it never was."""
        with self._database.read() as connection:
            return _get(connection, container)

    def put(self, container: str, read: SourceState, *, instead_of: SourceState | None) -> None:
        """See ``write_source_state``."""
        with self._database.write() as connection:
            write_source_state(connection, container, read, instead_of=instead_of)

    def forget(self, kind: str, container: str) -> None:
        """Believe no stamp of a source any more: everything in it is read again."""
        here = (items.c.kind == kind) & (items.c.container == container)
        with self._database.write() as connection:
            connection.execute(
                update(items).where(here, items.c.stamp.is_not(None)).values(stamp=None)
            )
            connection.execute(delete(source_reads).where(source_reads.c.container == container))

    def files(self, kind: str, container: str) -> dict[str, tuple[str, str | None]]:
        """What a folder had when it was last read: location → key and stamp."""
        query = select(items.c.location, items.c.key, items.c.stamp).where(
            items.c.kind == kind, items.c.container == container, items.c.gone.is_(False)
        )
        with self._database.read() as connection:
            return {row[0]: (row[1], row[2]) for row in connection.execute(query)}

    def stamps(
        self, kind: str, container: str, *, from_: str, below: str | None, limit: int
    ) -> list[str]:
        """The stamps of a source within a range, in their order."""
        query = _stamped(select(items.c.stamp), kind, container).where(items.c.stamp >= from_)
        if below is not None:
            query = query.where(items.c.stamp < below)
        with self._database.read() as connection:
            return [
                stamp
                for (stamp,) in connection.execute(query.order_by(items.c.stamp).limit(limit))
                if stamp is not None
            ]

    def keys_of(self, kind: str, container: str, stamps: Sequence[str]) -> dict[str, str]:
        """Stamp → key of the items that have these stamps."""
        found: dict[str, str] = {}
        query = _stamped(select(items.c.stamp, items.c.key), kind, container)
        with self._database.read() as connection:
            for start in range(0, len(stamps), _CHUNK):
                here = query.where(items.c.stamp.in_(stamps[start : start + _CHUNK]))
                found |= {row.stamp: row.key for row in connection.execute(here)}
        return found

    def unstamped(self, kind: str, container: str, limit: int) -> list[str]:
        """The keys of present items of a source that have no stamp."""
        query = select(items.c.key).where(
            items.c.kind == kind,
            items.c.container == container,
            items.c.stamp.is_(None),
            items.c.gone.is_(False),
        )
        with self._database.read() as connection:
            return list(connection.scalars(query.limit(limit)))

    def problems(self, container: str) -> dict[str, SourceProblem]:
        """What in a source could not be read, by location."""
        query = select(problems).where(problems.c.container == container)
        with self._database.read() as connection:
            return {
                row.location: SourceProblem(row.container, row.location, row.message, row.remedy)
                for row in connection.execute(query.order_by(problems.c.location))
            }


def write_source_state(
    connection: Connection, container: str, read: SourceState, *, instead_of: SourceState | None
) -> None:
    """Write down how a source was when it was read.

    It is in doubt when something else stands there than ``instead_of``, which was there when the
    reading began: another process was at it meanwhile, and may have seen it as it was before.
    """
    before = _get(connection, container)
    stamp = read.stamp if before == instead_of else DOUBTED
    cursor = None if read.cursor is None else dict(read.cursor)
    row = {"stamp": stamp, "cursor": cursor, "read_at": read.read_at}
    if before is None:
        connection.execute(insert(source_reads).values(container=container, **row))
    else:
        here = source_reads.c.container == container
        connection.execute(update(source_reads).where(here).values(**row))


def mark_stale(connection: Connection, containers: Iterable[str]) -> None:
    """Have sources looked through again: another one has taken an item of theirs."""
    for container in containers:
        here = source_reads.c.container == container
        connection.execute(update(source_reads).where(here).values(stamp=DOUBTED))


def _get(connection: Connection, container: str) -> SourceState | None:
    query = select(source_reads).where(source_reads.c.container == container)
    row = connection.execute(query).one_or_none()
    return None if row is None else SourceState(row.stamp, row.read_at, row.cursor)


def _stamped(query: Any, kind: str, container: str) -> Any:  # noqa: ANN401 - a select
    return query.where(items.c.kind == kind, items.c.container == container)
