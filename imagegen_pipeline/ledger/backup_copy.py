"""Copies of a SQLite ledger, taken while others write to it, and queries on such a copy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from imagegen_pipeline.domain.errors import LedgerError, SetupError

_BUSY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A stored image of a ledger. Paths are as the ledger writes them."""

    attempt: int
    key: str
    path: str
    archive: str | None
    is_current: bool
    is_approved: bool


def ledger_file(url: str) -> Path:
    """The file of a SQLite ledger; raises SetupError for any other database."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SetupError("IMAGEGEN_LEDGER_URL is not a SQLAlchemy URL.") from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        shown = parsed.render_as_string(hide_password=True)
        raise SetupError(
            f"The ledger at {shown} is not a SQLite file, so this program cannot copy it.",
            remedy="Use its own tools: `pg_dump` for PostgreSQL, first, then copy the images.",
        )
    return Path(parsed.database)


def copy_ledger(file: Path, target: Path) -> None:
    """Copy a consistent state of the ledger to ``target``, a new file; writers are not blocked.

    Raises LedgerError.
    """
    with _open(file) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # WAL would need two more files beside it
    check_ledger(target)


def check_ledger(file: Path) -> int:
    """The number of attempts in a ledger; raises LedgerError for a damaged or different file."""
    with _open(file) as connection:
        (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if result != "ok":
            raise LedgerError(f"{file} is damaged: {result}.", remedy="Use another copy of it.")
        (number,) = connection.execute("SELECT count(*) FROM attempts").fetchone()
    return int(number)


def stored_rows(file: Path) -> Iterator[StoredRow]:
    """The stored images of a ledger copy, oldest first; raises LedgerError."""
    with _open(file) as connection:
        rows = connection.execute(
            "SELECT a.id, a.item_key, a.path, a.archive, "
            "COALESCE(i.current_attempt = a.id, 0), COALESCE(a.verdict = 'approved', 0) "
            "FROM attempts a JOIN items i ON i.key = a.item_key "
            "WHERE a.state = 'stored' AND a.path IS NOT NULL ORDER BY a.id"
        )
        for row in rows:
            yield StoredRow(row[0], row[1], row[2], row[3], bool(row[4]), bool(row[5]))


def clear_reported(file: Path) -> None:
    """Mark every current image of a ledger copy as not reported to Dagster; raises LedgerError."""
    with _open(file, mode="rw") as connection, connection:
        connection.execute(
            "UPDATE attempts SET reported = 0 WHERE id IN (SELECT current_attempt FROM items)"
        )


@contextmanager
def _open(file: Path, mode: str = "ro") -> Iterator[sqlite3.Connection]:
    address = f"{file.absolute().as_uri()}?mode={mode}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise LedgerError(
            f"The ledger {file} cannot be read: {error}.",
            remedy="Check that the file exists, is whole and is readable.",
        ) from error
