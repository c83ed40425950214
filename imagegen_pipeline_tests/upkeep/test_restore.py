"""The restore: tried on a data folder that is gone, a damaged backup, and what is here already."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.ledger import Verdict
from imagegen_pipeline.maintenance.backup import back_up
from imagegen_pipeline.maintenance.backup_manifest import chosen_backup
from imagegen_pipeline.maintenance.restore import restore
from imagegen_pipeline.settings import load_settings
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator
from imagegen_pipeline_tests.engine.bench import Bench
from imagegen_pipeline_tests.upkeep.conftest import age_pictures, clean, file_of, stored

GENERATE = ("imagegen", "generate", "--source", "json", "--image-size", SMALL)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the ledger, locks and thumbnails, and its bytes."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "imagegen.db" not in file.name and ".lock" not in file.name
    }


@pytest.fixture
def backed_up(bench: Bench, tmp_path: Path) -> Path:
    """A backup of three pictures, one of them in an archive, one of them approved."""
    prompt = bench.prompt()
    bench.make_one(prompt)
    bench.make_one(prompt, regenerate=True, intent="again")
    age_pictures(bench.pipeline)
    clean(bench.pipeline)
    bench.make_base(bench.actor())
    bench.pipeline.ledger.reviews.decide([stored(bench.pipeline)[1].id], Verdict.APPROVED)
    return back_up(bench.pipeline, tmp_path / "disk").folder


def lose(bench: Bench) -> None:
    """The disk with the data folder is gone."""
    bench.pipeline.close()
    del bench.pipeline.__dict__["ledger"]
    shutil.rmtree(bench.project.data)


def test_after_a_loss_everything_is_back_and_nothing_is_bought_again(
    project: Project, simulator: Simulator, tmp_path: Path
) -> None:
    """Generate, back up, lose the data folder, restore, generate again: no bill, same results.
    All by the commands, as real processes.
    """
    for number in range(3):
        project.write_json(f"boat {number}", f"a boat, number {number}")
    project.run(*GENERATE)
    project.run(*GENERATE, "--regenerate", "--limit", "1")
    disk = str(tmp_path / "disk")
    assert "is whole, with 4 pictures" in project.run("imagegen", "backup", disk).stdout
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
    assert "is whole" in project.run("imagegen", "backup", disk).stdout
    listed = project.run("imagegen", "restore", disk, "--list").stdout
    assert listed.count("simulated") == 2
    assert "it is whole" in project.run("imagegen", "restore", disk, "--dry-run").stdout


def test_every_byte_is_back_where_it_was(bench: Bench, backed_up: Path) -> None:
    """Pictures, archives, sidecars, previews, logs and sources; verdicts and archives too."""
    before = tree(bench.project.data)
    old, approved, _ = stored(bench.pipeline)
    data = file_of(bench.pipeline, approved).read_bytes()
    lose(bench)
    report = restore(load_settings(), backed_up)
    assert (report.damaged, report.pictures, report.kept) == ([], [], [])
    assert tree(bench.project.data) == before
    there = stored(bench.pipeline)
    assert there[1].verdict == "approved"
    assert there[0].archive == old.archive
    assert bench.pipeline.engine_context.extract_picture(there[0])
    assert file_of(bench.pipeline, there[1]).read_bytes() == data
    bench.make_one(bench.prompt())
    bench.make_base(bench.actor())
    assert (bench.simulator.billed(), bench.simulator.billed("runpod")) == (2, 1)


def test_a_dry_run_reads_everything_and_writes_nothing(bench: Bench, backed_up: Path) -> None:
    """It says whether the backup is whole, and the data folder is not even made."""
    lose(bench)
    assert restore(load_settings(), backed_up, dry_run=True).damaged == []
    assert not bench.project.data.exists()
    (picture, *_) = sorted((backed_up / "data" / "generated_images").glob("*.png"))
    picture.unlink()
    report = restore(load_settings(), backed_up, dry_run=True)
    assert report.damaged == [f"generated_images/{picture.name}"]
    assert report.pictures == ["json-boat-" + report.pictures[0].rpartition("-")[2]]


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_what_is_damaged_is_named_and_all_else_is_restored(
    how: str, bench: Bench, backed_up: Path
) -> None:
    """A picture of other bytes than its digest never gets to its place."""
    (picture,) = (backed_up / "data" / "generated_images").glob("*.png")
    whole = picture.read_bytes()
    picture.unlink()  # a hard link's other names stay whole
    if how != "gone":
        picture.write_bytes(whole[:-5] if how == "cut" else whole[:50] + b"?" + whole[51:])
    lose(bench)
    report = restore(load_settings(), backed_up)
    assert report.damaged == [f"generated_images/{picture.name}"]
    assert len(report.pictures) == 1
    assert not (bench.project.results / "generated_images" / picture.name).exists()
    assert len(stored(bench.pipeline)) == 3
    assert bench.make_base(bench.actor()).ok
    assert bench.simulator.billed("runpod") == 1


def test_a_damaged_ledger_is_refused_before_anything_is_written(
    bench: Bench, backed_up: Path
) -> None:
    """Without a whole ledger the pictures would be bought again, so another backup is asked for."""
    file = backed_up / "ledger" / "imagegen.db"
    file.write_bytes(file.read_bytes()[:-100])
    lose(bench)
    with pytest.raises(SetupError, match=r"ledger .* is damaged or missing") as error:
        restore(load_settings(), backed_up)
    assert "another backup" in error.value.remedy
    assert not bench.project.data.exists()


def test_a_ledger_that_was_used_is_never_overwritten(bench: Bench, backed_up: Path) -> None:
    """A data folder in use is refused at once: not even what is missing in it is written."""
    (bench.project.results / "generated_images" / ".imagegen").rename(bench.project.root / "gone")
    before = tree(bench.project.data)
    attempts = len(bench.attempts())
    with pytest.raises(SetupError, match=f"with {attempts} attempts"):
        restore(load_settings(), backed_up)
    assert tree(bench.project.data) == before
    assert len(bench.attempts()) == attempts


def test_a_ledger_that_has_only_looked_makes_room(bench: Bench, backed_up: Path) -> None:
    """Somebody ran `imagegen results` first: its empty ledger is no reason to refuse."""
    lose(bench)
    bench.project.data.mkdir()
    bench.project.run("imagegen", "results")
    assert (bench.project.results / "imagegen.db").is_file()
    restore(load_settings(), backed_up)
    assert len(stored(bench.pipeline)) == 3


def test_a_file_that_differs_is_refused_and_an_equal_one_is_fine(
    bench: Bench, backed_up: Path
) -> None:
    """Nothing is overwritten; a restore that was interrupted is finished by running it again."""
    out = bench.project.results / "generated_images"
    (name,) = [file.name for file in out.glob("*.png")]
    lose(bench)
    out.mkdir(parents=True)
    (out / name).write_bytes(b"another picture")
    with pytest.raises(SetupError, match="differ") as error:
        restore(load_settings(), backed_up)
    assert name in str(error.value)
    assert (out / name).read_bytes() == b"another picture"
    assert not (bench.project.results / "imagegen.db").exists()
    shutil.copy(backed_up / "data" / "generated_images" / name, out / name)
    report = restore(load_settings(), backed_up)
    assert report.there == 1
    assert report.damaged == []


def test_prompts_that_were_edited_since_are_left(bench: Bench, backed_up: Path) -> None:
    """Sources are the users' own: a differing one stays as it is and is named."""
    lose(bench)
    mine = bench.project.write_json("boat", "a newer text")
    report = restore(load_settings(), backed_up)
    assert report.kept == [str(mine)]
    assert json.loads(mine.read_text())["image_prompt"] == "a newer text"


class CrashError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("after", [1, 5])
def test_an_interrupted_restore_has_no_ledger_yet_and_is_finished_by_the_next(
    after: int, bench: Bench, backed_up: Path
) -> None:
    """The ledger comes last: there is never one that names pictures which are not there."""
    before = tree(bench.project.data)
    lose(bench)

    def crash(done: int, _of: int) -> None:
        if done == after:
            raise CrashError

    with pytest.raises(CrashError):
        restore(load_settings(), backed_up, tell=crash)
    assert not (bench.project.results / "imagegen.db").exists()
    report = restore(load_settings(), backed_up)
    assert report.there == after
    assert tree(bench.project.data) == before
    assert len(stored(bench.pipeline)) == 3


def test_simulated_pictures_never_come_among_live_ones(bench: Bench, backed_up: Path) -> None:
    """A simulated backup is refused in live work, with the switch to set."""
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
def test_a_list_that_leads_outside_is_refused(
    place: str, path: str, bench: Bench, backed_up: Path
) -> None:
    """A backup that somebody has tampered with writes nothing anywhere."""
    manifest = backed_up / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["files"][1] |= {"place": place, "path": path}
    manifest.write_text(json.dumps(facts))
    lose(bench)
    with pytest.raises(SetupError, match="not the list of a whole backup"):
        restore(load_settings(), backed_up)
    assert not bench.project.data.exists()


def test_files_outside_of_the_settings_folders_want_a_word(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures that lay in another folder come back only where a setting, or a flag, says so."""
    away = tmp_path / "away"
    settings = load_settings(simulator_setting="0", output_path=away)
    live = bench.project.pipeline()
    live.settings = settings
    bench.make_one(bench.prompt())
    (attempt,) = stored(bench.pipeline)
    away.mkdir()
    shutil.copy(file_of(bench.pipeline, attempt), away / "boat.png")
    bench.project.data.joinpath("imagegen.db").write_bytes(
        _ledger_that_names(bench, away / "boat.png")
    )
    backup = back_up(live, tmp_path / "disk").folder
    live.close()
    shutil.rmtree(away)
    (bench.project.data / "imagegen.db").unlink()
    with pytest.raises(SetupError, match="which no setting names") as error:
        restore(load_settings(simulator_setting="0"), backup)
    assert "IMAGEGEN_OUTPUT_DIR" in error.value.remedy
    assert not away.exists()
    report = restore(load_settings(simulator_setting="0"), backup, elsewhere=True)
    assert report.damaged == []
    assert (away / "boat.png").is_file()


def _ledger_that_names(bench: Bench, file: Path) -> bytes:
    """The ledger's bytes, with its one picture at that path."""
    import sqlite3

    target = file.parent / "ledger.db"
    with sqlite3.connect(bench.project.results / "imagegen.db") as source:
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


def test_dagster_can_be_told_anew(bench: Bench, backed_up: Path) -> None:
    """Where Dagster's own records are lost too, every current picture is reported again."""
    ids = [one.id for one in stored(bench.pipeline)]
    bench.pipeline.ledger.attempts.reported(ids)
    backup = back_up(bench.pipeline, backed_up.parent).folder
    lose(bench)
    restore(load_settings(), backup)
    assert bench.pipeline.ledger.attempts.unreported() == []
    lose(bench)
    restore(load_settings(), backup, report_to_dagster=True)
    assert [one.id for one in bench.pipeline.ledger.attempts.unreported()] == ids[1:]


def test_the_backup_that_is_meant_can_be_named(bench: Bench, backed_up: Path) -> None:
    """The newest, one by its name, or its own folder; else the choices are said."""
    newer = back_up(bench.pipeline, backed_up.parent).folder
    folder = backed_up.parent
    assert chosen_backup(folder, None) == newer
    assert chosen_backup(folder, backed_up.name) == backed_up
    assert chosen_backup(backed_up, None) == backed_up
    with pytest.raises(SetupError, match="no whole backup 2001") as error:
        chosen_backup(folder, "2001")
    assert newer.name in error.value.remedy
    with pytest.raises(SetupError, match="no whole backup"):
        chosen_backup(bench.project.root / "nowhere", None)


def test_restored_files_are_as_old_as_they_were(bench: Bench, backed_up: Path) -> None:
    """So that the next backup finds nothing changed, and a clean-up counts right."""
    lose(bench)
    restore(load_settings(), backed_up)
    report = back_up(bench.pipeline, backed_up.parent)
    assert report.copied == 1, "only the ledger"
    assert report.linked > 5
