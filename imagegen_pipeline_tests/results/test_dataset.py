"""The table of results as a folder of Parquet files, brought up to date in parts."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from imagegen_pipeline.domain.errors import OutcomeUnknownError, StoreError
from imagegen_pipeline.ledger import Decision, Ledger, Verdict
from imagegen_pipeline.results import COLUMNS, dataset, dataset_state, refresh_results
from imagegen_pipeline_tests.ledger.ledger_rows import plan, problem, prompt, scan, submitting
from imagegen_pipeline_tests.results.conftest import (
    SEVEN,
    add_picture,
    check,
    refreshed,
    times,
    written,
)

PARTS = {"part-000000.parquet", "part-000001.parquet", "part-000002.parquet"}


def test_a_folder_is_read_as_one_table(ledger: Ledger, folder: Path) -> None:
    """pandas and pyarrow read the folder by its name: every attempt once, and nothing else."""
    table = refreshed(ledger, folder)
    assert list(table["attempt"]) == [1, 2, 3, 4, 5, 6, 7]
    assert times(folder).keys() == PARTS
    assert pyarrow.dataset.dataset(folder).count_rows() == 7


def test_columns_are_typed_and_described(ledger: Ledger, folder: Path) -> None:
    """Whole numbers, truths and moments come back as such, where some are empty too; each column
    says in the file what it holds.
    """
    types = refreshed(ledger, folder).dtypes.astype(str)
    assert (types["attempt"], types["current"], types["cost"]) == ("Int64", "boolean", "Float64")
    assert types["shared_from"] == "Int64"
    assert types["created_at"] == types["verdict_at"] == "datetime64[ms, UTC]"
    for field in pyarrow.dataset.dataset(folder).schema:
        assert field.metadata[b"description"].decode() == COLUMNS[field.name][1]


def test_no_attempt_at_all_is_a_table_without_rows(tmp_path: Path, folder: Path) -> None:
    """An empty ledger has an empty table with all of its columns."""
    with closing(Ledger(f"sqlite:///{tmp_path / 'new.db'}")) as empty:
        table = refreshed(empty, folder)
    assert (len(table), list(table)) == (0, list(COLUMNS))


def test_nothing_new_writes_no_part(ledger: Ledger, folder: Path) -> None:
    """A second refresh leaves every part as it is, the first one's work or a later one's."""
    for key in ("a", "b"):
        refreshed(ledger, folder)
        before = times(folder)
        refreshed(ledger, folder)
        assert written(folder, before) == set()
        add_picture(ledger, key)


def approve(ledger: Ledger) -> None:
    """A person approves an old picture."""
    ledger.reviews.decide([2], Verdict.APPROVED)


def give_up(ledger: Ledger) -> None:
    """A person gives up a job that does not come home."""
    ledger.decisions.decide("b", Decision.GIVE_UP)


def note(ledger: Ledger) -> None:
    """A job that could not be asked for says why."""
    ledger.attempts.note("b", OutcomeUnknownError("The line was cut."))


def leave(ledger: Ledger) -> None:
    """An item leaves its source."""
    ledger.items.record(scan(gone=["b"]))


def move(ledger: Ledger) -> None:
    """An item moves within its source."""
    moved = prompt("b", location="/prompts/elsewhere.json")
    ledger.items.record(scan(*(moved if key == "b" else prompt(key) for key in SEVEN)))


@pytest.mark.parametrize("change", [approve, leave, move])
def test_a_change_writes_its_own_part_only(
    ledger: Ledger, folder: Path, change: Callable[[Ledger], None]
) -> None:
    """What happens to an item is in the table after the next refresh, and the parts that have
    nothing of it stay as they are.
    """
    refreshed(ledger, folder)
    before = times(folder)
    change(ledger)
    refreshed(ledger, folder)
    assert written(folder, before) == {"part-000000.parquet"}


@pytest.mark.parametrize("change", [give_up, note])
def test_what_becomes_of_an_open_attempt_is_brought(
    ledger: Ledger, folder: Path, change: Callable[[Ledger], None]
) -> None:
    """An attempt that was under way, and what a person or a run says of it, are in the table."""
    sent = submitting(ledger, plan(ledger, "b", file_stem="again"))
    ledger.attempts.submitted(sent, job_id="job", endpoint="there")
    refreshed(ledger, folder)
    change(ledger)
    assert refreshed(ledger, folder)["error"][7]


def test_an_older_picture_is_no_longer_current(ledger: Ledger, folder: Path) -> None:
    """A new picture is in the last part, and the one before it, in another part, says so too."""
    refreshed(ledger, folder)
    before = times(folder)
    assert add_picture(ledger, "a") == 8
    table = refreshed(ledger, folder)
    assert list(table["current"]) == [False, True, True, True, True, True, True, True]
    assert written(folder, before) == {"part-000000.parquet", "part-000002.parquet"}

    before = times(folder)
    ledger.reviews.make_current(1)
    assert list(refreshed(ledger, folder)["current"])[::7] == [True, False]
    assert written(folder, before) == {"part-000000.parquet", "part-000002.parquet"}


def test_what_is_unreadable_comes_and_goes(ledger: Ledger, folder: Path) -> None:
    """A bad file is a row for as long as it is bad."""
    prompts = [prompt(key) for key in SEVEN]
    for problems, rows in (((problem("/prompts/bad.json"),), 8), ((), 7)):
        ledger.items.record(scan(*prompts, problems=problems))
        table = refreshed(ledger, folder)
        assert len(table) == rows
    assert "unreadable" not in set(table["state"])


def test_the_one_file_of_an_older_version_becomes_the_folder(ledger: Ledger, folder: Path) -> None:
    """Whoever reads the table by its name reads on, and finds all of it."""
    pd.DataFrame({"attempt": [1]}).to_parquet(folder)
    refreshed(ledger, folder)
    assert folder.is_dir()


def delete_folder(folder: Path) -> None:
    """The whole table."""
    shutil.rmtree(folder)


def delete_part(folder: Path) -> None:
    """One part."""
    (folder / "part-000001.parquet").unlink()


def delete_unreadable(folder: Path) -> None:
    """The part of what is unreadable."""
    (folder / "unreadable.parquet").unlink()


def delete_state(folder: Path) -> None:
    """How far the table has come."""
    (folder / dataset_state.STATE_NAME).unlink()


def garble_state(folder: Path) -> None:
    """The same, unreadable."""
    (folder / dataset_state.STATE_NAME).write_text('{"columns": []')


def change_columns(folder: Path) -> None:
    """The columns of another version of this program."""
    state = folder / dataset_state.STATE_NAME
    state.write_text(json.dumps(json.loads(state.read_text()) | {"columns": "others"}))
    pd.DataFrame({"attempt": ["one"]}).to_parquet(folder / "part-000000.parquet")


def cut_part(folder: Path) -> None:
    """A part that was half copied."""
    part = folder / "part-000001.parquet"
    part.write_bytes(part.read_bytes()[:1000])


def spoil_part(folder: Path) -> None:
    """A part of which the disk has lost a byte without a word: same size, same time."""
    part = folder / "part-000001.parquet"
    with pq.ParquetFile(part) as opened:
        group, names = opened.metadata.row_group(0), opened.schema_arrow.names
        end = group.column(names.index("seconds")).data_page_offset  # of the values' own page
    moments = part.stat().st_atime_ns, part.stat().st_mtime_ns
    data = bytearray(part.read_bytes())
    data[end - 1] ^= 1
    part.write_bytes(data)
    os.utime(part, ns=moments)


def replace_part(folder: Path) -> None:
    """A part that somebody has put a table of theirs over."""
    pd.DataFrame({"attempt": [99]}).to_parquet(folder / "part-000001.parquet")


DAMAGES = (
    *(delete_folder, delete_part, delete_unreadable, delete_state, garble_state),
    *(change_columns, cut_part, spoil_part, replace_part),
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_written_again(
    ledger: Ledger, folder: Path, damage: Callable[[Path], None]
) -> None:
    """Whatever was deleted, cut or replaced, the next refresh makes the table whole."""
    refreshed(ledger, folder)
    damage(folder)
    refreshed(ledger, folder)


def test_a_part_that_does_not_read_is_written_from_the_ledger(ledger: Ledger, folder: Path) -> None:
    """A change within a part that has lost its bytes does not need those."""
    refreshed(ledger, folder)
    spoil_part(folder)
    ledger.reviews.decide([4], Verdict.REJECTED)
    refreshed(ledger, folder)


def test_another_ledger_makes_another_table(ledger: Ledger, folder: Path, tmp_path: Path) -> None:
    """Nothing of a ledger that was left, or that a backup has replaced, stays in the table."""
    refreshed(ledger, folder)
    with closing(Ledger(f"sqlite:///{tmp_path / 'other.db'}")) as other:
        other.items.record(scan(prompt("z")))
        for _ in range(3):
            add_picture(other, "z")
        for _ in range(40):  # it has seen more changes than the first
            other.reviews.decide([1], Verdict.APPROVED)
            other.reviews.decide([1], Verdict.NONE)
        assert set(refreshed(other, folder)["key"]) == {"z"}
    assert set(refreshed(ledger, folder)["key"]) == set(SEVEN)


def test_a_ledger_that_was_put_back_is_followed(folder: Path, tmp_path: Path) -> None:
    """What happened after a backup is no longer in the table once the backup is put back."""
    file, backup = tmp_path / "imagegen.db", tmp_path / "backup.db"
    with closing(Ledger(f"sqlite:///{file}")) as ledger:
        ledger.items.record(scan(prompt("a")))
        add_picture(ledger, "a")
    shutil.copy(file, backup)
    with closing(Ledger(f"sqlite:///{file}")) as ledger:
        ledger.reviews.decide([1], Verdict.APPROVED)
        refreshed(ledger, folder)
    shutil.copy(backup, file)
    with closing(Ledger(f"sqlite:///{file}")) as ledger:
        assert refreshed(ledger, folder)["verdict"].isna().all()


def test_what_else_lies_in_the_folder_stays(ledger: Ledger, folder: Path) -> None:
    """Files that are not the table's own are left alone, even when it is written anew."""
    refreshed(ledger, folder)
    (folder / "_notes.txt").write_text("mine")
    (folder / dataset_state.STATE_NAME).unlink()
    refreshed(ledger, folder)
    assert (folder / "_notes.txt").read_text() == "mine"


class Crash(BaseException):
    """The end of a process, in the middle of a line."""


ANEW = [("written anew", at) for at in range(13)]
BROUGHT_UP = [("brought up to date", at) for at in range(5)]


@pytest.mark.parametrize(("how", "at"), [*ANEW, *BROUGHT_UP])
def test_a_crash_leaves_what_the_next_refresh_completes(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch, how: str, at: int
) -> None:
    """A process that ends before or after any file is written leaves a table that can be read,
    and no rubbish after the next refresh.
    """
    refreshed(ledger, folder)
    if how == "written anew":
        (folder / dataset_state.STATE_NAME).unlink()
    add_picture(ledger, "a")
    add_picture(ledger, "d")
    with monkeypatch.context() as patched:
        crash_at(patched, at)
        with pytest.raises(Crash):
            refresh_results(ledger, folder)
    assert len(pd.read_parquet(folder)) >= 7
    refreshed(ledger, folder)
    hidden = [file.name for file in folder.parent.glob(".*")]
    assert hidden == [f".{folder.name}.lock"]
    assert {file.name for file in folder.iterdir()} - PARTS == {
        *(f"_{Path(name).stem}.sums" for name in PARTS),
        dataset_state.STATE_NAME,
        "unreadable.parquet",
    }


def crash_at(patched: pytest.MonkeyPatch, at: int) -> None:
    """End at the file number ``at`` that is moved to its place; its spare stays behind."""
    moved = iter(range(at))
    replace = Path.replace

    def crashing(self: Path, target: Any) -> Path:
        if next(moved, None) is None:
            patched.setattr(Path, "unlink", lambda *_, **__: None)
            raise Crash
        return replace(self, target)

    patched.setattr(Path, "replace", crashing)


def test_many_at_once_lose_nothing(ledger: Ledger, folder: Path) -> None:
    """Who refreshes after a change of its own finds it in the table, whoever refreshes too."""
    both = threading.Barrier(4)

    def work(number: int) -> None:
        both.wait()
        for turn in range(3):
            ledger.reviews.decide([number + 1], Verdict.NONE if turn == 1 else Verdict.APPROVED)
            refresh_results(ledger, folder)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    table = check(ledger, folder)
    assert list(table["verdict"][:4]) == ["approved"] * 4


def test_it_waits_for_another_that_writes_and_then_says_so(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that holds the table for too long is told of, with what to do."""
    monkeypatch.setattr(dataset_state, "LOCK_SECONDS", 0.0)
    with (
        dataset_state.only_writer(folder),
        pytest.raises(StoreError, match="Another process has been writing") as refused,
    ):
        refresh_results(ledger, folder)
    assert "hangs" in refused.value.remedy
    refreshed(ledger, folder)


def test_a_place_that_takes_no_files_is_a_store_error(ledger: Ledger, tmp_path: Path) -> None:
    """A file where the data folder belongs is named."""
    (tmp_path / "taken").touch()
    with pytest.raises(StoreError, match="taken"):
        refresh_results(ledger, tmp_path / "taken" / "generation_results.parquet")


def test_a_linked_folder_is_written_where_it_lies(ledger: Ledger, folder: Path) -> None:
    """A table that a link leads to another disk with is made there, and stays there."""
    elsewhere = folder.with_name("elsewhere")
    folder.symlink_to(elsewhere)
    refreshed(ledger, folder)
    assert folder.is_symlink()
    assert times(elsewhere).keys() == PARTS


def test_a_part_has_so_many_rows_and_no_more(ledger: Ledger, folder: Path) -> None:
    """Any number of attempts is held in memory a part at a time."""
    refreshed(ledger, folder)
    rows = [len(pd.read_parquet(folder / name)) for name in sorted(PARTS)]
    assert rows == [3, 3, 1]
    assert dataset.PART_ROWS == 3
