"""Reads the ledger with plain SQL on a read-only connection, without the package's code."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNKNOWN = ("unknown", "held")
"""States in which an image may be billed although it was not received."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of ``attempts``."""

    id: int
    item_key: str
    state: str
    prompt: str
    job_id: str | None
    path: str | None
    digest: str | None
    shared_from: int | None
    error_kind: str | None
    submitted_at: float | None
    possible_double_charge: int
    reported: int

    @property
    def is_unknown(self) -> bool:
        """Whether an image may be billed although it was not received."""
        return self.state in UNKNOWN

    def __str__(self) -> str:
        return f"attempt {self.id} of {self.item_key} ({self.state}, {self.error_kind})"


@dataclass(frozen=True, slots=True)
class Item:
    """A row of ``items``."""

    key: str
    location: str
    current_attempt: int | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Numbers of attempts planned, completed, stored and reported."""

    planned: int = 0
    completed: int = 0
    stored: int = 0
    reported: int = 0


def progress(ledger: Path) -> Progress:
    """The progress so far; zeros where there is no ledger yet."""
    query = """
        SELECT count(*), total(state IN ('completed', 'stored')), total(state = 'stored'),
        total(reported) FROM attempts
    """
    for counts in _select(ledger, query):
        return Progress(*map(int, counts))
    return Progress()


def ids_in(ledger: Path, *states: str) -> frozenset[int]:
    """The attempts in one of these states."""
    marks = ", ".join("?" * len(states))
    query = f"SELECT id FROM attempts WHERE state IN ({marks})"  # noqa: S608 - only marks
    return frozenset(attempt for (attempt,) in _select(ledger, query, *states))


def open_states(ledger: Path) -> list[str]:
    """The states of attempts that have not ended; a stored image that was not reported to Dagster
    is *unreported*.
    """
    query = """
        SELECT DISTINCT CASE state WHEN 'stored' THEN 'unreported' ELSE state END FROM attempts
        WHERE state IN ('planned', 'submitting', 'submitted', 'completed')
        OR (state = 'stored' AND NOT reported)
    """
    return [state for (state,) in _select(ledger, query)] or ["nothing"]


def read_items(ledger: Path) -> list[Item]:
    """All items."""
    return [
        Item(*row) for row in _select(ledger, "SELECT key, location, current_attempt FROM items")
    ]


def read_rows(ledger: Path) -> list[Row]:
    """All attempts, oldest first."""
    query = (
        "SELECT id, item_key, state, json_extract(request, '$.prompt'), job_id, path, digest, "
        "shared_from, error_kind, submitted_at, possible_double_charge, reported "
        "FROM attempts ORDER BY id"
    )
    return [Row(*row) for row in _select(ledger, query)]


def _select(ledger: Path, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
    if not ledger.is_file():
        return
    address = f"{ledger.as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=30)) as connection:
        try:
            found = connection.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):  # killed before its tables were made
                raise
            return
    yield from found
