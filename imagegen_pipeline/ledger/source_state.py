"""The state of each source at its last scan, so that unchanged sources are not read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, select, update

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.schema import items, problems, source_states

STALE = ""
"""The change token of a source that the next scan must read."""


@dataclass(frozen=True, slots=True)
class SourceState:
    """The change token of a source that was read to its end, otherwise ``STALE``.

    ``trusted_since``, in seconds since the epoch: when all its entries were last read.
    """

    change_token: str
    trusted_since: float


@dataclass(frozen=True, slots=True)
class StoredSource:
    """A source as the last scan recorded it. ``items``: those that it still had, by key."""

    state: SourceState | None = None
    problems: tuple[SourceProblem, ...] = ()
    items: Mapping[str, Prompt | Actor] = field(default_factory=dict)
    tokens: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    """Location → key and change token of ``items``."""


class SourceStateRepository:
    """The ``source_states`` table, and the change tokens of items."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, container: str) -> StoredSource:
        """The state and the problems of a source, without its items."""
        with self._database.read() as connection:
            return StoredSource(
                read_source_state(connection, container), read_problems(connection, container)
            )

    def known_tokens(self, kind: ItemKind, container: str) -> dict[str, tuple[str, str | None]]:
        """Location → key and change token of the items that a source had at its last scan."""
        query = select(items.c.location, items.c.key, items.c.change_token).where(
            items.c.kind == kind, items.c.container == container, items.c.gone.is_(False)
        )
        with self._database.read() as connection:
            return {row[0]: (row[1], row[2]) for row in connection.execute(query)}


def read_source_state(connection: Connection, container: str) -> SourceState | None:
    """The state of a source; None before its first scan."""
    query = select(source_states).where(source_states.c.container == container)
    row = connection.execute(query).one_or_none()
    return None if row is None else SourceState(row.change_token, row.trusted_since)


def read_problems(connection: Connection, container: str) -> tuple[SourceProblem, ...]:
    """The problems of a source, by location."""
    query = select(problems).where(problems.c.container == container)
    return tuple(
        SourceProblem(row.container, row.location, row.message, row.remedy)
        for row in connection.execute(query.order_by(problems.c.location))
    )


def write_source_state(
    connection: Connection, container: str, state: SourceState, *, instead_of: SourceState | None
) -> None:
    """Store the state of a source that was scanned.

    It becomes stale when the stored state is not ``instead_of``, the state at the beginning of
    the scan: another process scanned the source meanwhile and may have read older entries.
    """
    stored = read_source_state(connection, container)
    token = state.change_token if stored == instead_of else STALE
    row = {"change_token": token, "trusted_since": state.trusted_since}
    if stored is None:
        connection.execute(insert(source_states).values(container=container, **row))
    else:
        here = source_states.c.container == container
        connection.execute(update(source_states).where(here).values(**row))


def mark_stale(connection: Connection, containers: Iterable[str]) -> None:
    """Have sources read by their next scan: another source has taken an item of theirs."""
    for container in containers:
        here = source_states.c.container == container
        connection.execute(update(source_states).where(here).values(change_token=STALE))
