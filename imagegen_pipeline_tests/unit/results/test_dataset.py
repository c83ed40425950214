"""The results table as a partitioned Parquet dataset."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from imagegen_pipeline.domain.errors import OutcomeUnknownError, StoreError
from imagegen_pipeline.domain.result_columns import COLUMNS
from imagegen_pipeline.ledger import Decision, Ledger, Verdict
from imagegen_pipeline.results import dataset
from imagegen_pipeline.results.dataset import DamagedPartError, refresh_dataset, verify_part
from imagegen_pipeline_tests.unit.ledger.ledger_rows import plan, problem, prompt, scan, submitting
from imagegen_pipeline_tests.unit.results.conftest import (
    SEVEN,
    add_picture,
    check,
    refreshed,
    times,
    written,
)

PARTS = {"part-000000.parquet", "part-000001.parquet", "part-000002.parquet"}


def test_the_folder_is_one_table(ledger: Ledger, folder: Path) -> None:
    """pandas and pyarrow read the folder as a table with one row per attempt."""
    table = refreshed(ledger, folder)
    assert list(table["attempt"]) == [1, 2, 3, 4, 5, 6, 7]
    assert times(folder).keys() == PARTS
    assert pyarrow.dataset.dataset(folder).count_rows() == 7


def test_columns_are_typed_and_described(ledger: Ledger, folder: Path) -> None:
    """Nullable integers, booleans and timestamps keep their types; each field of the file has its
    description.
    """
    types = refreshed(ledger, folder).dtypes.astype(str)
    assert (types["attempt"], types["current"], types["cost"]) == ("Int64", "boolean", "Float64")
    assert types["shared_from"] == "Int64"
    assert types["created_at"] == types["verdict_at"] == "datetime64[ms, UTC]"
    for field in pyarrow.dataset.dataset(folder).schema:
        assert field.metadata[b"description"].decode() == COLUMNS[field.name][1]


def test_an_empty_ledger_is_a_table_without_rows(tmp_path: Path, folder: Path) -> None:
    """The empty table has all columns."""
    with closing(Ledger(f"sqlite:///{tmp_path / 'new.db'}")) as empty:
        table = refreshed(empty, folder)
    assert (len(table), list(table)) == (0, list(COLUMNS))


def test_a_refresh_without_changes_writes_no_partition(ledger: Ledger, folder: Path) -> None:
    """This holds after the first refresh and after an incremental one."""
    for key in ("a", "b"):
        refreshed(ledger, folder)
        before = times(folder)
        refreshed(ledger, folder)
        assert written(folder, before) == set()
        add_picture(ledger, key)


def approve(ledger: Ledger) -> None:
    """A person approves an old image."""
    ledger.reviews.decide([2], Verdict.APPROVED)


def give_up(ledger: Ledger) -> None:
    """A person gives up an outstanding job."""
    ledger.decisions.decide("b", Decision.GIVE_UP)


def note(ledger: Ledger) -> None:
    """The collection of a job fails with a reason."""
    ledger.attempts.note("b", OutcomeUnknownError("The line was cut."))


def leave(ledger: Ledger) -> None:
    """An item leaves its source."""
    ledger.items.record(scan(gone=["b"]))


def move(ledger: Ledger) -> None:
    """An item moves within its source."""
    moved = prompt("b", location="/prompts/elsewhere.json")
    ledger.items.record(scan(*(moved if key == "b" else prompt(key) for key in SEVEN)))


@pytest.mark.parametrize("change", [approve, leave, move])
def test_a_change_rewrites_its_own_partition_only(
    ledger: Ledger, folder: Path, change: Callable[[Ledger], None]
) -> None:
    """The next refresh has the change, and the other partitions are not written."""
    refreshed(ledger, folder)
    before = times(folder)
    change(ledger)
    refreshed(ledger, folder)
    assert written(folder, before) == {"part-000000.parquet"}


@pytest.mark.parametrize("change", [give_up, note])
def test_changes_of_an_open_attempt_are_refreshed(
    ledger: Ledger, folder: Path, change: Callable[[Ledger], None]
) -> None:
    """A decision or an error that is recorded later is in the table."""
    sent = submitting(ledger, plan(ledger, "b", file_stem="again"))
    ledger.attempts.submitted(sent, job_id="job", endpoint="there")
    refreshed(ledger, folder)
    change(ledger)
    assert refreshed(ledger, folder)["error"][7]


def test_a_new_image_changes_the_row_of_the_previous_one(ledger: Ledger, folder: Path) -> None:
    """The previous image, in another partition, is no longer current."""
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


def test_unreadable_source_items_are_rows(ledger: Ledger, folder: Path) -> None:
    """A bad file has a row until it is repaired."""
    prompts = [prompt(key) for key in SEVEN]
    for problems, rows in (((problem("/prompts/bad.json"),), 8), ((), 7)):
        ledger.items.record(scan(*prompts, problems=problems))
        table = refreshed(ledger, folder)
        assert len(table) == rows
    assert "unreadable" not in set(table["state"])


def test_a_single_file_is_replaced_by_the_folder(ledger: Ledger, folder: Path) -> None:
    """A file of the table's name is not a dataset of this version."""
    pd.DataFrame({"attempt": [1]}).to_parquet(folder)
    refreshed(ledger, folder)
    assert folder.is_dir()


UNREADABLE = "unreadable.parquet"


def delete_folder(folder: Path) -> None:
    """The whole table is gone."""
    shutil.rmtree(folder)


def delete_part(folder: Path) -> None:
    """One partition is gone."""
    (folder / "part-000001.parquet").unlink()


def delete_unreadable(folder: Path) -> None:
    """The file with the unreadable source items and the cursor is gone."""
    (folder / UNREADABLE).unlink()


def delete_cursor(folder: Path) -> None:
    """The file has no cursor, as during the move of a rebuilt table."""
    table = pq.read_table(folder / UNREADABLE)
    pq.write_table(table.replace_schema_metadata({}), folder / UNREADABLE)


def change_cursor(folder: Path) -> None:
    """The cursor has the form of another version."""
    table = pq.read_table(folder / UNREADABLE)
    metadata = {b"imagegen_cursor": b'{"version": 0}'}
    pq.write_table(table.replace_schema_metadata(metadata), folder / UNREADABLE)


def change_columns(folder: Path) -> None:
    """All files have the columns of another version."""
    for file in folder.glob("*.parquet"):
        pd.DataFrame({"attempt": ["one"]}).to_parquet(file)


def change_description(folder: Path) -> None:
    """The columns of all files are described differently."""
    for file in folder.glob("*.parquet"):
        table = pq.read_table(file)
        fields = [field.with_metadata({"description": "Old."}) for field in table.schema]
        pq.write_table(table.cast(pa.schema(fields, table.schema.metadata)), file)


def cut_part(folder: Path) -> None:
    """A partition is incomplete."""
    part = folder / "part-000001.parquet"
    part.write_bytes(part.read_bytes()[:1000])


def corrupt_part(folder: Path) -> None:
    """A bit of a partition has changed on disk: its size and time have not."""
    part = folder / "part-000001.parquet"
    with pq.ParquetFile(part) as opened:
        group, names = opened.metadata.row_group(0), opened.schema_arrow.names
        end = group.column(names.index("seconds")).data_page_offset  # the page of the values
    moments = part.stat().st_atime_ns, part.stat().st_mtime_ns
    data = bytearray(part.read_bytes())
    data[end - 1] ^= 1
    part.write_bytes(data)
    os.utime(part, ns=moments)


def replace_part(folder: Path) -> None:
    """A partition is replaced by another table."""
    pd.DataFrame({"attempt": [99]}).to_parquet(folder / "part-000001.parquet")


DAMAGES = (
    *(delete_folder, delete_part, delete_unreadable, delete_cursor, change_cursor),
    *(change_columns, change_description, cut_part, corrupt_part, replace_part),
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_repaired(ledger: Ledger, folder: Path, damage: Callable[[Path], None]) -> None:
    """The next refresh restores what was deleted, cut or replaced."""
    refreshed(ledger, folder)
    damage(folder)
    refreshed(ledger, folder)


def test_a_change_in_a_damaged_partition_rebuilds_it(ledger: Ledger, folder: Path) -> None:
    """The rows come from the ledger, not from the damaged file."""
    refreshed(ledger, folder)
    corrupt_part(folder)
    ledger.reviews.decide([4], Verdict.REJECTED)
    refreshed(ledger, folder)


def test_a_refresh_reads_only_changed_partitions(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a change no partition is read; with one, only the partitions of its items are."""
    monkeypatch.setattr(dataset, "VERIFIED_PARTS", 0)
    names: list[str] = []
    read_part = dataset._read_part

    def record(file: Path) -> pa.Table:
        names.append(file.name)
        return read_part(file)

    monkeypatch.setattr(dataset, "_read_part", record)
    refreshed(ledger, folder)
    refreshed(ledger, folder)
    assert names == []
    ledger.reviews.decide([4], Verdict.REJECTED)
    add_picture(ledger, "g")
    refreshed(ledger, folder)
    assert names == ["part-000001.parquet", "part-000002.parquet"]


def test_every_partition_is_verified_in_time(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refresh verifies a random partition, so repeated ones find a corrupt file."""
    monkeypatch.setattr(dataset, "VERIFIED_PARTS", 1)
    refreshed(ledger, folder)
    corrupt_part(folder)
    with pytest.raises(DamagedPartError):
        verify_part(folder / "part-000001.parquet", read=True)
    before = times(folder)
    for _ in range(100):
        refresh_dataset(ledger, folder)
        if written(folder, before):
            break
    refreshed(ledger, folder)
    assert written(folder, before) == {"part-000001.parquet"}


def test_another_ledger_makes_another_table(ledger: Ledger, folder: Path, tmp_path: Path) -> None:
    """No row of another ledger, or of one that a backup has replaced, stays in the table."""
    refreshed(ledger, folder)
    with closing(Ledger(f"sqlite:///{tmp_path / 'other.db'}")) as other:
        other.items.record(scan(prompt("z")))
        for _ in range(3):
            add_picture(other, "z")
        for _ in range(40):  # more changes than the first ledger has
            other.reviews.decide([1], Verdict.APPROVED)
            other.reviews.decide([1], Verdict.NONE)
        assert set(refreshed(other, folder)["key"]) == {"z"}
    assert set(refreshed(ledger, folder)["key"]) == set(SEVEN)


def test_a_restored_ledger_rebuilds_the_table(folder: Path, tmp_path: Path) -> None:
    """Changes after the backup are no longer in the table once the backup is restored."""
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


def test_other_files_in_the_folder_stay(ledger: Ledger, folder: Path) -> None:
    """Files that are not part of the table survive a rebuild."""
    refreshed(ledger, folder)
    (folder / "_notes.txt").write_text("mine")
    (folder / UNREADABLE).unlink()
    refreshed(ledger, folder)
    assert (folder / "_notes.txt").read_text() == "mine"


class Crash(BaseException):
    """The end of a process."""


REBUILDS = [("rebuild", at) for at in range(9)]
UPDATES = [("update", at) for at in range(4)]


@pytest.mark.parametrize(("how", "at"), [*REBUILDS, *UPDATES])
def test_the_refresh_after_a_crash_completes_the_table(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch, how: str, at: int
) -> None:
    """A crash before any file is replaced leaves a readable table, and the next refresh removes
    the temporary files.
    """
    refreshed(ledger, folder)
    if how == "rebuild":
        (folder / UNREADABLE).unlink()
    add_picture(ledger, "a")
    add_picture(ledger, "d")
    with monkeypatch.context() as patched:
        crash_at(patched, at)
        with pytest.raises(Crash):
            refresh_dataset(ledger, folder)
    assert len(pd.read_parquet(folder)) >= 7
    refreshed(ledger, folder)
    hidden = [file.name for file in folder.parent.glob(".*")]
    assert hidden == [f".{folder.name}.lock"]
    assert {file.name for file in folder.iterdir()} == {*PARTS, UNREADABLE}


def test_an_interrupted_move_is_repeated(
    ledger: Ledger, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that was half replaced by another ledger's is rebuilt for either ledger."""
    refreshed(ledger, folder)
    with closing(Ledger(f"sqlite:///{tmp_path / 'other.db'}")) as other, monkeypatch.context() as m:
        other.items.record(scan(prompt("z")))
        add_picture(other, "z")
        crash_at(m, 4)  # two files of the draft, the cursor's removal, one move
        with pytest.raises(Crash):
            refresh_dataset(other, folder)
    refreshed(ledger, folder)


def crash_at(patched: pytest.MonkeyPatch, at: int) -> None:
    """Crash before the file number ``at`` is replaced; its temporary file stays."""
    moved = iter(range(at))
    replace = Path.replace

    def crashing(self: Path, target: Any) -> Path:
        if next(moved, None) is None:
            patched.setattr(Path, "unlink", lambda *_, **__: None)
            raise Crash
        return replace(self, target)

    patched.setattr(Path, "replace", crashing)


def test_concurrent_refreshes_lose_no_change(ledger: Ledger, folder: Path) -> None:
    """Each of four threads finds its own change in the table after its refresh."""
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        for turn in range(3):
            ledger.reviews.decide([number + 1], Verdict.NONE if turn == 1 else Verdict.APPROVED)
            refresh_dataset(ledger, folder)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    table = check(ledger, folder)
    assert list(table["verdict"][:4]) == ["approved"] * 4


def test_a_second_writer_waits_and_then_fails(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the other process and the remedy."""
    monkeypatch.setattr(dataset, "LOCK_SECONDS", 0.0)
    with (
        dataset._exclusive_lock(folder),
        pytest.raises(StoreError, match="Another process has been writing") as refused,
    ):
        refresh_dataset(ledger, folder)
    assert "hangs" in refused.value.remedy
    refreshed(ledger, folder)


def test_a_folder_that_cannot_be_written_is_a_store_error(ledger: Ledger, tmp_path: Path) -> None:
    """The error names the file that is in the data folder's place."""
    (tmp_path / "taken").touch()
    with pytest.raises(StoreError, match="taken"):
        refresh_dataset(ledger, tmp_path / "taken" / "generation_results.parquet")


def test_a_symbolic_link_is_followed(ledger: Ledger, folder: Path) -> None:
    """A table that is linked to another disk is written there."""
    elsewhere = folder.with_name("elsewhere")
    folder.symlink_to(elsewhere)
    refreshed(ledger, folder)
    assert folder.is_symlink()
    assert times(elsewhere).keys() == PARTS


def test_the_rows_of_a_partition_are_limited(ledger: Ledger, folder: Path) -> None:
    """This bounds the memory of a refresh."""
    refreshed(ledger, folder)
    rows = [len(pd.read_parquet(folder / name)) for name in sorted(PARTS)]
    assert rows == [3, 3, 1]
    assert dataset.PART_ROWS == 3
