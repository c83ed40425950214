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
from imagegen_pipeline_tests.engine.bench import Bench
from imagegen_pipeline_tests.maintenance.conftest import (
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
    """A file as it was written so many days ago."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    age_file(file, days)
    return file


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the databases, and its bytes."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith("imagegen.db")
    }


def test_old_logs_and_quarantine_go_and_young_ones_stay(bench: Bench) -> None:
    """The users' JSON logs and what was quarantined go when they are older than 90 days."""
    data, logs = bench.pipeline.settings.data_dir, bench.pipeline.settings.log_dir
    old = write(logs / "duomi_generation_results_20250101_000000.json", days=91)
    young = write(logs / "duomi_generation_results_20250301_000000.json", days=89)
    bad = write(data / "quarantine" / "boat_20250101_000000_0a1b2c3d.bin", days=91)
    why = write(data / "quarantine" / "boat_20250101_000000_0a1b2c3d.txt", days=91)
    theirs = [write(logs / "my notes.json", days=900), write(data / "quarantine" / "a", days=900)]
    assert {done.action.file for done in clean(bench.pipeline, DEFAULT)} == {old, bad, why}
    assert not any(file.exists() for file in (old, bad, why))
    assert all(file.exists() for file in (young, *theirs))


def test_a_dry_run_writes_nothing(bench: Bench) -> None:
    """A plan is only looked at: every byte of the data folder is as before."""
    bench.make_one(bench.prompt())
    bench.make_one(bench.prompt(), regenerate=True, intent="again")
    age_pictures(bench.pipeline)
    data = bench.pipeline.settings.data_dir
    write(data / "logs" / "duomi_generation_results_20250101_000000.json", days=91)
    before = tree(data)
    plan = plan_clean_up(bench.pipeline, RetentionPolicy(pictures=10, untracked=True))
    assert len(plan.actions) == 2
    assert plan.totals()[CleanUpPart.LOGS, ActionType.DELETE].files == 1
    assert tree(data) == before


def test_a_running_log_that_grew_too_large_is_set_aside_then_compressed_then_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is written to it is lost: a process that has it open begins a new one."""
    monkeypatch.setattr(discovery, "MAX_RUNNING_LOG", 1000)
    logs = bench.pipeline.settings.log_dir
    running = open_log(logs)
    log = logging.getLogger("imagegen_pipeline.test")
    log.info("before %s", "x" * 1000)
    (done,) = clean(bench.pipeline, DEFAULT)
    assert (done.ok, done.action.type) == (True, ActionType.ROTATE)
    log.info("afterwards")
    assert "afterwards" in running.read_text()
    assert "before" not in running.read_text()
    (piece,) = logs.glob("duomi_image_generation_*.log")
    assert "before" in piece.read_text()
    assert clean(bench.pipeline, DEFAULT) == [], "its last lines may still be on their way"
    age_file(piece, 2)
    assert [done.action.type for done in clean(bench.pipeline, DEFAULT)] == [ActionType.COMPRESS]
    packed = piece.with_name(f"{piece.name}.gz")
    assert b"before" in gzip.decompress(packed.read_bytes())
    assert sorted(one.name for one in logs.iterdir()) == sorted([LOG_NAME, packed.name])
    age_file(packed, 90)
    assert [done.action.type for done in clean(bench.pipeline, DEFAULT)] == [ActionType.DELETE]


def test_a_note_goes_when_its_picture_is_stored_and_only_then(bench: Bench) -> None:
    """What was kept aside for a paid picture stays until that picture is in its place."""
    stored_one = bench.make_one(bench.prompt()).attempt
    assert stored_one is not None
    open_one = bench.plan(bench.prompt(stem="pier"))
    failed = bench.plan(bench.prompt(stem="mole"), file_stem="mole")
    bench.pipeline.ledger.attempts.failed(failed, SetupError("No."))
    store, aside = bench.pipeline.store, bench.pipeline.settings.data_dir / ".imagegen" / "aside"
    store.rescue(stored_one, b"the picture")
    store.note_job(stored_one, "job", "endpoint")
    for attempt in (open_one, failed):
        store.rescue(attempt, b"the only copy")
    write(aside / f"999-{'0' * 16}.picture", b"of a ledger that is gone")
    for file in aside.iterdir():
        age_file(file, 8)
    assert names(done.action for done in clean(bench.pipeline, DEFAULT)) == {
        f"{stored_one.id}-{stored_one.sent_fingerprint[:16]}{suffix}"
        for suffix in (".json", ".picture")
    }
    assert store.rescued(open_one) == store.rescued(failed) == b"the only copy"
    assert len(list(aside.iterdir())) == 3


def test_previews_and_sidecars_without_their_picture_go(bench: Bench) -> None:
    """Those of pictures that are there, archived, current or still to come stay."""
    prompt = bench.prompt()
    for number in range(3):
        bench.make_one(prompt, regenerate=number > 0, intent=f"run {number}")
    deleted, archived, _ = stored(bench.pipeline)
    folder, hidden = bench.pipeline.settings.output_dir, bench.pipeline.settings.data_dir
    preview = write(hidden / ".imagegen" / "previews" / "00" / f"{'0' * 64}.webp")
    thumbnail = write(hidden / ".imagegen" / "thumbnails" / "00" / f"{'0' * 64}.webp")
    theirs = write(folder / ".imagegen" / "notes.json", b"{}")
    file_of(bench.pipeline, deleted).unlink()
    age_pictures(bench.pipeline)
    assert names(done.action for done in clean(bench.pipeline)) == {
        file_of(bench.pipeline, archived).name
    }
    for file in (*hidden.rglob("*.webp"), *folder.rglob("*.json")):
        age_file(file, 8)
    lonely = folder / ".imagegen" / f"{file_of(bench.pipeline, deleted).name}.json"
    gone = {done.action.file for done in clean(bench.pipeline, DEFAULT)}
    assert gone == {preview, thumbnail, lonely}
    assert theirs.exists()
    assert all(bench.pipeline.store.preview(one.digest or "") for one in stored(bench.pipeline))
    assert (folder / ".imagegen" / f"{file_of(bench.pipeline, archived).name}.json").exists()


def test_half_written_files_of_dead_processes_go(bench: Bench) -> None:
    """What a process that was killed left hidden goes after a day; a user's hidden file never."""
    bench.make_one(bench.prompt())
    bench.make_base(bench.actor())
    data, out = bench.pipeline.settings.data_dir, bench.pipeline.settings.output_dir
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
    done = clean(bench.pipeline, DEFAULT)
    assert {one.action.file for one in done} == set(left)
    assert not any(file.exists() for file in left)
    assert all(file.exists() for file in (young, *theirs))


def test_what_users_keep_beside_the_pictures_is_named_and_never_touched(bench: Bench) -> None:
    """Files without a sidecar of ours, links and named copies stay, whatever the rules."""
    generator = DuomiImageGenerator(pipeline=bench.pipeline)
    generator.default_params["image_size"] = "64x64"
    copy = Path(str(generator.save_generated_image(generator.generate_image("a dragon"), "mine")))
    out = bench.pipeline.settings.output_dir
    theirs = write(out / "holiday.png", PNG + b"my own", days=900)
    text = write(out / "notes.txt", days=900)
    (out / "best of").mkdir()
    inside = write(out / "best of" / "boat.png", PNG, days=900)
    (out / "link.png").symlink_to(theirs)
    extra = bench.pipeline.store.keep(
        file_of(bench.pipeline, stored(bench.pipeline)[0]).read_bytes(),
        "generated_images",
        f"{stored(bench.pipeline)[0].file_stem}.2",
        {"key": "prompt-a-dragon"},
    )
    age_pictures(bench.pipeline, 900)
    for file in (copy, out / Path(extra.path).name):
        age_file(file, 900)
    rules = RetentionPolicy(pictures=1, untracked=True, orphans=1)
    plan = plan_clean_up(bench.pipeline, rules)
    assert plan.not_ours == (theirs, text)
    assert clean(bench.pipeline, plan=plan) == []
    assert all(file.exists() for file in (copy, theirs, text, inside, out / "link.png"))
    assert (out / Path(extra.path).name).exists()


def test_pictures_that_no_attempt_names_are_only_counted_unless_asked_for(bench: Bench) -> None:
    """They are likely another ledger's: by default a note says so; --untracked archives them."""
    data = stored_bytes(bench)
    bench.pipeline.store.keep(data, "generated_images", "stray", {"key": "db-7"})
    file = bench.pipeline.settings.output_dir / "stray.png"
    age_file(file, 30)
    plan = plan_clean_up(bench.pipeline, DEFAULT)
    assert plan.actions == ()
    assert "1 pictures" in plan.notes[0]
    assert "--untracked" in plan.notes[0]
    (done,) = clean(bench.pipeline, RetentionPolicy(untracked=True))
    assert (done.ok, done.action.file) == (True, file)
    assert not file.exists()
    (zipped,) = (bench.pipeline.settings.data_dir / "archive").glob("untracked-*.zip")
    from imagegen_pipeline.storage.archives import read_picture

    assert read_picture(zipped, str(done.action.digest)) == data


def stored_bytes(bench: Bench) -> bytes:
    """The bytes of a picture that was made."""
    bench.make_one(bench.prompt())
    return file_of(bench.pipeline, stored(bench.pipeline)[0]).read_bytes()


def test_a_picture_that_somebody_edited_is_no_stray(bench: Bench) -> None:
    """Its sidecar has another digest: it is theirs now."""
    bench.pipeline.store.keep(stored_bytes(bench), "generated_images", "stray", {"key": "db-7"})
    file = bench.pipeline.settings.output_dir / "stray.png"
    file.write_bytes(PNG + b"painted over")
    age_file(file, 30)
    assert clean(bench.pipeline, RetentionPolicy(untracked=True)) == []
    assert file.exists()


def test_what_changed_since_the_plan_is_left(bench: Bench) -> None:
    """A file that was written anew, or is gone, between plan and deed is left alone."""
    logs = bench.pipeline.settings.log_dir
    first = write(logs / "duomi_generation_results_20250101_000000.json", days=91)
    second = write(logs / "duomi_generation_results_20250102_000000.json", days=91)
    plan = plan_clean_up(bench.pipeline, DEFAULT)
    first.write_text("written anew")
    second.unlink()
    assert [bool(done.skipped) for done in clean(bench.pipeline, plan=plan)] == [True, True]
    assert first.read_text() == "written anew"


def test_a_linked_log_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    """A link in the place of an old log is left, and so is what it points at."""
    logs = bench.pipeline.settings.log_dir
    logs.mkdir(parents=True)
    target = write(tmp_path / "precious.json", days=900)
    (logs / "duomi_generation_results_20250101_000000.json").symlink_to(target)
    assert plan_clean_up(bench.pipeline, DEFAULT) == CleanUpPlan()
    assert target.exists()


def test_two_at_once_are_refused(bench: Bench) -> None:
    """While a clean-up or backup is at work another one says so, and does nothing."""
    logs = bench.pipeline.settings.log_dir
    old = write(logs / "duomi_generation_results_20250101_000000.json", days=91)
    plan = plan_clean_up(bench.pipeline, DEFAULT)
    lock = bench.pipeline.settings.data_dir / ".imagegen" / "maintenance.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SetupError, match="Another clean-up"):
            list(carry_out(bench.pipeline, plan))
        assert old.exists()
    assert [done.ok for done in clean(bench.pipeline, plan=plan)] == [True]


@pytest.mark.parametrize(
    "rules",
    [
        RetentionPolicy(temp_files=0.5),
        RetentionPolicy(orphans=0),
        RetentionPolicy(pictures=0.9),
        RetentionPolicy(logs=-1),
        RetentionPolicy(logs=4e4),
    ],
)
def test_an_age_that_could_hurt_is_refused(rules: RetentionPolicy, bench: Bench) -> None:
    """What may be in the making is at least a day old before it can go."""
    with pytest.raises(SetupError, match="is not a valid age"):
        plan_clean_up(bench.pipeline, rules)


def test_a_new_ledger_takes_nothing_for_an_orphan(bench: Bench) -> None:
    """With an empty ledger over a full folder, previews, sidecars and pictures all stay."""
    stored_bytes(bench)
    data = bench.pipeline.settings.data_dir
    bench.pipeline.close()
    for part in ("imagegen.db", "imagegen.db-wal", "imagegen.db-shm"):
        (data / part).unlink(missing_ok=True)
    before = tree(data)
    for file in data.rglob("*"):
        if file.is_file():
            age_file(file, 400)
    pipeline = bench.project.pipeline()
    try:
        assert clean(pipeline, DEFAULT) == []
        assert "1 pictures" in plan_clean_up(pipeline, DEFAULT).notes[0]
    finally:
        pipeline.close()
    assert {name: data for name, data in tree(data).items() if "lock" not in name} == before


def test_sidecars_say_whose_a_picture_is(bench: Bench) -> None:
    """What the clean-up goes by is what the store writes: key and digest."""
    stored_bytes(bench)
    (attempt,) = stored(bench.pipeline)
    file = file_of(bench.pipeline, attempt)
    facts = json.loads((file.parent / ".imagegen" / f"{file.name}.json").read_text())
    assert (facts["key"], facts["sha256"]) == (attempt.item_key, attempt.digest)
