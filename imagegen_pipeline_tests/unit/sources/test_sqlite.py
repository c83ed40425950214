"""The users' SQLite database → prompts."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.sources.sqlite import open_read_only
from imagegen_pipeline_tests.unit.sources.readings import (
    is_unread,
    items_of,
    only_problem,
    read_database,
)

IMAGES = "CREATE TABLE images (id INTEGER PRIMARY KEY, original_filename, descriptive_name)"
PROMPTS = "CREATE TABLE prompts (id INTEGER PRIMARY KEY, image_id INTEGER, image_prompt)"
TWO = "INSERT INTO prompts (id, image_prompt) VALUES (1, 'a cat'), (2, 'a dog')"


def database(path: Path, *statements: str) -> Path:
    """A database made by these statements."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def test_rows(tmp_path: Path) -> None:
    """Rows become prompts by id, texts exactly as stored; rows without a prompt are none."""
    path = database(
        tmp_path / "p.db",
        IMAGES,
        PROMPTS,
        "INSERT INTO images VALUES (7, 'cat.jpg', 'A cat'), (8, NULL, '  ')",
        "INSERT INTO prompts VALUES (10, 99, 'no image'), (3, 8, '  a\ndog 🐕 '), (2, 7, 'a cat')",
        "INSERT INTO prompts VALUES (4, 7, NULL), (5, 7, '')",
    )
    reading = read_database(path)
    assert (reading.container, reading.problems, reading.complete) == (str(path), (), True)
    assert [prompt.key for prompt in items_of(reading)] == ["db-2", "db-3", "db-10"]
    cat, dog, stray = items_of(reading)
    assert (cat.row_id, cat.image_id, cat.source) == (2, 7, "database")
    assert (cat.original_filename, cat.descriptive_name) == ("cat.jpg", "A cat")
    assert (cat.container, cat.location) == (str(path), f"{path}#2")
    assert dog.text == "  a\ndog 🐕 "
    assert (dog.original_filename, dog.descriptive_name) == (None, None)
    assert (stray.image_id, stray.descriptive_name) == (99, None)


def test_text_ids(tmp_path: Path) -> None:
    """Ids that are texts make keys when they can be keys."""
    path = database(
        tmp_path / "p.db",
        "CREATE TABLE prompts (id TEXT, image_id TEXT, image_prompt TEXT)",
        IMAGES,
        "INSERT INTO prompts VALUES ('a_1', 'i', 'a cat')",
    )
    (prompt,) = items_of(read_database(path))
    assert (prompt.key, prompt.row_id, prompt.image_id) == ("db-a_1", "a_1", "i")


@pytest.mark.parametrize(
    ("stored", "shown_text"),
    [
        ("' '", "is blank"),
        ("char(9, 10, 13, 32)", "is blank"),
        ("char(8203, 65279)", "is blank"),
        ("x'61'", "a BLOB, not a text"),
        ("x''", "a BLOB, not a text"),
        ("7", "a number, not a text"),
        ("1.5", "a number, not a text"),
        ("CAST(x'61e962' AS TEXT)", "not UTF-8 (byte 2 is 0xE9)"),
        ("CAST(x'61eda08062' AS TEXT)", "not UTF-8"),
        ("'a' || char(0) || 'b'", "NUL"),
    ],
)
def test_bad_text(tmp_path: Path, stored: str, shown_text: str) -> None:
    """A row whose prompt is no usable text is one problem; the others are read."""
    path = database(
        tmp_path / "p.db",
        IMAGES,
        PROMPTS,
        TWO,
        "INSERT INTO prompts (id, image_prompt) VALUES (902, STORED)".replace("STORED", stored),
    )
    reading = read_database(path)
    assert [prompt.text for prompt in items_of(reading)] == ["a cat", "a dog"]
    problem = only_problem(reading)
    assert shown_text in problem.message
    assert problem.location == f"{path}#902"
    assert reading.complete


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("NULL", "NULL"),
        ("'a b'", "a b"),
        ("'a' || char(10) || 'b'", r"a\nb"),
        ("''", ""),
        ("1.5", "1.5"),
        ("1e-7", "1e-07"),
        ("9e999", "inf"),
        ("x'31'", "1"),
        ("CAST(x'e9' AS TEXT)", "\ufffd"),
        ("printf('%.*c', 5000, '.')", "." * 60 + "…"),
    ],
)
def test_bad_id(tmp_path: Path, stored: str, shown: str) -> None:
    """A row whose id cannot be a key is one problem, in one short line."""
    path = database(
        tmp_path / "p.db",
        "CREATE TABLE prompts (id, image_id, image_prompt)",
        IMAGES,
        TWO,
        "INSERT INTO prompts VALUES (STORED, 1, 'a bird')".replace("STORED", stored),
    )
    reading = read_database(path)
    assert [prompt.key for prompt in items_of(reading)] == ["db-1", "db-2"]
    problem = only_problem(reading)
    assert "cannot name a picture" in problem.message
    assert problem.location == f"{path}#{shown}"


def test_duplicate_ids(tmp_path: Path) -> None:
    """Of rows with one id, as a view may have, or a number and a text, the first is used."""
    path = database(
        tmp_path / "p.db",
        "CREATE TABLE stored (id, image_id, image_prompt)",
        "CREATE VIEW prompts AS SELECT * FROM stored",
        IMAGES,
        "INSERT INTO stored VALUES (1, 1, 'a cat'), (1, 1, 'a dog'), ('1', 1, 'a bird')",
    )
    reading = read_database(path)
    assert [prompt.text for prompt in items_of(reading)] == ["a cat"]
    assert len(reading.problems) == 2
    assert all("Another row has the id 1" in problem.message for problem in reading.problems)


@pytest.mark.parametrize(
    "name", ["a?b.db", "a#b.db", "100%.db", "a%20b & c.db", "é;.db", "a\nb.db"]
)
def test_awkward_paths(tmp_path: Path, name: str) -> None:
    """Characters that mean something in a URI are part of the path."""
    path = database(tmp_path / "made.db", IMAGES, PROMPTS, TWO).rename(tmp_path / name)
    reading = read_database(path)
    assert len(items_of(reading)) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert len(reading.container.splitlines()) == 1


def test_path_that_is_not_utf8(tmp_path: Path) -> None:
    """A path that is not UTF-8 is read, and its prompts' locations can be stored."""
    path = database(tmp_path / "made.db", IMAGES, PROMPTS, TWO)
    reading = read_database(path.rename(tmp_path / os.fsdecode(b"\xe9.db")))
    assert len(items_of(reading)) == 2
    assert items_of(reading)[0].location.encode().endswith(rb"\udce9.db#1")


def test_link_is_resolved(tmp_path: Path) -> None:
    """A link to a database is the database."""
    path = database(tmp_path / "p.db", IMAGES, PROMPTS, TWO)
    (tmp_path / "link.db").symlink_to("p.db")
    assert read_database(tmp_path / "link.db") == read_database(path)


def nothing(path: Path) -> None:
    """No file at all."""


def pipe(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "shown_text"),
    [
        (nothing, "the file does not exist"),
        (Path.mkdir, "this is a folder"),
        (pipe, "this is a pipe"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.write_bytes(b"no database" * 500), "not an SQLite database"),
        (lambda path: path.write_bytes(b"short"), "not an SQLite database"),
        (Path.touch, "no table prompts"),
        (lambda path: database(path, IMAGES), "no table prompts"),
        (
            lambda path: database(path, IMAGES, "CREATE TABLE prompts (image_prompt)"),
            "no column id",
        ),
        (
            lambda path: database(path, IMAGES, "CREATE TABLE prompts (id, prompt)"),
            "no column image_prompt",
        ),
        (
            lambda path: database(path, "CREATE VIEW prompts AS SELECT * FROM gone"),
            "gone",
        ),
    ],
)
def test_nothing_can_be_read(
    tmp_path: Path, make: Callable[[Path], object], shown_text: str
) -> None:
    """A database that cannot be read is one problem with the guide's text, and leaves no file."""
    path = tmp_path / "p.db"
    make(path)
    before = list(tmp_path.iterdir())
    reading = read_database(path)
    assert is_unread(reading)
    problem = only_problem(reading)
    assert problem.message.startswith(f"Failed to retrieve prompts from database {path}: ")
    assert shown_text in problem.message
    assert list(tmp_path.iterdir()) == before


def test_guides_remedy(tmp_path: Path) -> None:
    """A missing database brings the guide's remedy with the path that was tried."""
    path = tmp_path / "data" / "llm_video_batch.db"
    remedy = only_problem(read_database(path)).remedy
    assert remedy.startswith(
        f"Verify that the database file exists at {path} and has correct permissions"
    )


def test_locked(tmp_path: Path) -> None:
    """A database that somebody writes to is waited for, then a problem, and readable after."""
    path = database(tmp_path / "p.db", IMAGES, PROMPTS, TWO)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        start = time.monotonic()
        reading = read_database(path, busy_timeout=0.2)
        waited = time.monotonic() - start
        writer.execute("ROLLBACK")
    assert is_unread(reading)
    problem = only_problem(reading)
    assert "the database is locked" in problem.message
    assert "Close the program" in problem.remedy
    assert waited > 0.1
    assert len(items_of(read_database(path))) == 2


def test_damaged(tmp_path: Path) -> None:
    """A damaged page is a problem, first of all; what was read before it is used."""
    path = database(
        tmp_path / "p.db",
        IMAGES,
        PROMPTS,
        "INSERT INTO prompts (id, image_prompt) WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
        "SELECT i, iif(i = 2, ' ', printf('%.*c', 900, 'x')) FROM n",
    )
    content = bytearray(path.read_bytes())
    content[-20 * 4096 :] = b"\xff" * (20 * 4096)
    path.write_bytes(content)
    reading = read_database(path)
    assert not reading.complete
    assert 0 < len(items_of(reading)) < 500
    damaged, blank = reading.problems
    assert "damaged" in damaged.message
    assert blank.location == f"{path}#2"


@pytest.mark.parametrize(
    ("statements", "shown_text"),
    [
        ([PROMPTS], "table images"),
        ([PROMPTS, "CREATE VIEW images AS SELECT * FROM gone"], "table images"),
        ([IMAGES, "CREATE TABLE prompts (id, image_prompt)"], "column prompts.image_id"),
        (["CREATE TABLE prompts (id, image_prompt)"], "column prompts.image_id, table images"),
        ([PROMPTS, "CREATE TABLE images (name)"], "column images.id"),
        ([PROMPTS, "CREATE TABLE images (id, descriptive_name)"], "images.original_filename"),
        ([PROMPTS, "CREATE TABLE images (id, original_filename)"], "images.descriptive_name"),
    ],
)
def test_lacking_names(tmp_path: Path, statements: list[str], shown_text: str) -> None:
    """Without the images' names the prompts are read all the same, with one line about it."""
    path = database(tmp_path / "p.db", *statements, TWO)
    reading = read_database(path)
    assert reading.complete
    assert [prompt.text for prompt in items_of(reading)] == ["a cat", "a dog"]
    assert shown_text in only_problem(reading).message


def test_other_name_is_kept(tmp_path: Path) -> None:
    """Where one of the two names is lacking the other is still read."""
    path = database(
        tmp_path / "p.db",
        PROMPTS,
        "CREATE TABLE images (ID, Descriptive_Name)",
        "INSERT INTO images VALUES (7, 'A cat')",
        "INSERT INTO prompts VALUES (1, 7, 'a cat')",
    )
    (prompt,) = items_of(read_database(path))
    assert (prompt.descriptive_name, prompt.original_filename) == ("A cat", None)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """A name that is a number, a BLOB or not UTF-8 counts as absent."""
    path = database(
        tmp_path / "p.db",
        IMAGES,
        PROMPTS,
        "INSERT INTO images VALUES (1, 7, CAST(x'e9' AS TEXT)), (2, x'61', 'a' || char(0))",
        "INSERT INTO prompts VALUES (1, 1, 'a cat'), (2, 2, 'a dog')",
    )
    names = {(p.original_filename, p.descriptive_name) for p in items_of(read_database(path))}
    assert names == {(None, None)}


def test_write_ahead_at_rest(tmp_path: Path) -> None:
    """A write-ahead database that nobody has open is read, and no file appears beside it."""
    path = database(tmp_path / "p.db", "PRAGMA journal_mode = WAL", IMAGES, PROMPTS, TWO)
    assert len(items_of(read_database(path))) == 2
    assert list(tmp_path.iterdir()) == [path]


def test_write_ahead_in_use(tmp_path: Path) -> None:
    """A write-ahead database is read while a program writes to it, with what it committed."""
    path = tmp_path / "p.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        for statement in ("PRAGMA journal_mode = WAL", IMAGES, PROMPTS, TWO):
            writer.execute(statement)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO prompts (id, image_prompt) VALUES (3, 'a bird')")
        before = sorted(tmp_path.iterdir())
        reading = read_database(path, busy_timeout=0.2)
        assert sorted(tmp_path.iterdir()) == before
        writer.execute("ROLLBACK")
    assert [prompt.text for prompt in items_of(reading)] == ["a cat", "a dog"]


def test_write_ahead_copied_with_its_log(tmp_path: Path) -> None:
    """A copy whose log is not merged is a problem, since reading it would write beside it."""
    path, copy = tmp_path / "p.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        for statement in ("PRAGMA journal_mode = WAL", IMAGES, PROMPTS, TWO):
            writer.execute(statement)
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")
    reading = read_database(copy)
    assert is_unread(reading)
    assert "-wal file" in only_problem(reading).message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.db", "copy.db-wal", "p.db"]


def test_write_ahead_written_to_while_read(tmp_path: Path) -> None:
    """What was read of a database at rest does not count when a writer came meanwhile."""
    path = database(tmp_path / "p.db", "PRAGMA journal_mode = WAL", IMAGES, PROMPTS)
    reading = open_read_only(path, busy_timeout=0.2)
    with pytest.raises(SourceError, match="written to while it was read"), reading:
        database(path, TWO)


def test_source_is_not_changed(tmp_path: Path) -> None:
    """Reading changes neither the file's bytes nor its folder."""
    path = database(tmp_path / "p.db", IMAGES, PROMPTS, TWO)
    before = path.read_bytes(), path.stat().st_mtime_ns
    read_database(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [path]
