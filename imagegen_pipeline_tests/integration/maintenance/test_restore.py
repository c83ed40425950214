"""The restore: into an empty data folder, from a damaged backup, and over existing files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.ledger import Verdict
from imagegen_pipeline.maintenance.backup import back_up
from imagegen_pipeline.maintenance.backup_manifest import select_backup
from imagegen_pipeline.maintenance.restore import restore
from imagegen_pipeline.settings import load_settings
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator
from imagegen_pipeline_tests.integration.engine.harness import EngineHarness
from imagegen_pipeline_tests.integration.maintenance.conftest import (
    age_pictures,
    clean,
    file_of,
    stored,
)

GENERATE = ("imagegen", "generate", "--source", "json", "--image-size", SMALL)


def tree(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder except the ledger and locks."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "imagegen.db" not in file.name and ".lock" not in file.name
    }


@pytest.fixture
def backed_up(harness: EngineHarness, tmp_path: Path) -> Path:
    """A backup of three images, one of them archived, one of them approved."""
    prompt = harness.prompt()
    harness.make_one(prompt)
    harness.make_one(prompt, regenerate=True, intent="again")
    age_pictures(harness.pipeline)
    clean(harness.pipeline)
    harness.make_base(harness.actor())
    harness.pipeline.ledger.reviews.decide([stored(harness.pipeline)[1].id], Verdict.APPROVED)
    return back_up(harness.pipeline, tmp_path / "disk").folder


def delete_data(harness: EngineHarness) -> None:
    """Delete the data folder, as when its disk fails."""
    harness.pipeline.close()
    del harness.pipeline.__dict__["ledger"]
    shutil.rmtree(harness.project.data)


def test_after_a_loss_a_restore_prevents_every_new_bill(
    project: Project, simulator: Simulator, tmp_path: Path
) -> None:
    """Generate, back up, delete the data folder, restore, generate again: no bill, same results.
    Every step is a command in its own process.
    """
    for number in range(3):
        project.write_json(f"boat {number}", f"a boat, number {number}")
    project.run(*GENERATE)
    project.run(*GENERATE, "--regenerate", "--limit", "1")
    disk = str(tmp_path / "disk")
    assert "is complete, with 4 images" in project.run("imagegen", "backup", disk).stdout
    results = project.run("imagegen", "results", "--format", "json").stdout
    pictures = tree(project.results / "generated_images")
    bills = simulator.billed()
    assert bills == 4

    shutil.rmtree(project.data)
    assert "Restored" in project.run("imagegen", "restore", disk).stdout
    again = project.run(*GENERATE)
    assert "3 reused" in again.stdout + again.stderr
    assert simulator.billed() == bills
    assert tree(project.results / "generated_images") == pictures
    assert project.run("imagegen", "results", "--format", "json").stdout == results
    assert "is complete" in project.run("imagegen", "backup", disk).stdout
    listed = project.run("imagegen", "restore", disk, "--list").stdout
    assert listed.count("simulated") == 2
    assert "it is complete" in project.run("imagegen", "restore", disk, "--dry-run").stdout


def test_every_file_is_restored_byte_for_byte(harness: EngineHarness, backed_up: Path) -> None:
    """Images, archives, sidecars, previews, logs and sources; verdicts and archive paths too."""
    before = tree(harness.project.data)
    old, approved, _ = stored(harness.pipeline)
    data = file_of(harness.pipeline, approved).read_bytes()
    delete_data(harness)
    report = restore(load_settings(), backed_up)
    assert (report.damaged, report.pictures, report.kept) == ([], [], [])
    assert tree(harness.project.data) == before
    there = stored(harness.pipeline)
    assert there[1].verdict == "approved"
    assert there[0].archive == old.archive
    assert harness.pipeline.engine_context.extract_picture(there[0])
    assert file_of(harness.pipeline, there[1]).read_bytes() == data
    harness.make_one(harness.prompt())
    harness.make_base(harness.actor())
    assert (harness.simulator.billed(), harness.simulator.billed("runpod")) == (2, 1)


def test_a_dry_run_reads_everything_and_writes_nothing(
    harness: EngineHarness, backed_up: Path
) -> None:
    """It reports whether the backup is complete, and does not create the data folder."""
    delete_data(harness)
    assert restore(load_settings(), backed_up, dry_run=True).damaged == []
    assert not harness.project.data.exists()
    (picture, *_) = sorted((backed_up / "data" / "generated_images").glob("*.png"))
    picture.unlink()
    report = restore(load_settings(), backed_up, dry_run=True)
    assert report.damaged == [f"generated_images/{picture.name}"]
    assert report.pictures == ["json-boat-" + report.pictures[0].rpartition("-")[2]]


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_damaged_files_are_named_and_the_others_are_restored(
    how: str, harness: EngineHarness, backed_up: Path
) -> None:
    """An image whose bytes differ from its digest is never restored."""
    (picture,) = (backed_up / "data" / "generated_images").glob("*.png")
    whole = picture.read_bytes()
    picture.unlink()  # not written over: other hard links share the bytes
    if how != "gone":
        picture.write_bytes(whole[:-5] if how == "cut" else whole[:50] + b"?" + whole[51:])
    delete_data(harness)
    report = restore(load_settings(), backed_up)
    assert report.damaged == [f"generated_images/{picture.name}"]
    assert len(report.pictures) == 1
    assert not (harness.project.results / "generated_images" / picture.name).exists()
    assert len(stored(harness.pipeline)) == 3
    assert harness.make_base(harness.actor()).ok
    assert harness.simulator.billed("runpod") == 1


def test_a_damaged_ledger_is_refused_before_anything_is_written(
    harness: EngineHarness, backed_up: Path
) -> None:
    """Without its ledger every image would be bought again, so another backup is required."""
    file = backed_up / "ledger" / "imagegen.db"
    file.write_bytes(file.read_bytes()[:-100])
    delete_data(harness)
    with pytest.raises(SetupError, match=r"ledger .* is damaged or missing") as error:
        restore(load_settings(), backed_up)
    assert "another backup" in error.value.remedy
    assert not harness.project.data.exists()


def test_a_used_ledger_is_never_overwritten(harness: EngineHarness, backed_up: Path) -> None:
    """A data folder in use is refused before anything is written."""
    (harness.project.results / "generated_images" / ".imagegen").rename(
        harness.project.root / "gone"
    )
    before = tree(harness.project.data)
    attempts = len(harness.attempts())
    with pytest.raises(SetupError, match=f"ledger with {attempts} attempts"):
        restore(load_settings(), backed_up)
    assert tree(harness.project.data) == before
    assert len(harness.attempts()) == attempts


def test_an_empty_ledger_is_replaced(harness: EngineHarness, backed_up: Path) -> None:
    """A command such as `imagegen results` that ran first does not block the restore."""
    delete_data(harness)
    harness.project.data.mkdir()
    harness.project.run("imagegen", "results")
    assert (harness.project.results / "imagegen.db").is_file()
    restore(load_settings(), backed_up)
    assert len(stored(harness.pipeline)) == 3


def test_a_differing_file_is_refused_and_an_equal_one_is_accepted(
    harness: EngineHarness, backed_up: Path
) -> None:
    """Nothing is overwritten; running an interrupted restore again finishes it."""
    out = harness.project.results / "generated_images"
    (name,) = [file.name for file in out.glob("*.png")]
    delete_data(harness)
    out.mkdir(parents=True)
    (out / name).write_bytes(b"another picture")
    with pytest.raises(SetupError, match="1 existing files differ") as error:
        restore(load_settings(), backed_up)
    assert name in str(error.value)
    assert (out / name).read_bytes() == b"another picture"
    assert not (harness.project.results / "imagegen.db").exists()
    shutil.copy(backed_up / "data" / "generated_images" / name, out / name)
    report = restore(load_settings(), backed_up)
    assert report.there == 1
    assert report.damaged == []


def test_prompts_that_were_edited_since_are_kept(harness: EngineHarness, backed_up: Path) -> None:
    """Sources belong to the users: one that differs is kept and named."""
    delete_data(harness)
    edited = harness.project.write_json("boat", "a newer text")
    report = restore(load_settings(), backed_up)
    assert report.kept == [str(edited)]
    assert json.loads(edited.read_text())["image_prompt"] == "a newer text"


class CrashError(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("after", [1, 5])
def test_an_interrupted_restore_has_no_ledger_and_the_next_one_finishes_it(
    after: int, harness: EngineHarness, backed_up: Path
) -> None:
    """The ledger is written last, so it never names images that are not restored."""
    before = tree(harness.project.data)
    delete_data(harness)

    def crash(done: int, _of: int) -> None:
        if done == after:
            raise CrashError

    with pytest.raises(CrashError):
        restore(load_settings(), backed_up, report_progress=crash)
    assert not (harness.project.results / "imagegen.db").exists()
    report = restore(load_settings(), backed_up)
    assert report.there == after
    assert tree(harness.project.data) == before
    assert len(stored(harness.pipeline)) == 3


def test_simulated_and_live_images_are_never_mixed(harness: EngineHarness, backed_up: Path) -> None:
    """A simulated backup is refused in live mode; the remedy names the setting."""
    with pytest.raises(SetupError, match="never mixed") as error:
        restore(load_settings(simulator_setting="0"), backed_up)
    assert "IMAGEGEN_SIMULATOR=1" in error.value.remedy


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("data", "../../outside.png"),
        ("data", "/etc/outside.png"),
        ("elsewhere", "relative.png"),
        ("nowhere", "x.png"),
        ("data", ""),
    ],
)
def test_a_manifest_with_paths_outside_of_the_backup_is_refused(
    place: str, path: str, harness: EngineHarness, backed_up: Path
) -> None:
    """A backup that was tampered with writes nothing."""
    manifest = backed_up / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["files"][1] |= {"place": place, "path": path}
    manifest.write_text(json.dumps(facts))
    delete_data(harness)
    with pytest.raises(SetupError, match="not a valid manifest"):
        restore(load_settings(), backed_up)
    assert not harness.project.data.exists()


def test_files_outside_of_the_settings_folders_need_a_setting_or_flag(
    harness: EngineHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of another folder are restored there only if a setting or flag allows it."""
    away = tmp_path / "away"
    settings = load_settings(simulator_setting="0", output_path=away)
    live = harness.project.pipeline()
    live.settings = settings
    harness.make_one(harness.prompt())
    (attempt,) = stored(harness.pipeline)
    away.mkdir()
    shutil.copy(file_of(harness.pipeline, attempt), away / "boat.png")
    harness.project.data.joinpath("imagegen.db").write_bytes(
        _ledger_naming(harness, away / "boat.png")
    )
    backup = back_up(live, tmp_path / "disk").folder
    live.close()
    shutil.rmtree(away)
    (harness.project.data / "imagegen.db").unlink()
    with pytest.raises(SetupError, match="no setting names these folders") as error:
        restore(load_settings(simulator_setting="0"), backup)
    assert "IMAGEGEN_OUTPUT_DIR" in error.value.remedy
    assert not away.exists()
    report = restore(load_settings(simulator_setting="0"), backup, elsewhere=True)
    assert report.damaged == []
    assert (away / "boat.png").is_file()


def _ledger_naming(harness: EngineHarness, file: Path) -> bytes:
    """The bytes of a ledger whose only image has that path."""
    import sqlite3

    target = file.parent / "ledger.db"
    with sqlite3.connect(harness.project.results / "imagegen.db") as source:
        copy = sqlite3.connect(target)
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.execute("UPDATE attempts SET path = ?, folder = ?", (str(file), str(file.parent)))
        copy.commit()
        copy.close()
    source.close()
    data = target.read_bytes()
    target.unlink()
    return data


def test_current_images_can_be_reported_to_dagster_again(
    harness: EngineHarness, backed_up: Path
) -> None:
    """For when Dagster's own records are lost too."""
    ids = [one.id for one in stored(harness.pipeline)]
    harness.pipeline.ledger.attempts.reported(ids)
    backup = back_up(harness.pipeline, backed_up.parent).folder
    delete_data(harness)
    restore(load_settings(), backup)
    assert harness.pipeline.ledger.attempts.unreported() == []
    delete_data(harness)
    restore(load_settings(), backup, report_to_dagster=True)
    assert [one.id for one in harness.pipeline.ledger.attempts.unreported()] == ids[1:]


def test_a_backup_is_selected_by_name_or_the_newest_is_used(
    harness: EngineHarness, backed_up: Path
) -> None:
    """The newest, one by its name, or its own folder; otherwise the error lists the backups."""
    newer = back_up(harness.pipeline, backed_up.parent).folder
    folder = backed_up.parent
    assert select_backup(folder, None) == newer
    assert select_backup(folder, backed_up.name) == backed_up
    assert select_backup(backed_up, None) == backed_up
    with pytest.raises(SetupError, match="no complete backup 2001") as error:
        select_backup(folder, "2001")
    assert newer.name in error.value.remedy
    with pytest.raises(SetupError, match="no complete backup"):
        select_backup(harness.project.root / "nowhere", None)


def test_restored_files_keep_their_modification_time(
    harness: EngineHarness, backed_up: Path
) -> None:
    """The next backup finds nothing changed, and a clean-up computes the right age."""
    delete_data(harness)
    restore(load_settings(), backed_up)
    report = back_up(harness.pipeline, backed_up.parent)
    assert report.copied == 1, "only the ledger"
    assert report.linked > 5
