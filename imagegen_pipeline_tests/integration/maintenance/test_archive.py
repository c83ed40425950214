"""Archived images: never lost, never bought again, extracted when they are needed."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline.app.cost_estimate import estimate_cost
from imagegen_pipeline.app.regenerate import Mode, Overrides, make_current
from imagegen_pipeline.domain.errors import UnreadableError
from imagegen_pipeline.domain.requests import Attempt, Status
from imagegen_pipeline.ledger import Verdict
from imagegen_pipeline.ledger.lease_owner import new_owner
from imagegen_pipeline.maintenance import archive as archive_module
from imagegen_pipeline.maintenance.clean_up import plan_clean_up
from imagegen_pipeline.maintenance.plan import ActionResult, CleanUpPart, RetentionPolicy
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline_tests.integration.engine.harness import PARAMETERS, EngineHarness, picture
from imagegen_pipeline_tests.integration.maintenance.conftest import (
    OLD_PICTURES,
    age_file,
    age_pictures,
    clean,
    file_of,
    stored,
)


def two_pictures(harness: EngineHarness, *, days: float = 200) -> tuple[Attempt, Attempt]:
    """An item's older image and its current one, both stored some days ago."""
    prompt = harness.prompt()
    harness.make_one(prompt)
    harness.make_one(prompt, regenerate=True, intent="again")
    if days:
        age_pictures(harness.pipeline, days)
    old, new = stored(harness.pipeline)
    return old, new


def reread(pipeline: Pipeline, attempt: Attempt) -> Attempt:
    """The present row of an attempt."""
    (found,) = pipeline.ledger.attempts.get([attempt.id])
    return found


def archives(pipeline: Pipeline) -> list[Path]:
    """The archives on disk."""
    return sorted((pipeline.settings.data_dir / "archive").glob("*"))


def test_an_old_image_is_archived_and_the_current_one_is_kept(harness: EngineHarness) -> None:
    """The older file is whole in a ZIP, which the ledger names; the current one is untouched."""
    old, new = two_pictures(harness)
    file = file_of(harness.pipeline, old)
    data = file.read_bytes()
    (done,) = clean(harness.pipeline)
    assert done.ok
    assert (done.action.part, done.action.file) == (CleanUpPart.PICTURES, file)
    assert not file.exists()
    (zipped,) = archives(harness.pipeline)
    assert reread(harness.pipeline, old).archive == f"archive/{zipped.name}"
    with zipfile.ZipFile(zipped) as opened:
        assert opened.read(str(old.path)) == data
    assert file_of(harness.pipeline, new).is_file()
    assert reread(harness.pipeline, new).archive is None
    assert clean(harness.pipeline) == []


def test_by_default_no_image_is_archived(harness: EngineHarness) -> None:
    """A policy without an age for images keeps all of them."""
    two_pictures(harness, days=5000)
    plan = plan_clean_up(harness.pipeline, RetentionPolicy())
    assert [action for action in plan.actions if action.part is CleanUpPart.PICTURES] == []


def test_a_young_image_is_kept(harness: EngineHarness) -> None:
    """It was stored fewer days ago than the policy says."""
    two_pictures(harness, days=170)
    assert clean(harness.pipeline) == []


def test_an_archived_image_can_become_the_current_one(harness: EngineHarness) -> None:
    """It is extracted with the same bytes, at no cost."""
    old, _ = two_pictures(harness)
    data = file_of(harness.pipeline, old).read_bytes()
    clean(harness.pipeline)
    make_current(harness.pipeline, old.id)
    assert file_of(harness.pipeline, old).read_bytes() == data
    assert picture(harness.make_one(harness.prompt())) == data
    assert harness.simulator.billed() == 2
    clean(harness.pipeline)
    assert file_of(harness.pipeline, old).read_bytes() == data


def test_an_archived_base_image_is_published_again_when_chosen(harness: EngineHarness) -> None:
    """The fixed path of the actor has its bytes."""
    actor = harness.actor()
    harness.make_base(actor)
    harness.make_base(actor, regenerate=True, intent="again")
    age_pictures(harness.pipeline)
    old, _ = stored(harness.pipeline)
    data, base = file_of(harness.pipeline, old).read_bytes(), harness.pipeline.picture_path(old)
    assert base.read_bytes() != data
    (done,) = clean(harness.pipeline)
    assert done.ok
    make_current(harness.pipeline, old.id)
    assert base.read_bytes() == data


def test_an_identical_request_shares_the_archived_image(harness: EngineHarness) -> None:
    """Another item with the same request gets the bytes from the archive, at no cost."""
    two_pictures(harness)
    old = stored(harness.pipeline)[0]
    data = file_of(harness.pipeline, old).read_bytes()
    clean(harness.pipeline)
    twin = harness.prompt(stem="twin")
    dry_run = harness.pipeline.dry_run_images([twin], PARAMETERS, regenerate=False)
    assert dry_run.fates == {twin.key: "share"}
    assert not file_of(harness.pipeline, old).exists(), "a dry run writes nothing"
    outcome = harness.make_one(twin)
    assert outcome.status is Status.SHARED
    assert picture(outcome) == data
    assert harness.simulator.billed() == 2


def test_an_archived_regenerate_is_not_bought_again(harness: EngineHarness) -> None:
    """A re-execution of an old run finds its image in the archive."""
    prompt = harness.prompt()
    harness.make_one(prompt)
    harness.make_one(prompt, regenerate=True, intent="old run")
    harness.make_one(prompt, regenerate=True, intent="newer run")
    age_pictures(harness.pipeline)
    assert [done.ok for done in clean(harness.pipeline)] == [True, True]
    again = harness.make_one(prompt, regenerate=True, intent="old run")
    assert (again.status, harness.simulator.billed()) == (Status.REUSED, 3)
    assert picture(again)


@pytest.mark.parametrize("loss", ["missing", "damaged"])
def test_a_missing_or_damaged_archive_fails_the_item_without_a_new_bill(
    loss: str, harness: EngineHarness
) -> None:
    """The error names the archive that holds the identical image."""
    two_pictures(harness)
    clean(harness.pipeline)
    (zipped,) = archives(harness.pipeline)
    if loss == "missing":
        zipped.rename(zipped.with_name("elsewhere"))
    else:
        zipped.write_bytes(zipped.read_bytes()[:100])
    outcome = harness.make_one(harness.prompt(stem="twin"))
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, UnreadableError.kind)
    assert str(zipped) in str(outcome.error)
    assert harness.simulator.billed() == 2
    cost = estimate_cost(
        harness.pipeline, [harness.prompt().key], mode=Mode.REGENERATE, overrides=Overrides()
    )
    assert cost.make == 1


def test_an_image_that_is_needed_since_the_plan_is_kept(harness: EngineHarness) -> None:
    """It was approved or made current between planning and archiving."""
    for stem in ("boat", "pier"):
        prompt = harness.prompt(text=f"a {stem}", stem=stem)
        harness.make_one(prompt)
        harness.make_one(prompt, regenerate=True, intent="again")
    age_pictures(harness.pipeline)
    boat, _, pier, _ = stored(harness.pipeline)
    plan = plan_clean_up(harness.pipeline, OLD_PICTURES)
    assert len(plan.actions) == 2
    harness.pipeline.ledger.reviews.decide([boat.id], Verdict.APPROVED)
    make_current(harness.pipeline, pier.id)
    assert [bool(done.skipped) for done in clean(harness.pipeline, plan=plan)] == [True, True]
    assert file_of(harness.pipeline, boat).is_file()
    assert file_of(harness.pipeline, pier).is_file()
    assert reread(harness.pipeline, boat).archive is None


@pytest.mark.parametrize("decision", ["approve", "choose"])
def test_an_image_that_becomes_needed_during_archiving_is_kept(
    decision: str, harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is kept even if the ledger already names its archive."""
    old, _ = two_pictures(harness)
    ledger = harness.pipeline.ledger
    set_archive = ledger.retention.set_archive

    def decide_meanwhile(archives: Any, images: Any) -> None:
        set_archive(archives, images)
        if decision == "approve":
            ledger.reviews.decide([old.id], Verdict.APPROVED)
        else:
            ledger.reviews.make_current(old.id)

    monkeypatch.setattr(ledger.retention, "set_archive", decide_meanwhile)
    (done,) = clean(harness.pipeline)
    assert done.skipped
    assert file_of(harness.pipeline, old).is_file()


def test_an_image_of_a_leased_item_is_kept(harness: EngineHarness) -> None:
    """While another process holds the item's lease; the next clean-up archives it."""
    old, _ = two_pictures(harness)
    owner = new_owner()
    assert harness.pipeline.ledger.leases.acquire([f"item:{old.item_key}"], owner)
    (done,) = clean(harness.pipeline)
    assert done.skipped
    assert file_of(harness.pipeline, old).is_file()
    harness.pipeline.ledger.leases.release(owner)
    (done,) = clean(harness.pipeline)
    assert done.ok
    assert len(archives(harness.pipeline)) == 1, "the existing archive is used"


def test_a_leased_item_does_not_block_the_others(harness: EngineHarness) -> None:
    """Only the images of the leased item are kept."""
    for stem in ("boat", "pier", "mole"):
        prompt = harness.prompt(text=f"a {stem}", stem=stem)
        harness.make_one(prompt)
        harness.make_one(prompt, regenerate=True, intent="again")
    age_pictures(harness.pipeline)
    busy = stored(harness.pipeline)[2]
    assert harness.pipeline.ledger.leases.acquire([f"item:{busy.item_key}"], new_owner())
    done = clean(harness.pipeline)
    assert sorted(one.ok for one in done) == [False, True, True]
    assert file_of(harness.pipeline, busy).is_file()


class CrashError(BaseException):
    """Stands for the end of the process."""


def crash_before_the_ledger(pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    """The archive is complete, and the ledger does not name it."""
    patch.setattr(pipeline.ledger.retention, "set_archive", crash)


def crash_before_removal(pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    """The ledger names the archive, and the file still exists."""
    patch.setattr(pipeline.ledger.retention, "remove_archived", crash)


def crash_while_writing(_pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    """The archive is written, but not verified or renamed."""
    patch.setattr("imagegen_pipeline.storage.archives._verify", crash)


def crash(*_arguments: object) -> None:
    """End the process."""
    raise CrashError


CRASHES = [crash_while_writing, crash_before_the_ledger, crash_before_removal]


@pytest.mark.parametrize("crashing", CRASHES)
def test_a_crash_at_any_point_loses_nothing_and_the_next_clean_up_completes(
    crashing: Callable[[Pipeline, pytest.MonkeyPatch], None],
    harness: EngineHarness,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the crash the image exists; the next clean-up leaves one archive."""
    old, _ = two_pictures(harness)
    data = file_of(harness.pipeline, old).read_bytes()
    with monkeypatch.context() as patch:
        crashing(harness.pipeline, patch)
        with pytest.raises(CrashError):
            clean(harness.pipeline)
    assert file_of(harness.pipeline, old).read_bytes() == data
    (done,) = clean(harness.pipeline)
    assert done.ok
    assert not file_of(harness.pipeline, old).exists()
    assert len(archives(harness.pipeline)) == 1
    make_current(harness.pipeline, old.id)
    assert file_of(harness.pipeline, old).read_bytes() == data


def test_an_extracted_image_returns_to_the_same_archive(harness: EngineHarness) -> None:
    """After half a year without use it needs no second archive."""
    old, new = two_pictures(harness)
    clean(harness.pipeline)
    make_current(harness.pipeline, old.id)
    make_current(harness.pipeline, new.id)
    assert clean(harness.pipeline) == [], "it was extracted just now"
    age_file(file_of(harness.pipeline, old), 200)
    (done,) = clean(harness.pipeline)
    assert done.ok
    assert len(archives(harness.pipeline)) == 1
    assert not file_of(harness.pipeline, old).exists()


def test_an_image_that_was_approved_in_its_archive_is_extracted(harness: EngineHarness) -> None:
    """The next clean-up extracts it, whatever its policy."""
    old, _ = two_pictures(harness)
    data = file_of(harness.pipeline, old).read_bytes()
    clean(harness.pipeline)
    harness.pipeline.ledger.reviews.decide([old.id], Verdict.APPROVED)
    (done,) = clean(harness.pipeline, RetentionPolicy())
    assert (done.ok, done.action.part) == (True, CleanUpPart.NEEDED)
    assert file_of(harness.pipeline, old).read_bytes() == data


def test_a_file_that_a_user_edited_is_kept(harness: EngineHarness) -> None:
    """Bytes with another digest than the paid ones are neither archived nor removed."""
    old, _ = two_pictures(harness)
    file_of(harness.pipeline, old).write_bytes(b"edited by hand")
    age_file(file_of(harness.pipeline, old), 300)
    (done,) = clean(harness.pipeline)
    assert done.skipped
    assert file_of(harness.pipeline, old).read_bytes() == b"edited by hand"
    assert reread(harness.pipeline, old).archive is None


def test_many_images_need_several_archives(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of an archive is limited, so little is on disk twice at any time."""
    monkeypatch.setattr(archive_module, "MAX_IMAGES", 2)
    prompt = harness.prompt()
    for number in range(6):
        harness.make_one(prompt, regenerate=number > 0, intent=f"run {number}")
    age_pictures(harness.pipeline)
    done = clean(harness.pipeline)
    assert [one.ok for one in done] == [True] * 5
    assert len(archives(harness.pipeline)) == 3
    for attempt in stored(harness.pipeline)[:-1]:
        assert harness.pipeline.engine_context.extract_picture(attempt)


def test_a_file_that_cannot_be_removed_is_named_and_the_others_are_archived(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is in its archive, and its file is named as a failure."""
    for stem in ("boat", "pier"):
        prompt = harness.prompt(text=f"a {stem}", stem=stem)
        harness.make_one(prompt)
        harness.make_one(prompt, regenerate=True, intent="again")
    age_pictures(harness.pipeline)
    stuck = file_of(harness.pipeline, stored(harness.pipeline)[0])
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self == stuck:
            raise PermissionError(13, os.strerror(13), str(self))
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    found: dict[bool, ActionResult] = {done.ok: done for done in clean(harness.pipeline)}
    assert set(found) == {True, False}
    assert str(stuck) in found[False].error
    assert stuck.is_file()
