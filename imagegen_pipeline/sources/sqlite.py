"""The users' SQLite database of prompts, opened so that nothing in it or beside it can change."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.partition_keys import database_key, is_key
from imagegen_pipeline.domain.prompt_text import prompt_text_fault, text_or_none
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.sources.change_tokens import (
    NO_TOKEN,
    change_token,
    content_token,
    joint_change_token,
)
from imagegen_pipeline.sources.source_paths import (
    absolute,
    display_path,
    error_reason,
    source_problem,
)
from imagegen_pipeline.sources.source_reader import Entry, SourceItem

USERS_QUERY = """\
SELECT p.id, p.image_id, p.image_prompt, i.original_filename, i.descriptive_name
FROM prompts p
LEFT JOIN images i ON p.image_id = i.id
WHERE p.image_prompt IS NOT NULL AND p.image_prompt != ''
ORDER BY p.id"""
_JOIN = "LEFT JOIN images i ON p.image_id = i.id\n"
_REQUIRED = ("id", "image_prompt")
_LONGEST_SHOWN_ID = 60
_HEADER_LENGTH = 100
_CHANGES_AT = slice(24, 28)
_WAL_VERSION_AT, _WAL_VERSION = 19, 2
"""Where the header says that the file is in write-ahead mode (sqlite.org/fileformat2.html)."""

Row = tuple[Any, Any, Any, Any, Any]


class StoredText(bytes):
    """A TEXT value as stored: any bytes. A BLOB arrives as plain ``bytes``."""

    def __repr__(self) -> str:
        return f"t{super().__repr__()}"  # a row's token differs for a text and a BLOB


@dataclass(frozen=True)
class PromptDatabase:
    """The prompts of the database at ``path``, in the order of their ids; see ``Source``.

    ``busy_timeout``: seconds to wait for a writer.
    """

    path: Path
    busy_timeout: float = 5.0
    kind: ItemKind = "prompt"
    retries_problems: bool = False

    @cached_property
    def _file(self) -> Path:
        return absolute(self.path)

    @cached_property
    def container(self) -> str:
        """See ``Source.container``."""
        return display_path(self._file)

    def change_token(self) -> str:
        """The token of the file, of its write-ahead log, and the header's change counter.

        What is committed is in the file or in the log. Both are written by ``write``, so that
        one of them has another time or size (sqlite.org/fileformat2.html).
        """
        path = self._file
        _file_identity(path)
        log = _log_token(path)
        try:
            with path.open("rb") as file:
                token = change_token(os.fstat(file.fileno()))
                header = file.read(_HEADER_LENGTH)
        except OSError as error:
            raise _failure(path, error_reason(error), _access_remedy(path)) from error
        return f"{joint_change_token(token, log)} {header[_CHANGES_AT].hex()}"

    def entries(self) -> Iterator[Entry | SourceProblem]:
        """A note on what the database lacks, if anything, and the rows."""
        with open_read_only(self._file, busy_timeout=self.busy_timeout) as connection:
            lacking = _lacking_columns(connection, self._file)
            if lacking:
                yield _lacking_note(self.container, lacking)
            for row in connection.execute(_users_query(lacking)):
                location = f"{self.container}#{_display_id(row[0])}"
                read = partial(_read_row, row, self.container, location)
                yield Entry(location, _row_key(row), content_token(row), read)

    def duplicate(self, location: str, first: str) -> SourceProblem:
        """See ``Source.duplicate``."""
        row_id = first.rpartition("#")[2]
        return SourceProblem(
            self.container,
            f"{location} (repeated)",  # its own, since that of the first row is a prompt's
            f"Another row has the id {row_id} too; this one is left out.",
            "Make the ids of prompts, and of images, unique.",
        )

    def sort_key(self, source_item: SourceItem) -> tuple[bool, int | str]:
        """The row's id, as SQLite sorts it: numbers before texts."""
        row_id = source_item.row_id if isinstance(source_item, Prompt) else None
        return isinstance(row_id, str), 0 if row_id is None else row_id


@contextmanager
def open_read_only(path: Path, *, busy_timeout: float) -> Iterator[sqlite3.Connection]:
    """A connection to ``path`` within one read transaction; texts arrive as ``StoredText``.

    A write-ahead database at rest is read as immutable, since SQLite would otherwise leave
    its ``-wal`` and ``-shm`` files beside it. ``busy_timeout`` is in seconds.
    Raises SourceError when it cannot be opened or read, within the block too.
    """
    before = _file_identity(path)
    write_ahead = _is_write_ahead(path)
    at_rest = write_ahead and not _has_log(path)
    if write_ahead and not at_rest and not _sibling(path, "-shm").exists():
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
        raise _sqlite_failure(path, error) from error
    if at_rest and (_has_log(path) or _file_identity(path) != before):
        raise _failure(path, "it was written to while it was read", "Run again.")


def _failure(path: Path, why: str, remedy: str) -> SourceError:
    return SourceError(
        f"Failed to retrieve prompts from database {display_path(path)}: {why}.", remedy=remedy
    )


def _access_remedy(path: Path) -> str:
    return (
        f"Verify that the database file exists at {display_path(path)} and has correct "
        "permissions, or set IMAGEGEN_PROMPT_DB to the right file."
    )


def _sqlite_failure(path: Path, error: sqlite3.Error) -> SourceError:
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


def _file_identity(path: Path) -> tuple[int, int, int]:
    """Inode, size and time: they change when the file is replaced or written to."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise _failure(path, "the file does not exist", _access_remedy(path)) from error
    except (OSError, ValueError) as error:
        raise _failure(path, error_reason(error), _access_remedy(path)) from error
    if stat.S_ISDIR(status.st_mode):
        raise _failure(path, "this is a folder", _access_remedy(path))
    if not stat.S_ISREG(status.st_mode):
        raise _failure(path, "this is a pipe or device", _access_remedy(path))
    return status.st_ino, status.st_size, status.st_mtime_ns


def _is_write_ahead(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_LENGTH)
    except OSError as error:
        raise _failure(path, error_reason(error), _access_remedy(path)) from error
    return len(header) == _HEADER_LENGTH and header[_WAL_VERSION_AT] == _WAL_VERSION


def _has_log(path: Path) -> bool:
    """Whether a write-ahead log beside the file holds what the file does not yet."""
    try:
        return _sibling(path, "-wal").stat().st_size > 0
    except OSError:
        return False


def _log_token(path: Path) -> str:
    try:
        status = _sibling(path, "-wal").stat()
    except OSError:
        return NO_TOKEN
    # Not its ctime: SQLite itself, run by root, sets the owner of a log that it only reads.
    return f"{status.st_mtime_ns:x}.{status.st_ino:x}.{status.st_size:x}"


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _lacking_columns(connection: sqlite3.Connection, path: Path) -> list[str]:
    """The names in the users' query that the database lacks and that prompts do not need.

    Raises SourceError when a prompt cannot be read without one.
    """
    columns = _columns(connection, "prompts")
    if not columns:
        remedy = "Set IMAGEGEN_PROMPT_DB to the file that has it."
        raise _failure(path, "it has no table prompts", remedy)
    for name in _REQUIRED:
        if name not in columns:
            remedy = "Add it, or set IMAGEGEN_PROMPT_DB to the file that has it."
            raise _failure(path, f"it has no column {name} in its table prompts", remedy)
    lacking = [] if "image_id" in columns else ["p.image_id"]
    try:
        image_columns = _columns(connection, "images")
    except sqlite3.OperationalError:  # a view of a table that no longer exists
        image_columns = set()
    if not image_columns:
        return [*lacking, "images"]
    names = ("id", "original_filename", "descriptive_name")
    return lacking + [f"i.{name}" for name in names if name not in image_columns]


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    rows = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))
    return {name.decode(errors="replace").lower() for (name,) in rows}


def _users_query(lacking: list[str]) -> str:
    """The users' query with NULL for each lacking column."""
    query = USERS_QUERY
    if "images" in lacking:
        query = query.replace(_JOIN, "")
        lacking = [*lacking, "i.original_filename", "i.descriptive_name"]
    for column in lacking:
        query = query.replace(column, "NULL")
    return query


def _lacking_note(container: str, lacking: list[str]) -> SourceProblem:
    """A note on a database that can be read without what it lacks."""
    names = [name.replace("p.", "prompts.").replace("i.", "images.") for name in lacking]
    listed = ", ".join(f"column {name}" if "." in name else f"table {name}" for name in names)
    return SourceProblem(
        container,
        container,
        f"The database lacks {listed}: its prompts are read without their images' names.",
        "Add what is missing if pictures should be called by those names.",
    )


def _row_key(row: Row) -> str | None:
    row_id = _stored_id(row[0])
    key = None if row_id is None else database_key(row_id)
    return key if key is not None and is_key(key) else None


def _read_row(row: Row, container: str, location: str) -> Prompt | SourceProblem:
    """The prompt of a row of the users' query, or the reason why there is none."""
    stored_id, stored_image_id, stored_text, original_filename, descriptive_name = row
    key = _row_key(row)
    try:
        if key is None:
            raise SourceError(
                f"The row's id is {_display_id(stored_id)}, which cannot name a picture.",
                remedy="Make it a whole number, or a text of letters A-Z, digits, _ and - only.",
            )
        return Prompt(
            key=key,
            text=_prompt_text(stored_text),
            source="database",
            container=container,
            location=location,
            row_id=_stored_id(stored_id),
            image_id=_stored_id(stored_image_id),
            original_filename=_stored_name(original_filename),
            descriptive_name=_stored_name(descriptive_name),
        )
    except SourceError as error:
        return source_problem(container, location, error)


def _prompt_text(stored: object) -> str:
    if not isinstance(stored, StoredText):
        kind = "a BLOB" if isinstance(stored, bytes) else "a number"
        raise SourceError(
            f"The image_prompt is {kind}, not a text.", remedy="Store the prompt as TEXT."
        )
    try:
        text = stored.decode()
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1} is 0x{stored[error.start]:02X}"
        raise SourceError(
            f"The image_prompt is not UTF-8 ({where}).", remedy="Store the prompt as UTF-8."
        ) from error
    if fault := prompt_text_fault(text, "image_prompt"):
        raise SourceError(fault[0], remedy=fault[1])
    return text


def _stored_id(stored: object) -> int | str | None:
    return stored if isinstance(stored, int) else _stored_name(stored)


def _stored_name(stored: object) -> str | None:
    if not isinstance(stored, StoredText):
        return None
    try:
        return text_or_none(stored.decode())
    except UnicodeDecodeError:
        return None


def _display_id(stored: object) -> str:
    """A row's id as text of one line, 60 characters at most."""
    text = stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
    text = "NULL" if stored is None else display_path(text)
    return text if len(text) <= _LONGEST_SHOWN_ID else f"{text[:_LONGEST_SHOWN_ID]}…"
