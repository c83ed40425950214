"""The ledger as a stranger reads it: plain SQL on a connection that cannot write."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNKNOWN = ("unknown", "held")
"""States that say that a picture may have been billed without being had."""


@dataclass(frozen=True, slots=True)
class Row:
    """An attempt, as the ledger has it."""

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
    possible_double_charge: bool
    reported: bool

    @property
    def is_unknown(self) -> bool:
        """Whether the row says that a picture may have been billed without being had."""
        return self.state in UNKNOWN

    def __str__(self) -> str:
        return f"attempt {self.id} of {self.item_key} ({self.state}, {self.error_kind})"


@dataclass(frozen=True, slots=True)
class Item:
    """An item, as the ledger has it."""

    key: str
    location: str
    current_attempt: int | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work has come: attempts planned, made by the service, stored and reported."""

    planned: int = 0
    completed: int = 0
    stored: int = 0
    reported: int = 0


def progress(ledger: Path) -> Progress:
    """How far the work has come; nothing where there is no ledger yet."""
    query = """
        SELECT count(*), total(state IN ('completed', 'stored')), total(state = 'stored'),
        total(reported) FROM attempts
    """
    for counts in _select(ledger, query):
        return Progress(*map(int, counts))
    return Progress()


def ids_in(ledger: Path, *states: str) -> frozenset[int]:
    """The attempts that are in one of these states now."""
    marks = ", ".join("?" * len(states))
    query = f"SELECT id FROM attempts WHERE state IN ({marks})"  # noqa: S608 - only marks
    return frozenset(attempt for (attempt,) in _select(ledger, query, *states))


def open_states(ledger: Path) -> list[str]:
    """Which states a kill has just left attempts in, those that have not ended yet; a stored
    picture that Dagster has not heard of is *unreported*.
    """
    query = """
        SELECT DISTINCT CASE state WHEN 'stored' THEN 'unreported' ELSE state END FROM attempts
        WHERE state IN ('planned', 'submitting', 'submitted', 'completed')
        OR (state = 'stored' AND NOT reported)
    """
    return [state for (state,) in _select(ledger, query)] or ["nothing"]


def read_items(ledger: Path) -> list[Item]:
    """Every item."""
    return [
        Item(*row) for row in _select(ledger, "SELECT key, location, current_attempt FROM items")
    ]


def read_rows(ledger: Path) -> list[Row]:
    """Every attempt, oldest first."""
    query = (
        "SELECT id, item_key, state, request, job_id, path, digest, shared_from, error_kind, "
        "submitted_at, possible_double_charge, reported FROM attempts ORDER BY id"
    )
    return [
        Row(*head, json.loads(request)["prompt"], *tail, bool(doubled), bool(reported))
        for *head, request, job, path, digest, shared, kind, sent, doubled, reported in _select(
            ledger, query
        )
        for tail in [(job, path, digest, shared, kind, sent)]
    ]


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
