"""The backup: whole or not there, while others write, and small when little has changed."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import SetupError, StoreError
from imagegen_pipeline.legacy.logs import open_log, write_results_log
from imagegen_pipeline.maintenance import backup as backing
from imagegen_pipeline.maintenance.backup import back_up
from imagegen_pipeline.maintenance.backup_manifest import backups_in, read_manifest, unfinished_in
from imagegen_pipeline.maintenance.clean_up import carry_out, plan_clean_up
from imagegen_pipeline.maintenance.lock import maintenance_lock
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.results.attempt_rows import result_rows
from imagegen_pipeline.results.parquet import write_results
from imagegen_pipeline.settings import load_settings
from imagegen_pipeline_tests.engine.bench import Bench
from imagegen_pipeline_tests.upkeep.conftest import (
    OLD_PICTURES,
    age_pictures,
    clean,
    file_of,
    stored,
)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The folder on another disk."""
    return tmp_path / "disk" / "backups"


def some_work(bench: Bench) -> None:
    """Two pictures of a prompt, one base image, an archived picture, logs, tables."""
    prompt = bench.prompt()
    bench.make_one(prompt)
    bench.make_one(prompt, regenerate=True, intent="again")
    bench.make_base(bench.actor())
    age_pictures(bench.pipeline)
    assert [done.ok for done in clean(bench.pipeline)] == [True]
    logs = bench.pipeline.settings.log_dir
    open_log(logs)
    bench.make_one(prompt)
    write_results_log([{"success": True}], logs, time.time())
    write_results(result_rows(bench.pipeline.ledger), bench.pipeline.results_file)


def test_a_backup_holds_what_was_paid_for_and_what_is_known_of_it(bench: Bench, disk: Path) -> None:
    """Ledger, pictures, sidecars, previews, archives, logs, prompts, actors: each with its digest;
    and no key.
    """
    some_work(bench)
    (bench.project.root / ".env").write_text("DUOMI_API_KEY=secret\n")
    report = back_up(bench.pipeline, disk)
    assert report.folder.parent == disk
    assert (report.pictures, report.missing, report.unread, report.linked) == (3, [], [], 0)
    manifest = read_manifest(report.folder)
    assert manifest.simulated
    by_path = {(one.place, one.path): one for one in manifest.files}
    for attempt in stored(bench.pipeline):
        path = attempt.archive or str(attempt.path)
        assert by_path["data", path].size
        if attempt.archive is None:
            copy = report.folder / "data" / path
            assert copy.read_bytes() == file_of(bench.pipeline, attempt).read_bytes()
            assert by_path["data", path].sha256 == attempt.digest
    kinds = {Path(one.path).suffix for one in manifest.files}
    assert kinds >= {".png", ".json", ".webp", ".zip", ".log", ".db", ".parquet"}
    assert ("prompt_json", "boat.json") in by_path
    assert ("actors", "0100_sailor/actor.json") in by_path
    assert not any("env" in one.path or "thumbnail" in one.path for one in manifest.files)
    assert len(list(report.folder.rglob("*.*"))) >= len(manifest.files)


def test_what_has_not_changed_takes_no_room_in_the_next_backup(bench: Bench, disk: Path) -> None:
    """A picture is one file on the backup's disk however many backups have it; the new is new."""
    some_work(bench)
    first = back_up(bench.pipeline, disk)
    bench.make_one(bench.prompt(text="a pier", stem="pier"))
    backing_up_again = back_up(bench.pipeline, disk)
    assert backing_up_again.linked > 5
    current = str(stored(bench.pipeline)[1].path)
    inodes = {(one.folder / "data" / current).stat().st_ino for one in (first, backing_up_again)}
    assert len(inodes) == 1
    (new,) = [str(one.path) for one in stored(bench.pipeline)][3:]
    assert not (first.folder / "data" / new).exists()
    assert (backing_up_again.folder / "data" / new).is_file()
    assert backing_up_again.copied_bytes < first.copied_bytes + 200_000


def test_a_file_that_changed_is_copied_and_the_older_backup_keeps_the_old_one(
    bench: Bench, disk: Path
) -> None:
    """What people write over, such as a base image's fixed path, is there as it was each time."""
    bench.make_base(bench.actor())
    base = bench.pipeline.picture_path(stored(bench.pipeline)[0])
    before = base.read_bytes()
    first = back_up(bench.pipeline, disk)
    base.write_bytes(b"painted over")
    second = back_up(bench.pipeline, disk)
    place = f"data/{bench.pipeline.store.relative(base)}"
    assert (first.folder / place).read_bytes() == before
    assert (second.folder / place).read_bytes() == b"painted over"


def test_only_the_newest_backups_stay(bench: Bench, disk: Path) -> None:
    """Older ones go when a new one is whole; what both had stays whole in the newer one."""
    bench.make_one(bench.prompt())
    made = [back_up(bench.pipeline, disk, keep=2).folder for _ in range(4)]
    assert backups_in(disk) == made[2:]
    (attempt,) = stored(bench.pipeline)
    copy = made[3] / "data" / str(attempt.path)
    assert copy.read_bytes() == file_of(bench.pipeline, attempt).read_bytes()
    assert [one.name for one in disk.iterdir() if "gone" in one.name] == []


class CrashError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("after", [1, 4, 8])
def test_an_interrupted_backup_is_none_and_the_next_one_goes_on_with_it(
    after: int, bench: Bench, disk: Path
) -> None:
    """Until all of it is there it is hidden; the backup before stays whole, and is the newest."""
    some_work(bench)
    first = back_up(bench.pipeline, disk)
    for stem in ("pier", "mole"):
        bench.make_one(bench.prompt(text=f"a {stem}", stem=stem))

    def crash(done: int, _of: int) -> None:
        if done == after:
            raise CrashError

    with pytest.raises(CrashError):
        back_up(bench.pipeline, disk, tell=crash)
    assert backups_in(disk) == [first.folder]
    assert len(unfinished_in(disk)) == 1
    last = back_up(bench.pipeline, disk)
    assert backups_in(disk) == [first.folder, last.folder]
    assert unfinished_in(disk) == []
    whole(last.folder)
    assert last.missing == []


def whole(folder: Path) -> None:
    """Every file of a backup is there with its digest, and nothing else is."""
    manifest = read_manifest(folder)
    for one in manifest.files:
        assert backing.digest_of(folder / one.inside) == one.sha256, one
    there = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    assert there == {"manifest.json", *(str(one.inside) for one in manifest.files)}


def test_a_first_backup_that_was_interrupted_does_not_copy_all_again(
    bench: Bench, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there whole already is taken as it is."""
    some_work(bench)
    files: list[int] = []

    def crash_at_the_end(done: int, of: int) -> None:
        files.append(of)
        if done == of:
            raise CrashError

    with pytest.raises(CrashError):
        back_up(bench.pipeline, disk, tell=crash_at_the_end)
    opened: list[Path] = []
    real = os.utime
    monkeypatch.setattr(backing.os, "utime", lambda *a, **k: (opened.append(a[0]), real(*a, **k)))
    report = back_up(bench.pipeline, disk)
    assert opened == [], "nothing was copied a second time"
    assert report.copied > files[0]
    whole(report.folder)


def test_the_ledger_is_of_one_moment_while_pictures_are_made(bench: Bench, disk: Path) -> None:
    """With writers at work all the time, every picture that the copy names is in the backup."""
    prompts = bench.prompts(**{f"p{number}": f"a boat, number {number}" for number in range(40)})
    bench.make(prompts[:2])
    begun, ended = threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        for prompt in prompts[2:]:
            bench.make_one(prompt)
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait()
    reports = []
    while not ended.is_set() or not reports:
        reports.append(back_up(bench.pipeline, disk, keep=10_000))
    thread.join()
    assert len(reports) > 1
    for report in reports:
        assert report.missing == []
        whole(report.folder)
    reports.append(back_up(bench.pipeline, disk, keep=10_000))
    assert reports[-1].pictures == 40
    assert reports[0].pictures < 40


def test_a_clean_up_waits_for_the_backup(bench: Bench, disk: Path) -> None:
    """No picture moves into an archive between the copy of the ledger and that of the files."""
    prompt = bench.prompt()
    bench.make_one(prompt)
    bench.make_one(prompt, regenerate=True, intent="again")
    age_pictures(bench.pipeline)
    plan = plan_clean_up(bench.pipeline, OLD_PICTURES)
    refused: list[str] = []

    def clean_meanwhile(_done: int, _of: int) -> None:
        with pytest.raises(SetupError) as error:
            list(carry_out(bench.pipeline, plan))
        refused.append(str(error.value))

    report = back_up(bench.pipeline, disk, tell=clean_meanwhile)
    assert refused
    assert report.missing == []
    with (
        maintenance_lock(bench.pipeline.settings.data_dir),
        pytest.raises(SetupError, match="at work"),
    ):
        back_up(bench.pipeline, disk)


def test_a_picture_that_was_on_no_disk_is_named(bench: Bench, disk: Path) -> None:
    """Somebody deleted it before: the backup is whole without it, and says so each time."""
    bench.make_one(bench.prompt())
    (attempt,) = stored(bench.pipeline)
    file_of(bench.pipeline, attempt).unlink()
    report = back_up(bench.pipeline, disk)
    (line,) = report.missing
    assert attempt.item_key in line
    assert "current" in line
    assert read_manifest(report.folder).missing == (line,)


def test_a_file_that_cannot_be_read_costs_only_itself(
    bench: Bench, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named as unread; all else is backed up."""
    bench.make_one(bench.prompt())
    bad = bench.pipeline.settings.output_dir / "bad.png"
    bad.write_bytes(b"x")
    real = Path.open

    def refuse(self: Path, *arguments: Any, **more: Any) -> Any:
        if self == bad:
            raise PermissionError(13, os.strerror(13), str(self))
        return real(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)
    report = back_up(bench.pipeline, disk)
    (line,) = report.unread
    assert str(bad) in line
    assert report.missing == []


def test_simulated_and_live_backups_are_not_mixed(bench: Bench, disk: Path) -> None:
    """A folder that holds the one kind refuses the other, before anything is written."""
    bench.make_one(bench.prompt())
    back_up(bench.pipeline, disk)
    live = Pipeline(load_settings(simulator_setting="0"))
    _ = live.ledger
    with pytest.raises(SetupError, match="never mixed"):
        back_up(live, disk)
    live.close()
    assert len(backups_in(disk)) == 1


def test_a_folder_among_the_pictures_is_refused(bench: Bench) -> None:
    """A backup must not become a part of the next one."""
    bench.make_one(bench.prompt())
    with pytest.raises(SetupError, match="is to be backed up"):
        back_up(bench.pipeline, bench.pipeline.settings.output_dir / "backup")


def test_another_database_than_sqlite_is_refused_with_the_tool_to_use(disk: Path) -> None:
    """For PostgreSQL pg_dump is named, and the address is shown without its password."""
    url = "postgresql://me:secret@db.example/ledger"
    pipeline = Pipeline(load_settings(ledger_address=url, simulator_setting="0"))
    with pytest.raises(SetupError) as error:
        back_up(pipeline, disk)
    assert "pg_dump" in error.value.sentence
    assert "secret" not in error.value.sentence
    assert not disk.exists()


def test_a_full_disk_is_told_before_anything_is_copied(
    bench: Bench, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room that is wanted is counted first; the backup before stays."""
    bench.make_one(bench.prompt())
    first = back_up(bench.pipeline, disk)
    bench.make_one(bench.prompt(text="a pier", stem="pier"))
    monkeypatch.setattr(backing, "_ROOM", 2**60)
    with pytest.raises(StoreError, match=r"has .* MB left"):
        back_up(bench.pipeline, disk)
    assert backups_in(disk) == [first.folder]


def test_a_backup_whose_list_is_damaged_does_not_stop_the_next(bench: Bench, disk: Path) -> None:
    """Everything is copied anew then, and the new one is whole."""
    bench.make_one(bench.prompt())
    first = back_up(bench.pipeline, disk)
    (first.folder / "manifest.json").write_text("{")
    second = back_up(bench.pipeline, disk)
    assert second.linked == 0
    whole(second.folder)


def test_the_users_database_is_copied_as_it_is_at_one_moment(bench: Bench, disk: Path) -> None:
    """What is committed is in the copy, with a writer at work too; an unchanged one is linked."""
    database = bench.pipeline.settings.prompt_db
    with sqlite3.connect(database) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE images (id INTEGER, prompt TEXT)")
        writer.execute("INSERT INTO images VALUES (1, 'a boat')")
        writer.commit()
        _ = bench.pipeline.ledger
        report = back_up(bench.pipeline, disk)
        copy = report.folder / "sources" / "prompt_db" / database.name
        with sqlite3.connect(f"file:{copy}?mode=ro", uri=True) as reader:
            assert reader.execute("SELECT prompt FROM images").fetchall() == [("a boat",)]
        reader.close()
    writer.close()
    second, third = back_up(bench.pipeline, disk), back_up(bench.pipeline, disk)
    places = [one.folder / "sources" / "prompt_db" / database.name for one in (second, third)]
    assert len({place.stat().st_ino for place in places}) == 1


def test_the_list_of_a_backup_is_plain_json(bench: Bench, disk: Path) -> None:
    """Other tools can read it, a line a file."""
    bench.make_one(bench.prompt())
    report = back_up(bench.pipeline, disk)
    facts = json.loads((report.folder / "manifest.json").read_text())
    assert facts["format"] == 1
    assert {"place", "path", "size", "sha256", "changed_ns"} == set(facts["files"][0])
