"""A look at a database reads it in windows, in turn, and misses nothing that was changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from imagegen_pipeline.sources import database_scan, sqlite_windows
from imagegen_pipeline_tests.scanning.conftest import HOUR, Desk

ANY = "id, image_id, image_prompt"


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of five rows."""
    monkeypatch.setattr(database_scan, "WINDOW", 5)


@pytest.fixture
def thirty(job_manager: Desk) -> Desk:
    """A database of thirty prompts that was read, and left alone since."""
    job_manager.fill(30)
    job_manager.settle()
    assert job_manager.look().new == 30
    return job_manager


def edit(*ids: int) -> str:
    """A statement that gives these rows another text."""
    among = ", ".join(map(str, ids))
    return f"UPDATE prompts SET image_prompt = 'edited ' || id WHERE id IN ({among})"  # noqa: S608


def test_what_is_as_it_was_is_not_read(thirty: Desk) -> None:
    """The second look at an unchanged database asks it nothing."""
    assert thirty.opened() == []


def test_everything_is_read_in_the_look_after_a_change(thirty: Desk) -> None:
    """New, edited and deleted rows anywhere, with time enough: one look sees them all."""
    thirty.execute(
        edit(3, 17),
        "DELETE FROM prompts WHERE id IN (1, 11, 30)",
        "INSERT INTO prompts (id, image_prompt) VALUES (0, 'new'), (31, 'new')",
    )
    look = thirty.look()
    assert (look.new, look.changed, look.gone, look.unfinished) == (2, 2, 3, ())
    assert thirty.gone("db-1", "db-11", "db-30", "db-2") == {"db-1", "db-11", "db-30"}
    assert thirty.texts()["db-17"] == "edited 17"
    assert thirty.ledger.items.last_sequence() == 30 + 2 + 2 + 3, "and nothing else is news"


def test_the_same_texts_again_are_no_news(thirty: Desk) -> None:
    """A commit that changes no prompt has the database read, and nothing written of its rows."""
    before = thirty.ledger.items.get(["db-7"])
    thirty.execute("CREATE TABLE another (a)", "UPDATE prompts SET image_prompt = image_prompt")
    assert thirty.opened() == ["read"]
    assert thirty.ledger.items.get(["db-7"]) == before
    assert thirty.ledger.items.last_sequence() == 30


def test_a_database_that_was_written_just_now_is_read_again(thirty: Desk) -> None:
    """A commit within the tick of the clock in which it was read would have the same stamp."""
    thirty.clock.ahead = 0
    thirty.execute(edit(3))
    assert [thirty.opened(), thirty.opened()] == [["read"], ["read"]]
    thirty.settle()
    assert [thirty.opened(), thirty.opened()] == [["read"], []]


def test_no_stamp_is_believed_for_longer_than_a_day(thirty: Desk) -> None:
    """Once a day an unchanged database is read all the same."""
    thirty.clock.ahead += 23 * HOUR
    assert thirty.opened() == []
    thirty.clock.ahead += 2 * HOUR
    assert thirty.opened() == ["read"]


def test_without_time_each_look_reads_a_window_until_all_had_its_turn(job_manager: Desk) -> None:
    """A first reading goes on where the last look left it, and ends."""
    job_manager.fill(30)
    job_manager.settle()
    looks = [job_manager.look(0) for _ in range(6)]
    assert [look.new for look in looks] == [5] * 6
    assert [bool(look.unfinished) for look in looks] == [True] * 5 + [False]
    assert job_manager.opened(0) == []


def test_what_is_new_at_the_end_does_not_wait_for_its_turn(thirty: Desk) -> None:
    """New rows are seen in the next look, whatever window the circle is at."""
    thirty.execute(edit(22))
    assert thirty.look(0).changed == 0
    thirty.execute("INSERT INTO prompts (image_prompt) VALUES ('new'), ('new too')")
    look = thirty.look(0)
    assert (look.new, look.changed) == (2, 0)
    assert thirty.texts()["db-32"] == "new too"


def test_an_edit_is_seen_when_its_window_has_its_turn(thirty: Desk) -> None:
    """Also when the database goes on changing: the circle does not begin anew each time."""
    thirty.execute(edit(22))
    for number in range(9):
        thirty.look(0)
        thirty.execute(f"INSERT INTO images (descriptive_name) VALUES ('{number}')")  # noqa: S608
    assert thirty.texts()["db-22"] == "edited 22"


def test_an_edit_behind_the_circle_has_another_turn(thirty: Desk) -> None:
    """A row that changes after its window was read is seen in what is left of the circle."""
    thirty.execute(edit(30))
    for _ in range(3):
        thirty.look(0)
    thirty.execute(edit(2))
    looks = [thirty.look(0) for _ in range(8)]
    assert sum(look.changed for look in looks) == 2
    assert looks[-1].unfinished == ()
    assert thirty.opened(0) == []


def test_what_was_deleted_is_gone_when_its_window_has_its_turn(thirty: Desk) -> None:
    """A window says nothing of rows before and behind it."""
    thirty.execute("DELETE FROM prompts WHERE id IN (2, 14)")
    assert thirty.look(0).gone == 1
    assert thirty.gone("db-2", "db-14") == {"db-2"}
    assert [thirty.look(0).gone for _ in range(2)] == [0, 1]
    assert thirty.gone(*(f"db-{number}" for number in range(1, 31))) == {"db-2", "db-14"}


def test_a_row_that_comes_back_is_there_again(thirty: Desk) -> None:
    """With the same text, so that its stamp is the one that it had before."""
    thirty.execute("DELETE FROM prompts WHERE id = 14")
    thirty.look()
    thirty.execute("INSERT INTO prompts (id, image_prompt) VALUES (14, 'prompt 14')")
    look = thirty.look()
    assert (look.new, look.changed) == (0, 0)
    assert thirty.gone("db-14") == set()


@pytest.mark.parametrize("kept", ["id < 4", "id > 27", "id = 15", "0"])
def test_a_database_that_shrinks(thirty: Desk, kept: str) -> None:
    """Most rows, or all of them, leave at once: more than one window compares."""
    thirty.execute(f"DELETE FROM prompts WHERE NOT ({kept})")  # noqa: S608
    left = len(thirty.sources.scan_prompts(json_files=False, record=False).prompts)
    looks = [thirty.look(0) for _ in range(9)]
    assert sum(look.gone for look in looks) == 30 - left
    assert len(thirty.texts()) == left
    assert looks[-1].unfinished == ()


MIXED = (
    *("NULL", "NULL", "-7", "0", "1", "2", "3", "10", "2.5", "9e999", "9223372036854775807"),
    *("'1'", "'a'", "'ab'", "'B'", "'a-1'", "'a b'", "'zz'", "'é'", "x'ff'", "'10'", "'-7'"),
)


@pytest.mark.parametrize("window", [1, 2, 3, 7, 100])
def test_ids_of_every_kind_are_read_once(
    job_manager: Desk, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the windows, they bring what reading the whole brings, problems included."""
    monkeypatch.setattr(database_scan, "WINDOW", window)
    rows = ", ".join(f"({one}, 'row {at}')" for at, one in enumerate(MIXED))
    job_manager.fill(0, ANY)
    job_manager.execute(f"INSERT INTO prompts (id, image_prompt) VALUES {rows}")  # noqa: S608
    whole = job_manager.sources.scan_prompts(json_files=False, record=False)
    job_manager.settle()
    for _ in range(40):
        look = job_manager.look(0)
    assert look.unfinished == ()
    assert job_manager.texts() == {prompt.key: prompt.text for prompt in whole.prompts}
    found = {
        p for p in job_manager.ledger.items.problems() if p.container == str(job_manager.database)
    }
    assert found == set(whole.problems)


def test_texts_as_ids_in_a_column_of_another_order(job_manager: Desk) -> None:
    """A column that sorts letters of both cases alike is read in one order all the same."""
    job_manager.fill(0, "id TEXT COLLATE NOCASE PRIMARY KEY, image_id, image_prompt")
    names = ["a", "B", "c", "D", "e", "F", "g", "H", "i", "J", "k", "L"]
    rows = ", ".join(f"('{name}', 'picture {name}')" for name in names)
    job_manager.execute(f"INSERT INTO prompts (id, image_prompt) VALUES {rows}")  # noqa: S608
    job_manager.settle()
    job_manager.look()
    job_manager.execute("DELETE FROM prompts WHERE id IN ('B', 'k')", edit(0))
    job_manager.execute("UPDATE prompts SET image_prompt = 'edited' WHERE id = 'g'")
    look = job_manager.look()
    assert (look.new, look.changed, look.gone) == (0, 1, 2)
    assert set(job_manager.texts()) == {f"db-{name}" for name in names} - {"db-B", "db-k"}


def test_rows_with_one_id_are_never_parted(job_manager: Desk) -> None:
    """Of more rows with one id than a window has, the first is used at every look."""
    job_manager.fill(4, ANY)
    more = ", ".join(f"(4, 'again {number}')" for number in range(4))
    job_manager.execute(f"INSERT INTO prompts (id, image_prompt) VALUES {more}, (5, 'five')")  # noqa: S608
    for _ in range(3):
        job_manager.settle()
        job_manager.look()
        assert job_manager.texts()["db-4"] == "prompt 4"
        assert job_manager.problems() == ["llm_video_batch.db#4"]
        job_manager.execute("CREATE TABLE IF NOT EXISTS other (a)", "INSERT INTO other VALUES (1)")


def test_a_write_ahead_database_that_a_program_has_open(job_manager: Desk) -> None:
    """What it commits is seen although the file itself stays as it was."""
    job_manager.fill(12)
    with closing(sqlite3.connect(job_manager.database)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute(edit(1))
        writer.commit()
        job_manager.settle()
        job_manager.look()
        assert job_manager.opened() == []
        file = job_manager.database.stat()
        writer.execute(edit(8))
        writer.commit()
        after = job_manager.database.stat()
        assert (file.st_mtime_ns, file.st_size) == (after.st_mtime_ns, after.st_size)
        assert job_manager.look().changed == 1
    assert job_manager.texts()["db-8"] == "edited 8"


def test_a_row_that_breaks_is_a_problem_and_not_gone(thirty: Desk) -> None:
    """It stays in the list while it is broken, and leaves it when it is mended or deleted."""
    thirty.execute("UPDATE prompts SET image_prompt = x'00' WHERE id IN (8, 9)")
    look = thirty.look()
    assert (look.changed, look.gone) == (0, 0)
    broken = ["llm_video_batch.db#8", "llm_video_batch.db#9"]
    assert thirty.problems() == broken
    assert thirty.opened() == []
    assert thirty.problems() == broken
    thirty.execute(edit(8), "DELETE FROM prompts WHERE id = 9")
    look = thirty.look()
    assert (look.changed, look.gone) == (1, 1)
    assert thirty.problems() == []


def test_a_database_that_cannot_be_read_makes_nothing_gone(thirty: Desk) -> None:
    """Away, or no database any more: a problem while it lasts, and no news when it is back."""
    content = thirty.database.read_bytes()
    thirty.database.rename(thirty.root / "away.db")
    assert [problem.location for problem in thirty.look().unreadable][-1] == str(thirty.database)
    (thirty.root / "away.db").rename(thirty.database)
    assert thirty.look().unreadable[1:] == ()
    assert thirty.problems() == []
    thirty.database.write_bytes(b"no database" * 500)
    assert thirty.look().gone == 0
    assert thirty.problems() == ["llm_video_batch.db"]
    thirty.database.write_bytes(content)
    look = thirty.look()
    assert (look.new, look.changed, look.gone) == (0, 0, 0)
    assert thirty.problems() == []


def test_a_disk_that_was_away_is_no_problem_any_more_when_it_is_back(
    job_manager: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is the very one that was read before, to its stamp."""
    disk = job_manager.root / "data" / "disk"
    disk.mkdir()
    job_manager.fill(12)
    job_manager.database.rename(disk / "p.db")
    monkeypatch.setenv("IMAGEGEN_PROMPT_DB", str(disk / "p.db"))
    job_manager.settle()
    job_manager.look()
    disk.rename(job_manager.root / "away")
    job_manager.look()
    assert [problem.location for problem in job_manager.look().problems][-1] == str(disk / "p.db")
    (job_manager.root / "away").rename(disk)
    assert str(disk / "p.db") not in [problem.location for problem in job_manager.look(0).problems]
    assert job_manager.look().unchanged > 0, "it is read once more"


def test_before_a_damage_everything_is_seen_at_every_look(job_manager: Desk) -> None:
    """What lies behind a damaged page waits for its repair; what lies before it does not."""
    job_manager.fill(0)
    job_manager.execute(
        "INSERT INTO prompts (id, image_prompt) WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
        "SELECT i, printf('%.*c', 900, 'x') FROM n"
    )
    content = bytearray(job_manager.database.read_bytes())
    content[-20 * 4096 :] = b"\xff" * (20 * 4096)
    job_manager.database.write_bytes(content)
    job_manager.settle()
    assert 0 < job_manager.look().new < 200
    assert job_manager.problems() == ["llm_video_batch.db"]
    with closing(sqlite3.connect(job_manager.database)) as connection:
        connection.execute(edit(3))
        connection.commit()
    assert job_manager.look().changed == 1
    assert job_manager.gone(*(f"db-{number}" for number in range(1, 201))) == set()


def test_an_upgraded_or_wholly_read_ledger_gets_its_stamps(job_manager: Desk) -> None:
    """Items that have no stamp yet get one, unless they left meanwhile: those are gone."""
    job_manager.fill(12)
    job_manager.sources.scan_prompts()
    job_manager.execute("DELETE FROM prompts WHERE id = 7", edit(9))
    job_manager.settle()
    look = job_manager.look()
    assert (look.new, look.changed, look.gone) == (0, 1, 1)
    assert job_manager.gone("db-7", "db-8") == {"db-7"}
    job_manager.execute("CREATE TABLE other (a)")
    assert job_manager.look().unchanged == 11


def test_a_run_looks_at_its_own_rows_only(thirty: Desk) -> None:
    """What is asked for is seen as it is now; other edits wait for the sensor's turn."""
    thirty.execute(edit(5, 6), "DELETE FROM prompts WHERE id = 25")
    look = thirty.sources.look_for(["db-5", "db-25", "db-26"])
    assert (look.changed, look.gone) == (1, 1)
    assert thirty.texts()["db-5"] == "edited 5"
    assert thirty.texts()["db-6"] == "prompt 6"
    look = thirty.look()
    assert (look.changed, look.gone) == (1, 0)


def test_a_key_that_nobody_knows_has_every_source_looked_at(job_manager: Desk) -> None:
    """A ledger that was made anew learns of it in the run that asks for it."""
    job_manager.fill(12)
    job_manager.write("a.json", "picture a")
    job_manager.sources.look_for(["db-9"])
    assert job_manager.texts()["db-9"] == "prompt 9"
    assert len(job_manager.texts()) == 13


def test_very_long_prompts_come_in_smaller_windows(
    thirty: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by their length too; each window has a row at least."""
    monkeypatch.setattr(sqlite_windows, "MOST_BYTES", 100)
    thirty.execute("UPDATE prompts SET image_prompt = printf('%.*c', 60 * (id % 3), 'x') || id")
    looks = [thirty.look(0) for _ in range(30)]
    assert max(look.changed for look in looks) < 5
    assert sum(look.changed for look in looks) == 30
    assert looks[-1].unfinished == ()
