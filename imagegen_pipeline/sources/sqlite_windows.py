"""The users' SQLite database in parts: rows in the order of their ids, each with its stamp.

A window is read within a transaction of its own, so that a program that writes to the database
waits for one window, never for all of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.prompts import SourceProblem
from imagegen_pipeline.sources.change_tokens import content_token
from imagegen_pipeline.sources.row_order import NONE, bound_of, parameter, row_stamp
from imagegen_pipeline.sources.source_paths import shown
from imagegen_pipeline.sources.sqlite_file import StoredText, open_read_only
from imagegen_pipeline.sources.sqlite_rows import Row, lacking, note, users_query

MOST_BYTES = 64 * 1024 * 1024
"""Of the prompts in one window, so that long ones take no more memory than many."""
_ASKED_AT_ONCE = 500
_BUSY_SECONDS = 5.0
_ID = "p.id COLLATE BINARY"
"""So that the order is that of ``row_order`` whatever the column was declared with; SQLite uses
the column's index for it all the same.
"""


class StampedRow(NamedTuple):
    """A row of the users' query. ``has_twin``: its id spells the number that another row has."""

    bound: str
    stamp: str
    row: Row
    has_twin: bool


@dataclass
class Window:
    """Rows behind a bound. ``end`` is the bound of the last one; None when no row comes behind.

    ``error`` is what ended the reading before its time: then nothing is known of later rows.
    """

    rows: list[StampedRow] = field(default_factory=list)
    end: str | None = None
    notes: list[SourceProblem] = field(default_factory=list)
    error: SourceError | None = None


def read_window(path: Path, after: str | None, until: str | None, limit: int) -> Window:
    """The next rows behind ``after``, ``limit`` at most and fewer if their prompts are very long,
    none behind ``until``; raises nothing. Rows with one id are never parted.
    """
    window = Window()
    conditions, values = _within(after, until)
    rest = f"{conditions} ORDER BY {_ID} LIMIT ?"
    try:
        with open_read_only(path, busy_timeout=_BUSY_SECONDS) as connection:
            lacks = lacking(connection, path)
            rows = connection.execute(users_query(lacks, rest), (*values, limit + 1))
            is_full = _take(window, _stamped(rows, _Twins(connection)), limit)
    except SourceError as error:
        window.error = error
        return window
    if lacks:
        window.notes.append(note(shown(path), lacks))
    if is_full:
        _leave_whole(window)
    return window


def read_rows(path: Path, ids: Sequence[int | str]) -> list[StampedRow]:
    """The rows of these ids that the database has; raises SourceError."""
    found: list[StampedRow] = []
    with open_read_only(path, busy_timeout=_BUSY_SECONDS) as connection:
        lacks = lacking(connection, path)
        for start in range(0, len(ids), _ASKED_AT_ONCE):
            part = ids[start : start + _ASKED_AT_ONCE]
            among = f"AND {_ID} IN ({', '.join('?' * len(part))}) ORDER BY {_ID}"
            rows = connection.execute(users_query(lacks, among), tuple(part))
            found.extend(_stamped(rows, _Twins(connection)))
    return found


def _take(window: Window, rows: Iterable[StampedRow], limit: int) -> bool:
    """Take rows until there are more than fit into the window; returns whether there were."""
    size = 0
    for taken in rows:
        window.rows.append(taken)
        text = taken.row[2]
        size += len(text) if isinstance(text, bytes) else 0
        count = len(window.rows)
        if count > limit or (count > 1 and size > MOST_BYTES):
            return True
    return False


def _within(after: str | None, until: str | None) -> tuple[str, list[object]]:
    conditions = ""
    values: list[object] = []
    for bound, sign, of_none in ((after, ">", "IS NOT NULL"), (until, "<=", "IS NULL")):
        if bound == NONE:
            conditions += f"AND p.id {of_none} "
        elif bound is not None:
            placeholder, value = parameter(bound)
            conditions += f"AND {_ID} {sign} {placeholder} "
            values.append(value)
    return conditions, values


def _leave_whole(window: Window) -> None:
    """Leave the last row, and all with its id, to the next window, unless there is no other id."""
    last = window.rows[-1].bound
    first_of_last = next(at for at, row in enumerate(window.rows) if row.bound == last)
    if first_of_last:
        del window.rows[first_of_last:]
    window.end = window.rows[-1].bound


def _stamped(rows: Iterable[Row], twins: _Twins) -> Iterator[StampedRow]:
    for row in rows:
        bound = bound_of(row[0])
        has_twin = bound[0] == "t" and twins.has(row[0])
        yield StampedRow(bound, row_stamp(bound, content_token(row)), row, has_twin)


class _Twins:
    """Finds the number that a text id repeats, where a table has both: they would be one key."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._are_possible: bool | None = None

    def has(self, stored: StoredText) -> bool:
        """Whether the table has a prompt whose id is the number that this text spells."""
        if not stored.removeprefix(b"-").isdigit() or len(stored) > 20:
            return False
        number = int(stored)
        return str(number).encode() == stored and -(2**63) <= number < 2**63 and self._has(number)

    def _has(self, number: int) -> bool:
        if self._are_possible is None:
            least = "SELECT typeof(id) FROM prompts WHERE id IS NOT NULL ORDER BY id LIMIT 1"
            self._are_possible = self._connection.execute(least).fetchone() != (b"text",)
        query = (
            "SELECT 1 FROM prompts WHERE id = ? AND typeof(id) = 'integer' "
            "AND image_prompt IS NOT NULL AND image_prompt != '' LIMIT 1"
        )
        return bool(self._are_possible) and bool(
            self._connection.execute(query, (number,)).fetchone()
        )
