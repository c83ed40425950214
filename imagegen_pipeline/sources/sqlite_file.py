"""The users' SQLite file, opened so that nothing in it or beside it can change."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.sources.change_tokens import NO_STAMP, change_token, joint_change_token
from imagegen_pipeline.sources.source_paths import reason, shown

_HEADER_LENGTH = 100
_CHANGES_AT = slice(24, 28)
_WAL_VERSION_AT, _WAL_VERSION = 19, 2
"""Where the header says that the file is in write-ahead mode (sqlite.org/fileformat2.html)."""


class StoredText(bytes):
    """A TEXT value as stored: any bytes. A BLOB arrives as plain ``bytes``."""

    def __repr__(self) -> str:
        return f"t{super().__repr__()}"  # a row's stamp tells a text from a BLOB


def database_stamp(path: Path) -> str:
    """The database's stamp: its file, the number of its changes that the file's header counts,
    and its write-ahead log; raises SourceError.

    What is committed is in the file or in the log, and both are written by ``write``, so that
    one of them has another time or size (sqlite.org/fileformat2.html).
    """
    _look_at(path)
    log = _log_stamp(path)
    try:
        with path.open("rb") as file:
            about = change_token(os.fstat(file.fileno()))
            header = file.read(_HEADER_LENGTH)
    except OSError as error:
        raise _failure(path, reason(error), _access_remedy(path)) from error
    return f"{joint_change_token(about, log)} {header[_CHANGES_AT].hex()}"


def _log_stamp(path: Path) -> str:
    try:
        about = _beside(path, "-wal").stat()
    except OSError:
        return NO_STAMP
    # Not its ctime: SQLite itself, run by root, sets the owner of a log that it only reads.
    return f"{about.st_mtime_ns:x}.{about.st_ino:x}.{about.st_size:x}"


@contextmanager
def open_read_only(path: Path, *, busy_timeout: float) -> Iterator[sqlite3.Connection]:
    """A connection to ``path`` within one read transaction; texts arrive as ``StoredText``.

    A write-ahead database at rest is read as immutable, since SQLite would otherwise leave
    its ``-wal`` and ``-shm`` files beside it. ``busy_timeout`` is in seconds.
    Raises SourceError when it cannot be opened or read, within the block too.
    """
    before = _look_at(path)
    write_ahead = _is_write_ahead(path)
    at_rest = write_ahead and not _has_log(path)
    if write_ahead and not at_rest and not _beside(path, "-shm").exists():
        raise _failure(
            path,
            "a writer left its -wal file and no -shm file beside it",
            "Open it once with the program that writes it, so that the -wal file is merged.",
        )
    address = f"{path.as_uri()}?mode=ro{'&immutable=1' if at_rest else ''}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=busy_timeout)) as connection:
            connection.isolation_level = None
            connection.text_factory = StoredText
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise _explained(path, error) from error
    if at_rest and (_has_log(path) or _look_at(path) != before):
        raise _failure(path, "it was written to while it was read", "Run again.")


def missing(path: Path, what: str, remedy: str) -> SourceError:
    """The error for a database that lacks ``what``."""
    return _failure(path, f"it has no {what}", remedy)


def _failure(path: Path, why: str, remedy: str) -> SourceError:
    return SourceError(
        f"Failed to retrieve prompts from database {shown(path)}: {why}.", remedy=remedy
    )


def _access_remedy(path: Path) -> str:
    return (
        f"Verify that the database file exists at {shown(path)} and has correct permissions, "
        "or set IMAGEGEN_PROMPT_DB to the file that is meant."
    )


def _look_at(path: Path) -> tuple[int, int, int]:
    """What changes when the file is replaced or written to."""
    try:
        about = path.stat()
    except FileNotFoundError as error:
        raise _failure(path, "the file does not exist", _access_remedy(path)) from error
    except (OSError, ValueError) as error:
        raise _failure(path, reason(error), _access_remedy(path)) from error
    if stat.S_ISDIR(about.st_mode):
        raise _failure(path, "this is a folder", _access_remedy(path))
    if not stat.S_ISREG(about.st_mode):
        raise _failure(path, "this is a pipe or device", _access_remedy(path))
    return about.st_ino, about.st_size, about.st_mtime_ns


def _is_write_ahead(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_LENGTH)
    except OSError as error:
        raise _failure(path, reason(error), _access_remedy(path)) from error
    return len(header) == _HEADER_LENGTH and header[_WAL_VERSION_AT] == _WAL_VERSION


def _has_log(path: Path) -> bool:
    """Whether a write-ahead log beside the file holds what the file does not yet."""
    try:
        return _beside(path, "-wal").stat().st_size > 0
    except OSError:
        return False


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _explained(path: Path, error: sqlite3.Error) -> SourceError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        remedy = "Close the program that is writing to it, or wait for it to end, then run again."
        return _failure(path, "the database is locked", remedy)
    if code == sqlite3.SQLITE_NOTADB:
        return _failure(path, "the file is not an SQLite database", _access_remedy(path))
    if code == sqlite3.SQLITE_CORRUPT:
        remedy = "Repair it with sqlite3's .recover command, or restore it from a backup."
        return _failure(path, f"the database is damaged ({error})", remedy)
    return _failure(path, str(error), _access_remedy(path))
