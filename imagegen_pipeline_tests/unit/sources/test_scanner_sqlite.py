"""A scan reads a changed database whole, misses no change, and records nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import text

from imagegen_pipeline_tests.unit.sources.conftest import HOUR, ScratchSources, counts

ANY = "id, image_id, image_prompt"


@pytest.fixture
def thirty(project: ScratchSources) -> ScratchSources:
    """A database of thirty prompts that was scanned and has a stable change token."""
    project.fill(30)
    project.settle()
    assert len(project.scan().change.new) == 30
    return project


def edit(*ids: int) -> str:
    """A statement that gives these rows another text."""
    among = ", ".join(map(str, ids))
    return f"UPDATE prompts SET image_prompt = 'edited ' || id WHERE id IN ({among})"  # noqa: S608


def test_an_unchanged_database_is_not_read(thirty: ScratchSources) -> None:
    """The second scan of an unchanged database does not open it."""
    assert thirty.opened() == []


def test_one_scan_records_all_changes(thirty: ScratchSources) -> None:
    """New, edited and deleted rows anywhere."""
    thirty.execute(
        edit(3, 17),
        "DELETE FROM prompts WHERE id IN (1, 11, 30)",
        "INSERT INTO prompts (id, image_prompt) VALUES (0, 'new'), (31, 'new')",
    )
    result = thirty.scan()
    assert counts(result) == (
        2,
        2,
        3,
    )
    assert thirty.gone("db-1", "db-11", "db-30", "db-2") == {"db-1", "db-11", "db-30"}
    assert thirty.texts()["db-17"] == "edited 17"
    assert thirty.ledger.items.last_sequence() == 30 + 2 + 2 + 3, "nothing else is a change"


def test_the_same_texts_again_are_no_change(thirty: ScratchSources) -> None:
    """A commit that changes no prompt has the database read, and no row recorded."""
    before = thirty.ledger.items.get(["db-7"])
    thirty.execute("CREATE TABLE another (a)", "UPDATE prompts SET image_prompt = image_prompt")
    assert thirty.opened() == ["read"]
    assert thirty.ledger.items.get(["db-7"]) == before
    assert thirty.ledger.items.last_sequence() == 30


def test_a_database_that_was_written_just_now_is_read_again(thirty: ScratchSources) -> None:
    """Another commit within the same tick of the clock would leave the token unchanged."""
    thirty.clock.ahead = 0
    thirty.execute(edit(3))
    assert [thirty.opened(), thirty.opened()] == [["read"], ["read"]]
    thirty.settle()
    assert [thirty.opened(), thirty.opened()] == [["read"], []]


def test_no_token_is_trusted_for_longer_than_a_day(thirty: ScratchSources) -> None:
    """Once a day an unchanged database is read too."""
    thirty.clock.ahead += 23 * HOUR
    assert thirty.opened() == []
    thirty.clock.ahead += 2 * HOUR
    assert thirty.opened() == ["read"]


def test_a_row_that_comes_back_is_there_again(thirty: ScratchSources) -> None:
    """With the same text, so that its token is the one that it had before."""
    thirty.execute("DELETE FROM prompts WHERE id = 14")
    thirty.scan()
    thirty.execute("INSERT INTO prompts (id, image_prompt) VALUES (14, 'prompt 14')")
    result = thirty.scan()
    assert (len(result.change.new), len(result.change.changed)) == (0, 0)
    assert thirty.gone("db-14") == set()


@pytest.mark.parametrize("kept", ["id < 4", "id > 27", "id = 15", "0"])
def test_a_database_that_shrinks(thirty: ScratchSources, kept: str) -> None:
    """Most rows, or all of them, are deleted at once."""
    thirty.execute(f"DELETE FROM prompts WHERE NOT ({kept})")  # noqa: S608
    left = len(thirty.scanner.scan_prompts(json_files=False, record=False).prompts)
    assert len(thirty.scan().change.gone) == 30 - left
    assert len(thirty.texts()) == left
    assert len(thirty.gone(*(f"db-{number}" for number in range(1, 31)))) == 30 - left


MIXED = (
    *("NULL", "NULL", "-7", "0", "1", "2", "3", "10", "2.5", "9e999", "9223372036854775807"),
    *("'1'", "'a'", "'ab'", "'B'", "'a-1'", "'a b'", "'zz'", "'é'", "x'ff'", "'10'", "'-7'"),
)


def test_ids_of_every_type_are_read_once(project: ScratchSources) -> None:
    """A recorded scan has the prompts and problems of one that is not recorded, in their order."""
    rows = ", ".join(f"({one}, 'row {at}')" for at, one in enumerate(MIXED))
    project.fill(0, ANY)
    project.execute(f"INSERT INTO prompts (id, image_prompt) VALUES {rows}")  # noqa: S608
    whole = project.scanner.scan_prompts(json_files=False, record=False)
    project.settle()
    for _ in range(2):
        assert project.scanner.scan_prompts(json_files=False).prompts == whole.prompts
    assert project.texts() == {prompt.key: prompt.text for prompt in whole.prompts}
    stored = {p for p in project.ledger.items.problems() if p.container == str(project.database)}
    assert stored == set(whole.problems)


def test_texts_as_ids_in_a_column_of_another_order(project: ScratchSources) -> None:
    """A column that sorts letters of both cases alike is read in one order all the same."""
    project.fill(0, "id TEXT COLLATE NOCASE PRIMARY KEY, image_id, image_prompt")
    names = ["a", "B", "c", "D", "e", "F", "g", "H", "i", "J", "k", "L"]
    rows = ", ".join(f"('{name}', 'picture {name}')" for name in names)
    project.execute(f"INSERT INTO prompts (id, image_prompt) VALUES {rows}")  # noqa: S608
    project.settle()
    project.scan()
    project.execute("DELETE FROM prompts WHERE id IN ('B', 'k')", edit(0))
    project.execute("UPDATE prompts SET image_prompt = 'edited' WHERE id = 'g'")
    result = project.scan()
    assert counts(result) == (
        0,
        1,
        2,
    )
    assert set(project.texts()) == {f"db-{name}" for name in names} - {"db-B", "db-k"}


def test_of_rows_with_one_id_the_first_is_used(project: ScratchSources) -> None:
    """By every scan; the others are one problem, which leaves the first row readable."""
    project.fill(4, ANY)
    more = ", ".join(f"(4, 'again {number}')" for number in range(4))
    project.execute(f"INSERT INTO prompts (id, image_prompt) VALUES {more}, (5, 'five')")  # noqa: S608
    for _ in range(3):
        project.settle()
        project.scan()
        assert project.texts()["db-4"] == "prompt 4"
        assert project.problems() == ["llm_video_batch.db#4 (repeated)"]
        assert set(project.scanner.scan_keys(["db-4"]).present) == {"db-4"}
        project.execute("CREATE TABLE IF NOT EXISTS other (a)", "INSERT INTO other VALUES (1)")


def test_a_write_ahead_database_that_a_program_has_open(project: ScratchSources) -> None:
    """Its commits are recorded although the file itself is unchanged."""
    project.fill(12)
    with closing(sqlite3.connect(project.database)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute(edit(1))
        writer.commit()
        project.settle()
        project.scan()
        assert project.opened() == []
        file = project.database.stat()
        writer.execute(edit(8))
        writer.commit()
        after = project.database.stat()
        assert (file.st_mtime_ns, file.st_size) == (after.st_mtime_ns, after.st_size)
        assert len(project.scan().change.changed) == 1
    assert project.texts()["db-8"] == "edited 8"


def test_a_row_that_breaks_is_a_problem_and_not_gone(thirty: ScratchSources) -> None:
    """The problem stays while the row is broken, and goes when it is repaired or deleted."""
    thirty.execute("UPDATE prompts SET image_prompt = x'00' WHERE id IN (8, 9)")
    result = thirty.scan()
    assert (len(result.change.changed), len(result.change.gone)) == (0, 0)
    broken = ["llm_video_batch.db#8", "llm_video_batch.db#9"]
    assert thirty.problems() == broken
    assert thirty.opened() == []
    assert thirty.problems() == broken
    thirty.execute(edit(8), "DELETE FROM prompts WHERE id = 9")
    result = thirty.scan()
    assert (len(result.change.changed), len(result.change.gone)) == (1, 1)
    assert thirty.problems() == []


def test_nothing_is_gone_from_a_database_that_cannot_be_read(thirty: ScratchSources) -> None:
    """Missing or damaged: a problem while it lasts, and no change when it is back."""
    content = thirty.database.read_bytes()
    thirty.database.rename(thirty.root / "away.db")
    assert [problem.location for problem in thirty.scan().unreadable][-1] == str(thirty.database)
    (thirty.root / "away.db").rename(thirty.database)
    assert thirty.scan().unreadable[1:] == ()
    assert thirty.problems() == []
    thirty.database.write_bytes(b"no database" * 500)
    assert len(thirty.scan().change.gone) == 0
    assert thirty.problems() == ["llm_video_batch.db"]
    thirty.database.write_bytes(content)
    result = thirty.scan()
    assert counts(result) == (
        0,
        0,
        0,
    )
    assert thirty.problems() == []


def test_the_problem_of_a_missing_disk_ends_when_it_is_back(
    project: ScratchSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has the change token that it had before."""
    disk = project.root / "data" / "disk"
    disk.mkdir()
    project.fill(12)
    project.database.rename(disk / "p.db")
    monkeypatch.setenv("IMAGEGEN_PROMPT_DB", str(disk / "p.db"))
    project.settle()
    project.scan()
    disk.rename(project.root / "away")
    project.scan()
    assert [problem.location for problem in project.scan().problems][-1] == str(disk / "p.db")
    (project.root / "away").rename(disk)
    assert str(disk / "p.db") not in [problem.location for problem in project.scan().problems]


def test_rows_before_a_damaged_page_are_read_by_every_scan(project: ScratchSources) -> None:
    """Rows behind the damaged page are neither changed nor gone."""
    project.fill(0)
    project.execute(
        "INSERT INTO prompts (id, image_prompt) WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
        "SELECT i, printf('%.*c', 900, 'x') FROM n"
    )
    content = bytearray(project.database.read_bytes())
    content[-20 * 4096 :] = b"\xff" * (20 * 4096)
    project.database.write_bytes(content)
    project.settle()
    assert 0 < len(project.scan().change.new) < 200
    assert project.problems() == ["llm_video_batch.db"]
    with closing(sqlite3.connect(project.database)) as connection:
        connection.execute(edit(3))
        connection.commit()
    assert len(project.scan().change.changed) == 1
    assert project.gone(*(f"db-{number}" for number in range(1, 201))) == set()


def test_items_without_token_get_one(project: ScratchSources) -> None:
    """Items of an older ledger are compared by their texts; deleted ones are gone."""
    project.fill(12)
    project.scan()
    with project.ledger._database.write() as connection:
        connection.execute(text("UPDATE items SET change_token = NULL"))
        connection.execute(text("DELETE FROM source_states"))
    project.execute("DELETE FROM prompts WHERE id = 7", edit(9))
    project.settle()
    result = project.scan()
    assert counts(result) == (
        0,
        1,
        1,
    )
    assert project.gone("db-7", "db-8") == {"db-7"}
    project.execute("CREATE TABLE other (a)")
    assert project.scan().change.unchanged == 11


def test_a_scan_of_keys_reads_the_whole_database(thirty: ScratchSources) -> None:
    """The requested items are returned as they are now; other edits are recorded too."""
    thirty.execute(edit(5, 6), "DELETE FROM prompts WHERE id = 25")
    result = thirty.scanner.scan_keys(["db-5", "db-25", "db-26"])
    assert result.gone == {"db-25"}
    texts = {key: prompt.text for key, prompt in result.present.items()}
    assert texts == {"db-5": "edited 5", "db-26": "prompt 26"}
    assert thirty.texts()["db-6"] == "edited 6"


def test_an_unknown_key_has_every_source_scanned(project: ScratchSources) -> None:
    """A new ledger gets it in the run that requests it."""
    project.fill(12)
    project.write("a.json", "picture a")
    assert set(project.scanner.scan_keys(["db-9"]).present) == {"db-9"}
    assert project.texts()["db-9"] == "prompt 9"
    assert len(project.texts()) == 13
