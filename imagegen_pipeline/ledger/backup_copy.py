"""Whole copies of a SQLite ledger, taken while others write to it, and what they hold."""

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
class KeptPicture:
    """A stored picture of a ledger: where it lies, in which archive, and whether it is its item's
    current one or approved. Paths are as the ledger writes them.
    """

    attempt: int
    key: str
    path: str
    digest: str
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
            f"The ledger at {shown} is no SQLite file, so it cannot be copied by this program.",
            remedy="Use its own tools: `pg_dump` for PostgreSQL, first, then copy the pictures.",
        )
    return Path(parsed.database)


def copy_ledger(file: Path, target: Path) -> None:
    """Copy the ledger as it is at one moment to ``target``, a new file; writers go on meanwhile.

    Raises LedgerError.
    """
    with _failing(file), _opened(file) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        # One file: a copy in write-ahead mode would want a second and a third beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
    check_ledger(target)


def check_ledger(file: Path) -> None:
    """Raise LedgerError unless ``file`` is a whole ledger."""
    with _failing(file), _opened(file) as connection:
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise LedgerError(f"{file} is damaged: {said}.", remedy="Take another copy of it.")
        connection.execute("SELECT count(*) FROM attempts").fetchone()


def count_attempts(file: Path) -> int:
    """How many attempts the ledger ``file`` has; raises LedgerError when it is no ledger."""
    with _failing(file), _opened(file) as connection:
        (number,) = connection.execute("SELECT count(*) FROM attempts").fetchone()
    return int(number)


def pictures_of(file: Path) -> Iterator[KeptPicture]:
    """The stored pictures of a ledger's copy, oldest first; raises LedgerError."""
    with _failing(file), _opened(file) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(attempts)")}
        archive = "a.archive" if "archive" in columns else "NULL"
        verdict = "a.verdict" if "verdict" in columns else "NULL"
        rows = connection.execute(
            f"SELECT a.id, a.item_key, a.path, a.digest, {archive}, "  # noqa: S608 - our own words
            f"i.current_attempt = a.id, {verdict} = 'approved' "
            "FROM attempts a JOIN items i ON i.key = a.item_key "
            "WHERE a.state = 'stored' AND a.path IS NOT NULL ORDER BY a.id"
        )
        for row in rows:
            yield KeptPicture(
                attempt=row[0],
                key=row[1],
                path=row[2],
                digest=row[3] or "",
                archive=row[4],
                is_current=bool(row[5]),
                is_approved=bool(row[6]),
            )


def forget_reports(file: Path) -> None:
    """Say in a ledger's copy that Dagster has heard of no current picture; raises LedgerError."""
    with _failing(file), closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "UPDATE attempts SET reported = 0 WHERE id IN (SELECT current_attempt FROM items)"
        )


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    address = f"{file.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as connection:
        yield connection


@contextmanager
def _failing(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(
            f"The ledger {file} cannot be read: {error}.",
            remedy="Check that it is there, whole, and readable.",
        ) from error
