"""The users' query, and a row of it → a prompt, or why it is none."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.partition_keys import database_key, is_key
from imagegen_pipeline.domain.prompt_text import prompt_text_fault, text_or_none
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.sources.source_paths import problem, shown
from imagegen_pipeline.sources.sqlite_file import StoredText, missing

USERS_QUERY = """\
SELECT p.id, p.image_id, p.image_prompt, i.original_filename, i.descriptive_name
FROM prompts p
LEFT JOIN images i ON p.image_id = i.id
WHERE p.image_prompt IS NOT NULL AND p.image_prompt != ''
"""
IN_ORDER = "ORDER BY p.id"
_JOIN = "LEFT JOIN images i ON p.image_id = i.id\n"
_REQUIRED = ("id", "image_prompt")
_LONGEST_SHOWN_ID = 60

Row = tuple[Any, Any, Any, Any, Any]


def lacking(connection: sqlite3.Connection, path: Path) -> list[str]:
    """What the users' query names and the database has not, of what it can do without.

    Raises SourceError when a prompt cannot be read without it.
    """
    columns = _columns(connection, "prompts")
    if not columns:
        raise missing(path, "table prompts", "Set IMAGEGEN_PROMPT_DB to the file that has it.")
    for name in _REQUIRED:
        if name not in columns:
            raise missing(
                path,
                f"column {name} in its table prompts",
                "Add it, or set IMAGEGEN_PROMPT_DB to the file that has it.",
            )
    lacks = [] if "image_id" in columns else ["p.image_id"]
    try:
        image_columns = _columns(connection, "images")
    except sqlite3.OperationalError:  # a view of what is no longer there
        image_columns = set()
    if not image_columns:
        return [*lacks, "images"]
    names = ("id", "original_filename", "descriptive_name")
    return lacks + [f"i.{name}" for name in names if name not in image_columns]


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    rows = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))
    return {name.decode(errors="replace").lower() for (name,) in rows}


def users_query(lacks: list[str], rest: str = IN_ORDER) -> str:
    """The users' query with NULL for each column that is lacking, and what comes behind it."""
    if "images" in lacks:
        query = USERS_QUERY.replace(_JOIN, "")
        lacks = [*lacks, "i.original_filename", "i.descriptive_name"]
    else:
        query = USERS_QUERY
    for column in lacks:
        query = query.replace(column, "NULL")
    return query + rest


def note(container: str, lacks: list[str]) -> SourceProblem:
    """What is said of a database that can be read without what it lacks."""
    names = [name.replace("p.", "prompts.").replace("i.", "images.") for name in lacks]
    said = ", ".join(f"column {name}" if "." in name else f"table {name}" for name in names)
    return SourceProblem(
        container,
        container,
        f"The database lacks {said}: its prompts are read without their images' names.",
        "Add what is missing if pictures should be called by those names.",
    )


def location_of(row: Row, container: str) -> str:
    """The place of a row, as its prompt or problem names it."""
    return f"{container}#{shown_id(row[0])}"


def prompt_of(row: Row, container: str) -> Prompt | SourceProblem:
    """The prompt of a row of the users' query, or why there is none."""
    location = location_of(row, container)
    try:
        return _prompt(row, container, location)
    except SourceError as error:
        return problem(container, location, error)


def repeated(row: Row, container: str) -> SourceProblem:
    """What is said of a row whose id another row has."""
    return SourceProblem(
        container,
        location_of(row, container),
        f"Another row has the id {shown_id(row[0])} too; this one is left out.",
        "Make the ids of prompts, and of images, unique.",
    )


def _prompt(row: Row, container: str, location: str) -> Prompt:
    stored_id, stored_image_id, stored_text, original_filename, descriptive_name = row
    row_id = _id(stored_id)
    if row_id is None or not is_key(database_key(row_id)):
        raise SourceError(
            f"The row's id is {shown_id(stored_id)}, which cannot name a picture.",
            remedy="Make it a whole number, or a text of letters A-Z, digits, _ and - only.",
        )
    text = _text(stored_text)
    if fault := prompt_text_fault(text, "image_prompt"):
        raise SourceError(fault[0], remedy=fault[1])
    return Prompt(
        key=database_key(row_id),
        text=text,
        source="database",
        container=container,
        location=location,
        row_id=row_id,
        image_id=_id(stored_image_id),
        original_filename=_name(original_filename),
        descriptive_name=_name(descriptive_name),
    )


def _text(stored: object) -> str:
    if not isinstance(stored, StoredText):
        kind = "a BLOB" if isinstance(stored, bytes) else "a number"
        raise SourceError(
            f"The image_prompt is {kind}, not a text.", remedy="Store the prompt as TEXT."
        )
    try:
        return stored.decode()
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1} is 0x{stored[error.start]:02X}"
        raise SourceError(
            f"The image_prompt is not UTF-8 ({where}).", remedy="Store the prompt as UTF-8."
        ) from error


def _id(stored: object) -> int | str | None:
    return stored if isinstance(stored, int) else _name(stored)


def _name(stored: object) -> str | None:
    if not isinstance(stored, StoredText):
        return None
    try:
        return text_or_none(stored.decode())
    except UnicodeDecodeError:
        return None


def shown_id(stored: object) -> str:
    """A row's id as text of one line, 60 characters at most."""
    text = stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
    text = "NULL" if stored is None else shown(text)
    return text if len(text) <= _LONGEST_SHOWN_ID else f"{text[:_LONGEST_SHOWN_ID]}…"
