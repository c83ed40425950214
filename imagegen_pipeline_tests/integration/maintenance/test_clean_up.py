"""The clean-up: it removes only old files of this program, and only those of its plan."""

from __future__ import annotations

import fcntl
import gzip
import json
import logging
from pathlib import Path

import pytest

from imagegen_pipeline import DuomiImageGenerator
from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.legacy.logs import LOG_NAME, open_log
from imagegen_pipeline.maintenance import discovery
from imagegen_pipeline.maintenance.clean_up import carry_out, plan_clean_up
from imagegen_pipeline.maintenance.plan import ActionType, CleanUpPart, CleanUpPlan, RetentionPolicy
from imagegen_pipeline.storage.atomic_files import temporary_file
from imagegen_pipeline_tests.integration.engine.harness import EngineHarness
from imagegen_pipeline_tests.integration.maintenance.conftest import (
    age_file,
    age_pictures,
    clean,
    file_of,
    names,
    stored,
)

DEFAULT = RetentionPolicy()
PNG = b"\x89PNG\r\n\x1a\n"


def write(file: Path, data: bytes = b"x", *, days: float = 0) -> Path:
    """Write a file that is so many days old."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    age_file(file, days)
    return file


def tree(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder except the ledger."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith("imagegen.db")
    }


def test_old_logs_and_quarantined_files_are_deleted(harness: EngineHarness) -> None:
    """JSON logs and quarantined files older than 90 days are deleted, younger ones kept."""
    data, logs = harness.pipeline.settings.data_dir, harness.pipeline.settings.log_dir
    old = write(logs / "duomi_generation_results_20250101_000000.json", days=91)
    young = write(logs / "duomi_generation_results_20250301_000000.json", days=89)
    bad = write(data / "quarantine" / "boat_20250101_000000_0a1b2c3d.bin", days=91)
    why = write(data / "quarantine" / "boat_20250101_000000_0a1b2c3d.txt", days=91)
    theirs = [write(logs / "my notes.json", days=900), write(data / "quarantine" / "a", days=900)]
    assert {done.action.file for done in clean(harness.pipeline, DEFAULT)} == {old, bad, why}
    assert not any(file.exists() for file in (old, bad, why))
    assert all(file.exists() for file in (young, *theirs))


def test_a_dry_run_writes_nothing(harness: EngineHarness) -> None:
    """Every byte of the data folder is as before."""
    harness.make_one(harness.prompt())
    harness.make_one(harness.prompt(), regenerate=True, intent="again")
    age_pictures(harness.pipeline)
    data = harness.pipeline.settings.data_dir
    write(data / "logs" / "duomi_generation_results_20250101_000000.json", days=91)
    before = tree(data)
    plan = plan_clean_up(harness.pipeline, RetentionPolicy(pictures=10, untracked=True))
    assert len(plan.actions) == 2
    assert plan.totals()[CleanUpPart.LOGS, ActionType.DELETE].files == 1
    assert tree(data) == before


def test_a_large_running_log_is_rotated_then_compressed_then_deleted(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is lost: a process that has the log open starts a new one."""
    monkeypatch.setattr(discovery, "MAX_RUNNING_LOG", 1000)
    logs = harness.pipeline.settings.log_dir
    running = open_log(logs)
    log = logging.getLogger("imagegen_pipeline.test")
    log.info("before %s", "x" * 1000)
    (done,) = clean(harness.pipeline, DEFAULT)
    assert (done.ok, done.action.type) == (True, ActionType.ROTATE)
    log.info("afterwards")
    assert "afterwards" in running.read_text()
    assert "before" not in running.read_text()
    (rotated,) = logs.glob("duomi_image_generation_*.log")
    assert "before" in rotated.read_text()
    assert clean(harness.pipeline, DEFAULT) == [], "a process may still write its last lines"
    age_file(rotated, 2)
    assert [done.action.type for done in clean(harness.pipeline, DEFAULT)] == [ActionType.COMPRESS]
    packed = rotated.with_name(f"{rotated.name}.gz")
    assert b"before" in gzip.decompress(packed.read_bytes())
    assert sorted(one.name for one in logs.iterdir()) == sorted([LOG_NAME, packed.name])
    age_file(packed, 90)
    assert [done.action.type for done in clean(harness.pipeline, DEFAULT)] == [ActionType.DELETE]


def test_a_note_is_deleted_only_after_its_image_is_stored(harness: EngineHarness) -> None:
    """A job id or image that was saved separately may be the only copy of a paid image."""
    stored_one = harness.make_one(harness.prompt()).attempt
    assert stored_one is not None
    open_one = harness.plan(harness.prompt(stem="pier"))
    failed = harness.plan(harness.prompt(stem="mole"), file_stem="mole")
    harness.pipeline.ledger.attempts.failed(failed, SetupError("No."))
    store, aside = (
        harness.pipeline.store,
        harness.pipeline.settings.data_dir / ".imagegen" / "aside",
    )
    store.rescue(stored_one, b"the picture")
    store.note_job(stored_one, "job", "endpoint")
    for attempt in (open_one, failed):
        store.rescue(attempt, b"the only copy")
    write(aside / f"999-{'0' * 16}.picture", b"of a ledger that is gone")
    for file in aside.iterdir():
        age_file(file, 8)
    assert names(done.action for done in clean(harness.pipeline, DEFAULT)) == {
        f"{stored_one.id}-{stored_one.sent_fingerprint[:16]}{suffix}"
        for suffix in (".json", ".picture")
    }
    assert store.rescued(open_one) == store.rescued(failed) == b"the only copy"
    assert len(list(aside.iterdir())) == 3


def test_previews_and_sidecars_without_their_image_are_deleted(harness: EngineHarness) -> None:
    """Those of images that exist, are archived, current or expected are kept."""
    prompt = harness.prompt()
    for number in range(3):
        harness.make_one(prompt, regenerate=number > 0, intent=f"run {number}")
    deleted, archived, _ = stored(harness.pipeline)
    folder, hidden = harness.pipeline.settings.output_dir, harness.pipeline.settings.data_dir
    preview = write(hidden / ".imagegen" / "previews" / "00" / f"{'0' * 64}.webp")
    thumbnail = write(hidden / ".imagegen" / "thumbnails" / "00" / f"{'0' * 64}.webp")
    theirs = write(folder / ".imagegen" / "notes.json", b"{}")
    file_of(harness.pipeline, deleted).unlink()
    age_pictures(harness.pipeline)
    assert names(done.action for done in clean(harness.pipeline)) == {
        file_of(harness.pipeline, archived).name
    }
    for file in (*hidden.rglob("*.webp"), *folder.rglob("*.json")):
        age_file(file, 8)
    lonely = folder / ".imagegen" / f"{file_of(harness.pipeline, deleted).name}.json"
    gone = {done.action.file for done in clean(harness.pipeline, DEFAULT)}
    assert gone == {preview, thumbnail, lonely}
    assert theirs.exists()
    assert all(harness.pipeline.store.preview(one.digest or "") for one in stored(harness.pipeline))
    assert (folder / ".imagegen" / f"{file_of(harness.pipeline, archived).name}.json").exists()


def test_half_written_files_of_dead_processes_are_deleted(harness: EngineHarness) -> None:
    """After a day; hidden files of users are kept."""
    harness.make_one(harness.prompt())
    harness.make_base(harness.actor())
    data, out = harness.pipeline.settings.data_dir, harness.pipeline.settings.output_dir
    base = data / "actors" / "0100_sailor" / "base_image"
    left = [
        temporary_file(out / "db_boat_20250101_000000.png", PNG + b"half"),
        temporary_file(base / "0100_sailor_base.png", PNG + b"half"),
        temporary_file(base / "history" / "0100_sailor_base_2025.jpg", b"\xff\xd8\xff half"),
        temporary_file(out / ".imagegen" / "db_boat.png.json", b"{"),
        temporary_file(data / ".imagegen" / "previews" / "x.webp", b""),
        write(data / ".generation_results.parquet.12345"),
        temporary_file(data / "approved_pictures.parquet", b"PAR1"),
        temporary_file(
            write(data / "generation_results.parquet" / "part-000000.parquet"),
            b"PAR1",
        ),
        temporary_file(
            data / "logs" / write(data / "logs" / "duomi_generation_results_1.json").name, b"["
        ),
    ]
    (data / "archive").mkdir()
    left.append(temporary_file(data / "archive" / "pictures-20250101_000000.zip", b"PK"))
    young = temporary_file(out / "db_pier_20250101_000000.png", PNG)
    theirs = [
        write(out / ".notes.markdown", b"# my own", days=900),
        write(out / ".DS_Store", b"x", days=900),
        write(base / ".settings.yamlfile", b"a: b", days=900),
        write(data / ".env.template", b"KEY=", days=900),
    ]
    for file in left:
        age_file(file, 1.5)
    done = clean(harness.pipeline, DEFAULT)
    assert {one.action.file for one in done} == set(left)
    assert not any(file.exists() for file in left)
    assert all(file.exists() for file in (young, *theirs))


def test_files_of_users_beside_the_images_are_named_and_never_touched(
    harness: EngineHarness,
) -> None:
    """Files without a sidecar, links and named copies are kept, whatever the policy."""
    generator = DuomiImageGenerator(pipeline=harness.pipeline)
    generator.default_params["image_size"] = "64x64"
    copy = Path(str(generator.save_generated_image(generator.generate_image("a dragon"), "mine")))
    out = harness.pipeline.settings.output_dir
    theirs = write(out / "holiday.png", PNG + b"my own", days=900)
    text = write(out / "notes.txt", days=900)
    (out / "best of").mkdir()
    inside = write(out / "best of" / "boat.png", PNG, days=900)
    (out / "link.png").symlink_to(theirs)
    extra = harness.pipeline.store.keep(
        file_of(harness.pipeline, stored(harness.pipeline)[0]).read_bytes(),
        "generated_images",
        f"{stored(harness.pipeline)[0].file_stem}.2",
        {"key": "prompt-a-dragon"},
    )
    age_pictures(harness.pipeline, 900)
    for file in (copy, out / Path(extra.path).name):
        age_file(file, 900)
    policy = RetentionPolicy(pictures=1, untracked=True, orphans=1)
    plan = plan_clean_up(harness.pipeline, policy)
    assert plan.not_ours == (theirs, text)
    assert clean(harness.pipeline, plan=plan) == []
    assert all(file.exists() for file in (copy, theirs, text, inside, out / "link.png"))
    assert (out / Path(extra.path).name).exists()


def test_untracked_images_are_archived_on_request_only(harness: EngineHarness) -> None:
    """They may belong to another ledger: by default a note counts them."""
    data = stored_bytes(harness)
    harness.pipeline.store.keep(data, "generated_images", "untracked", {"key": "db-7"})
    file = harness.pipeline.settings.output_dir / "untracked.png"
    age_file(file, 30)
    plan = plan_clean_up(harness.pipeline, DEFAULT)
    assert plan.actions == ()
    assert "names 1 pictures" in plan.notes[0]
    assert "--untracked" in plan.notes[0]
    (done,) = clean(harness.pipeline, RetentionPolicy(untracked=True))
    assert (done.ok, done.action.file) == (True, file)
    assert not file.exists()
    (zipped,) = (harness.pipeline.settings.data_dir / "archive").glob("untracked-*.zip")
    from imagegen_pipeline.storage.archives import read_picture

    assert read_picture(zipped, str(done.action.digest)) == data


def stored_bytes(harness: EngineHarness) -> bytes:
    """Generate an image and return its bytes."""
    harness.make_one(harness.prompt())
    return file_of(harness.pipeline, stored(harness.pipeline)[0]).read_bytes()


def test_an_image_that_a_user_edited_is_kept(harness: EngineHarness) -> None:
    """Its sidecar has another digest, so it belongs to the user."""
    harness.pipeline.store.keep(
        stored_bytes(harness), "generated_images", "untracked", {"key": "db-7"}
    )
    file = harness.pipeline.settings.output_dir / "untracked.png"
    file.write_bytes(PNG + b"painted over")
    age_file(file, 30)
    assert clean(harness.pipeline, RetentionPolicy(untracked=True)) == []
    assert file.exists()


def test_a_file_that_changed_since_the_plan_is_kept(harness: EngineHarness) -> None:
    """It was rewritten or removed between planning and clean-up."""
    logs = harness.pipeline.settings.log_dir
    first = write(logs / "duomi_generation_results_20250101_000000.json", days=91)
    second = write(logs / "duomi_generation_results_20250102_000000.json", days=91)
    plan = plan_clean_up(harness.pipeline, DEFAULT)
    first.write_text("rewritten")
    second.unlink()
    assert [bool(done.skipped) for done in clean(harness.pipeline, plan=plan)] == [True, True]
    assert first.read_text() == "rewritten"


def test_a_linked_log_is_not_followed(harness: EngineHarness, tmp_path: Path) -> None:
    """A link that replaces an old log is kept, and so is its target."""
    logs = harness.pipeline.settings.log_dir
    logs.mkdir(parents=True)
    target = write(tmp_path / "precious.json", days=900)
    (logs / "duomi_generation_results_20250101_000000.json").symlink_to(target)
    assert plan_clean_up(harness.pipeline, DEFAULT) == CleanUpPlan()
    assert target.exists()


def test_a_second_clean_up_is_refused_while_one_runs(harness: EngineHarness) -> None:
    """It reports the other one, and changes nothing."""
    logs = harness.pipeline.settings.log_dir
    old = write(logs / "duomi_generation_results_20250101_000000.json", days=91)
    plan = plan_clean_up(harness.pipeline, DEFAULT)
    lock = harness.pipeline.settings.data_dir / ".imagegen" / "maintenance.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SetupError, match="Another clean-up"):
            list(carry_out(harness.pipeline, plan))
        assert old.exists()
    assert [done.ok for done in clean(harness.pipeline, plan=plan)] == [True]


@pytest.mark.parametrize(
    "policy",
    [
        RetentionPolicy(temp_files=0.5),
        RetentionPolicy(orphans=0),
        RetentionPolicy(pictures=0.9),
        RetentionPolicy(logs=-1),
        RetentionPolicy(logs=4e4),
    ],
)
def test_an_age_that_could_remove_files_in_use_is_refused(
    policy: RetentionPolicy, harness: EngineHarness
) -> None:
    """Files that may be in use must be at least a day old."""
    with pytest.raises(SetupError, match="is not a valid age"):
        plan_clean_up(harness.pipeline, policy)


def test_an_empty_ledger_makes_nothing_an_orphan(harness: EngineHarness) -> None:
    """With an empty ledger, previews, sidecars and images are all kept."""
    stored_bytes(harness)
    data = harness.pipeline.settings.data_dir
    harness.pipeline.close()
    for part in ("imagegen.db", "imagegen.db-wal", "imagegen.db-shm"):
        (data / part).unlink(missing_ok=True)
    before = tree(data)
    for file in data.rglob("*"):
        if file.is_file():
            age_file(file, 400)
    pipeline = harness.project.pipeline()
    try:
        assert clean(pipeline, DEFAULT) == []
        assert "names 1 pictures" in plan_clean_up(pipeline, DEFAULT).notes[0]
    finally:
        pipeline.close()
    assert {name: data for name, data in tree(data).items() if "lock" not in name} == before


def test_a_sidecar_has_the_key_and_digest_of_its_image(harness: EngineHarness) -> None:
    """The clean-up relies on what the store writes."""
    stored_bytes(harness)
    (attempt,) = stored(harness.pipeline)
    file = file_of(harness.pipeline, attempt)
    facts = json.loads((file.parent / ".imagegen" / f"{file.name}.json").read_text())
    assert (facts["key"], facts["sha256"]) == (attempt.item_key, attempt.digest)
