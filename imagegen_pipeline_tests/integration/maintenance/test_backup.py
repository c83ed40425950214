"""The backup: complete or absent, consistent beside writers, incremental in space."""

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
from imagegen_pipeline.maintenance import backup as backup_module
from imagegen_pipeline.maintenance.backup import BackupReport, back_up
from imagegen_pipeline.maintenance.backup_manifest import backups_in, read_manifest, unfinished_in
from imagegen_pipeline.maintenance.clean_up import carry_out, plan_clean_up
from imagegen_pipeline.maintenance.lock import maintenance_lock
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.results.attempt_rows import result_rows
from imagegen_pipeline.results.parquet import write_results
from imagegen_pipeline.settings import load_settings
from imagegen_pipeline_tests.integration.engine.harness import EngineHarness
from imagegen_pipeline_tests.integration.maintenance.conftest import (
    OLD_PICTURES,
    age_pictures,
    clean,
    file_of,
    stored,
)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The folder of backups."""
    return tmp_path / "disk" / "backups"


def create_results(harness: EngineHarness) -> None:
    """Two images of a prompt, a base image, an archived image, logs and tables."""
    prompt = harness.prompt()
    harness.make_one(prompt)
    harness.make_one(prompt, regenerate=True, intent="again")
    harness.make_base(harness.actor())
    age_pictures(harness.pipeline)
    assert [done.ok for done in clean(harness.pipeline)] == [True]
    logs = harness.pipeline.settings.log_dir
    open_log(logs)
    harness.make_one(prompt)
    write_results_log([{"success": True}], logs, time.time())
    write_results(result_rows(harness.pipeline.ledger), harness.pipeline.results_file)


def test_a_backup_holds_every_result_and_source_with_its_digest(
    harness: EngineHarness, disk: Path
) -> None:
    """Ledger, images, sidecars, previews, archives, logs, prompts and actors, but no key."""
    create_results(harness)
    (harness.project.root / ".env").write_text("DUOMI_API_KEY=secret\n")
    report = back_up(harness.pipeline, disk)
    assert report.folder.parent == disk
    assert (report.pictures, report.missing, report.unread, report.linked) == (3, [], [], 0)
    manifest = read_manifest(report.folder)
    assert manifest.simulated
    by_path = {(one.place, one.path): one for one in manifest.files}
    for attempt in stored(harness.pipeline):
        path = attempt.archive or str(attempt.path)
        assert by_path["data", path].size
        if attempt.archive is None:
            copy = report.folder / "data" / path
            assert copy.read_bytes() == file_of(harness.pipeline, attempt).read_bytes()
            assert by_path["data", path].sha256 == attempt.digest
    kinds = {Path(one.path).suffix for one in manifest.files}
    assert kinds >= {".png", ".json", ".webp", ".zip", ".log", ".db", ".parquet"}
    assert ("prompt_json", "boat.json") in by_path
    assert ("actors", "0100_sailor/actor.json") in by_path
    assert not any("env" in one.path or "thumbnail" in one.path for one in manifest.files)
    assert len(list(report.folder.rglob("*.*"))) >= len(manifest.files)


def test_unchanged_files_take_no_space_in_the_next_backup(
    harness: EngineHarness, disk: Path
) -> None:
    """An unchanged image is one file on disk in all backups; a new image is copied."""
    create_results(harness)
    first = back_up(harness.pipeline, disk)
    harness.make_one(harness.prompt(text="a pier", stem="pier"))
    second = back_up(harness.pipeline, disk)
    assert second.linked > 5
    current = str(stored(harness.pipeline)[1].path)
    inodes = {(one.folder / "data" / current).stat().st_ino for one in (first, second)}
    assert len(inodes) == 1
    (new,) = [str(one.path) for one in stored(harness.pipeline)][3:]
    assert not (first.folder / "data" / new).exists()
    assert (second.folder / "data" / new).is_file()
    assert second.copied_bytes < first.copied_bytes + 200_000


def test_a_changed_file_is_copied_and_the_older_backup_keeps_the_old_bytes(
    harness: EngineHarness, disk: Path
) -> None:
    """Each backup has the bytes of its time of a file that users overwrite."""
    harness.make_base(harness.actor())
    base = harness.pipeline.picture_path(stored(harness.pipeline)[0])
    before = base.read_bytes()
    first = back_up(harness.pipeline, disk)
    base.write_bytes(b"painted over")
    second = back_up(harness.pipeline, disk)
    place = f"data/{harness.pipeline.store.relative(base)}"
    assert (first.folder / place).read_bytes() == before
    assert (second.folder / place).read_bytes() == b"painted over"


def test_only_the_newest_backups_are_kept(harness: EngineHarness, disk: Path) -> None:
    """Older ones are removed once a new one is complete; shared files stay whole in the newer."""
    harness.make_one(harness.prompt())
    made = [back_up(harness.pipeline, disk, keep=2).folder for _ in range(4)]
    assert backups_in(disk) == made[2:]
    (attempt,) = stored(harness.pipeline)
    copy = made[3] / "data" / str(attempt.path)
    assert copy.read_bytes() == file_of(harness.pipeline, attempt).read_bytes()
    assert [one.name for one in disk.iterdir() if "removed" in one.name] == []


class CrashError(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("after", [1, 4, 8])
def test_an_interrupted_backup_is_hidden_and_the_next_one_finishes_it(
    after: int, harness: EngineHarness, disk: Path
) -> None:
    """Until then the previous backup is the newest one, and complete."""
    create_results(harness)
    first = back_up(harness.pipeline, disk)
    for stem in ("pier", "mole"):
        harness.make_one(harness.prompt(text=f"a {stem}", stem=stem))

    def crash(done: int, _of: int) -> None:
        if done == after:
            raise CrashError

    with pytest.raises(CrashError):
        back_up(harness.pipeline, disk, report_progress=crash)
    assert backups_in(disk) == [first.folder]
    assert len(unfinished_in(disk)) == 1
    last = back_up(harness.pipeline, disk)
    assert backups_in(disk) == [first.folder, last.folder]
    assert unfinished_in(disk) == []
    check_complete(last.folder)
    assert last.missing == []


def check_complete(folder: Path) -> None:
    """Assert that a backup has exactly the files of its manifest, with their digests."""
    manifest = read_manifest(folder)
    for one in manifest.files:
        assert backup_module.digest_of(folder / one.inside) == one.sha256, one
    there = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    assert there == {"manifest.json", *(str(one.inside) for one in manifest.files)}


def test_an_interrupted_first_backup_does_not_copy_all_files_again(
    harness: EngineHarness, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that were copied completely are used."""
    create_results(harness)
    files: list[int] = []

    def crash_at_the_end(done: int, of: int) -> None:
        files.append(of)
        if done == of:
            raise CrashError

    with pytest.raises(CrashError):
        back_up(harness.pipeline, disk, report_progress=crash_at_the_end)
    opened: list[Path] = []
    real = os.utime

    def recorded(path: Path, *times: Any, **named: Any) -> None:
        opened.append(path)
        real(path, *times, **named)

    monkeypatch.setattr("imagegen_pipeline.maintenance.backup.os.utime", recorded)
    report = back_up(harness.pipeline, disk)
    assert opened == [], "nothing was copied a second time"
    assert report.copied > files[0]
    check_complete(report.folder)


def test_a_backup_is_consistent_while_a_batch_runs(harness: EngineHarness, disk: Path) -> None:
    """Beside a writer, every image that the ledger copy names is in the backup."""
    prompts = harness.prompts(**{f"p{number}": f"a boat, number {number}" for number in range(40)})
    harness.make(prompts[:2])
    begun, ended = threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        for prompt in prompts[2:]:
            harness.make_one(prompt)
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait()
    reports: list[BackupReport] = []
    while not ended.is_set() or not reports:
        reports.append(back_up(harness.pipeline, disk, keep=10_000))
    thread.join()
    assert len(reports) > 1
    for report in reports:
        assert report.missing == []
        check_complete(report.folder)
    reports.append(back_up(harness.pipeline, disk, keep=10_000))
    assert reports[-1].pictures == 40
    assert reports[0].pictures < 40


def test_a_clean_up_is_refused_while_a_backup_runs(harness: EngineHarness, disk: Path) -> None:
    """No image is archived between the copy of the ledger and that of the files."""
    prompt = harness.prompt()
    harness.make_one(prompt)
    harness.make_one(prompt, regenerate=True, intent="again")
    age_pictures(harness.pipeline)
    plan = plan_clean_up(harness.pipeline, OLD_PICTURES)
    refused: list[str] = []

    def clean_meanwhile(_done: int, _of: int) -> None:
        with pytest.raises(SetupError) as error:
            list(carry_out(harness.pipeline, plan))
        refused.append(str(error.value))

    report = back_up(harness.pipeline, disk, report_progress=clean_meanwhile)
    assert refused
    assert report.missing == []
    with (
        maintenance_lock(harness.pipeline.settings.data_dir),
        pytest.raises(SetupError, match="is running"),
    ):
        back_up(harness.pipeline, disk)


def test_an_image_that_is_on_no_disk_is_named(harness: EngineHarness, disk: Path) -> None:
    """If a user deleted it, the backup is complete without it, and every report says so."""
    harness.make_one(harness.prompt())
    (attempt,) = stored(harness.pipeline)
    file_of(harness.pipeline, attempt).unlink()
    report = back_up(harness.pipeline, disk)
    (line,) = report.missing
    assert attempt.item_key in line
    assert "current" in line
    assert read_manifest(report.folder).missing == (line,)


def test_a_file_that_cannot_be_read_is_reported(
    harness: EngineHarness, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other files are backed up."""
    harness.make_one(harness.prompt())
    bad = harness.pipeline.settings.output_dir / "bad.png"
    bad.write_bytes(b"x")
    real = Path.open

    def refuse(self: Path, *arguments: Any, **more: Any) -> Any:
        if self == bad:
            raise PermissionError(13, os.strerror(13), str(self))
        return real(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)
    report = back_up(harness.pipeline, disk)
    (line,) = report.unread
    assert str(bad) in line
    assert report.missing == []


def test_simulated_and_live_backups_are_not_mixed(harness: EngineHarness, disk: Path) -> None:
    """A folder with backups of one kind refuses the other before anything is written."""
    harness.make_one(harness.prompt())
    back_up(harness.pipeline, disk)
    live = Pipeline(load_settings(simulator_setting="0"))
    _ = live.ledger
    with pytest.raises(SetupError, match="never mixed"):
        back_up(live, disk)
    live.close()
    assert len(backups_in(disk)) == 1


def test_a_folder_within_the_results_is_refused(harness: EngineHarness) -> None:
    """A backup must not be part of the next backup."""
    harness.make_one(harness.prompt())
    with pytest.raises(SetupError, match="which is backed up"):
        back_up(harness.pipeline, harness.pipeline.settings.output_dir / "backup")


def test_a_ledger_outside_of_sqlite_is_refused_with_the_tool_to_use(disk: Path) -> None:
    """The remedy names pg_dump, and the message shows the address without its password."""
    url = "postgresql://me:secret@db.example/ledger"
    pipeline = Pipeline(load_settings(ledger_address=url, simulator_setting="0"))
    with pytest.raises(SetupError) as error:
        back_up(pipeline, disk)
    assert "pg_dump" in error.value.sentence
    assert "secret" not in error.value.sentence
    assert not disk.exists()


def test_a_full_disk_is_refused_before_anything_is_copied(
    harness: EngineHarness, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The required space is computed first; the previous backup is kept."""
    harness.make_one(harness.prompt())
    first = back_up(harness.pipeline, disk)
    harness.make_one(harness.prompt(text="a pier", stem="pier"))
    monkeypatch.setattr(backup_module, "_SPARE_BYTES", 2**60)
    with pytest.raises(StoreError, match=r"has .* MB left"):
        back_up(harness.pipeline, disk)
    assert backups_in(disk) == [first.folder]


def test_a_damaged_manifest_does_not_stop_the_next_backup(
    harness: EngineHarness, disk: Path
) -> None:
    """Then every file is copied, and the new backup is complete."""
    harness.make_one(harness.prompt())
    first = back_up(harness.pipeline, disk)
    (first.folder / "manifest.json").write_text("{")
    second = back_up(harness.pipeline, disk)
    assert second.linked == 0
    check_complete(second.folder)


def test_the_copy_of_the_users_database_is_consistent(harness: EngineHarness, disk: Path) -> None:
    """It has what is committed, also beside a writer; an unchanged database is linked."""
    database = harness.pipeline.settings.prompt_db
    with sqlite3.connect(database) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE images (id INTEGER, prompt TEXT)")
        writer.execute("INSERT INTO images VALUES (1, 'a boat')")
        writer.commit()
        _ = harness.pipeline.ledger
        report = back_up(harness.pipeline, disk)
        copy = report.folder / "sources" / "prompt_db" / database.name
        with sqlite3.connect(f"file:{copy}?mode=ro", uri=True) as reader:
            assert reader.execute("SELECT prompt FROM images").fetchall() == [("a boat",)]
        reader.close()
    writer.close()
    second, third = back_up(harness.pipeline, disk), back_up(harness.pipeline, disk)
    places = [one.folder / "sources" / "prompt_db" / database.name for one in (second, third)]
    assert len({place.stat().st_ino for place in places}) == 1


def test_the_manifest_is_plain_json(harness: EngineHarness, disk: Path) -> None:
    """Other tools can read it; each file is a line."""
    harness.make_one(harness.prompt())
    report = back_up(harness.pipeline, disk)
    facts = json.loads((report.folder / "manifest.json").read_text())
    assert facts["format"] == 1
    assert {"place", "path", "size", "sha256", "changed_ns"} == set(facts["files"][0])
