"""Old pictures: moved into an archive, never lost, never bought again, and back when asked for."""

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
from imagegen_pipeline.maintenance import archive as archiving
from imagegen_pipeline.maintenance.clean_up import plan_clean_up
from imagegen_pipeline.maintenance.plan import ActionResult, CleanUpPart
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline_tests.engine.bench import PARAMETERS, Bench, picture
from imagegen_pipeline_tests.upkeep.conftest import (
    OLD_PICTURES,
    age_file,
    age_pictures,
    clean,
    file_of,
    stored,
)


def two_pictures(bench: Bench, *, days: float = 200) -> tuple[Attempt, Attempt]:
    """An item's older picture and its current one, both made so many days ago."""
    prompt = bench.prompt()
    bench.make_one(prompt)
    bench.make_one(prompt, regenerate=True, intent="again")
    if days:
        age_pictures(bench.pipeline, days)
    old, new = stored(bench.pipeline)
    return old, new


def now(pipeline: Pipeline, attempt: Attempt) -> Attempt:
    """The attempt as the ledger has it now."""
    (found,) = pipeline.ledger.attempts.get([attempt.id])
    return found


def archives(pipeline: Pipeline) -> list[Path]:
    """The archives on disk."""
    return sorted((pipeline.settings.data_dir / "archive").glob("*"))


def test_an_old_picture_moves_into_an_archive_and_the_current_one_stays(bench: Bench) -> None:
    """The older file is in a ZIP, whole, and the ledger says in which; the current is untouched."""
    old, new = two_pictures(bench)
    data, place = file_of(bench.pipeline, old).read_bytes(), file_of(bench.pipeline, old)
    (done,) = clean(bench.pipeline)
    assert done.ok
    assert (done.going.part, done.going.file) == (CleanUpPart.PICTURES, place)
    assert not place.exists()
    (zipped,) = archives(bench.pipeline)
    assert now(bench.pipeline, old).archive == f"archive/{zipped.name}"
    with zipfile.ZipFile(zipped) as opened:
        assert opened.read(str(old.path)) == data
    assert file_of(bench.pipeline, new).is_file()
    assert now(bench.pipeline, new).archive is None
    assert clean(bench.pipeline) == []


def test_by_default_no_picture_is_moved(bench: Bench) -> None:
    """Without an age for pictures, a clean-up leaves all of them where they are."""
    two_pictures(bench, days=5000)
    plan = plan_clean_up(bench.pipeline, archiving.RetentionPolicy())
    assert [going for going in plan.goings if going.part is CleanUpPart.PICTURES] == []


def test_a_young_picture_stays(bench: Bench) -> None:
    """What was stored less than the given days ago is left at its place."""
    two_pictures(bench, days=170)
    assert clean(bench.pipeline) == []


def test_an_archived_picture_can_be_made_the_current_one_again(bench: Bench) -> None:
    """It comes back to its place by itself, with the very bytes, and costs nothing."""
    old, _ = two_pictures(bench)
    data = file_of(bench.pipeline, old).read_bytes()
    clean(bench.pipeline)
    make_current(bench.pipeline, old.id)
    assert file_of(bench.pipeline, old).read_bytes() == data
    assert picture(bench.make_one(bench.prompt())) == data
    assert bench.simulator.billed() == 2
    clean(bench.pipeline)
    assert file_of(bench.pipeline, old).read_bytes() == data


def test_an_archived_base_image_is_published_again(bench: Bench) -> None:
    """The fixed path of an actor shows it, once it is made the current one."""
    actor = bench.actor()
    bench.make_base(actor)
    bench.make_base(actor, regenerate=True, intent="again")
    age_pictures(bench.pipeline)
    old, _ = stored(bench.pipeline)
    data, base = file_of(bench.pipeline, old).read_bytes(), bench.pipeline.picture_path(old)
    assert base.read_bytes() != data
    (done,) = clean(bench.pipeline)
    assert done.ok
    make_current(bench.pipeline, old.id)
    assert base.read_bytes() == data


def test_an_identical_request_gets_the_archived_bytes_and_is_not_bought(bench: Bench) -> None:
    """Another item that asks for the very same picture has it from the archive, at no cost."""
    two_pictures(bench)
    old = stored(bench.pipeline)[0]
    data = file_of(bench.pipeline, old).read_bytes()
    clean(bench.pipeline)
    twin = bench.prompt(stem="twin")
    forecast = bench.pipeline.dry_run_images([twin], PARAMETERS, regenerate=False)
    assert forecast.fates == {twin.key: "share"}
    assert not file_of(bench.pipeline, old).exists(), "a forecast writes nothing"
    outcome = bench.make_one(twin)
    assert outcome.status is Status.SHARED
    assert picture(outcome) == data
    assert bench.simulator.billed() == 2


def test_a_regenerate_of_long_ago_is_not_bought_again(bench: Bench) -> None:
    """A re-execution of an old run finds its own picture in the archive."""
    prompt = bench.prompt()
    bench.make_one(prompt)
    bench.make_one(prompt, regenerate=True, intent="old run")
    bench.make_one(prompt, regenerate=True, intent="newer run")
    age_pictures(bench.pipeline)
    assert [done.ok for done in clean(bench.pipeline)] == [True, True]
    again = bench.make_one(prompt, regenerate=True, intent="old run")
    assert (again.status, bench.simulator.billed()) == (Status.REUSED, 3)
    assert picture(again)


@pytest.mark.parametrize("loss", ["missing", "damaged"])
def test_a_lost_archive_is_said_and_nothing_is_bought_in_its_place(loss: str, bench: Bench) -> None:
    """An item whose identical picture lies in an archive that is gone fails with the remedy."""
    two_pictures(bench)
    clean(bench.pipeline)
    (zipped,) = archives(bench.pipeline)
    if loss == "missing":
        zipped.rename(zipped.with_name("elsewhere"))
    else:
        zipped.write_bytes(zipped.read_bytes()[:100])
    outcome = bench.make_one(bench.prompt(stem="twin"))
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, UnreadableError.kind)
    assert str(zipped) in str(outcome.error)
    assert bench.simulator.billed() == 2
    cost = estimate_cost(
        bench.pipeline, [bench.prompt().key], mode=Mode.REGENERATE, overrides=Overrides()
    )
    assert cost.make == 1


def test_what_becomes_wanted_after_the_plan_is_left(bench: Bench) -> None:
    """A picture that is approved, or made current, between plan and deed stays at its place."""
    for stem in ("boat", "pier"):
        prompt = bench.prompt(text=f"a {stem}", stem=stem)
        bench.make_one(prompt)
        bench.make_one(prompt, regenerate=True, intent="again")
    age_pictures(bench.pipeline)
    boat, _, pier, _ = stored(bench.pipeline)
    plan = plan_clean_up(bench.pipeline, OLD_PICTURES)
    assert len(plan.goings) == 2
    bench.pipeline.ledger.reviews.decide([boat.id], Verdict.APPROVED)
    make_current(bench.pipeline, pier.id)
    assert [bool(done.kept) for done in clean(bench.pipeline, plan=plan)] == [True, True]
    assert file_of(bench.pipeline, boat).is_file()
    assert file_of(bench.pipeline, pier).is_file()
    assert now(bench.pipeline, boat).archive is None


@pytest.mark.parametrize("decision", ["approve", "choose"])
def test_what_becomes_wanted_in_the_very_middle_is_left(
    decision: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when the archive has it already and the ledger says so, its file stays."""
    old, _ = two_pictures(bench)
    books = bench.pipeline.ledger
    put = books.archiving.put

    def decided_now(pictures: Any, archive: str) -> list[int]:
        ids = put(pictures, archive)
        if decision == "approve":
            books.reviews.decide([old.id], Verdict.APPROVED)
        else:
            books.reviews.make_current(old.id)
        return ids

    monkeypatch.setattr(books.archiving, "put", decided_now)
    (done,) = clean(bench.pipeline)
    assert done.kept
    assert file_of(bench.pipeline, old).is_file()


def test_an_item_that_somebody_is_at_is_left(bench: Bench) -> None:
    """While another process has the item's lease its pictures stay; the next clean-up goes on."""
    old, _ = two_pictures(bench)
    owner = new_owner()
    assert bench.pipeline.ledger.leases.acquire([f"item:{old.item_key}"], owner)
    (done,) = clean(bench.pipeline)
    assert done.kept
    assert file_of(bench.pipeline, old).is_file()
    bench.pipeline.ledger.leases.release(owner)
    (done,) = clean(bench.pipeline)
    assert done.ok
    assert len(archives(bench.pipeline)) == 1, "the archive that was begun is used"


def test_one_busy_item_holds_no_other_up(bench: Bench) -> None:
    """Of several old pictures only those of the item that is worked on are left."""
    for stem in ("boat", "pier", "mole"):
        prompt = bench.prompt(text=f"a {stem}", stem=stem)
        bench.make_one(prompt)
        bench.make_one(prompt, regenerate=True, intent="again")
    age_pictures(bench.pipeline)
    busy = stored(bench.pipeline)[2]
    assert bench.pipeline.ledger.leases.acquire([f"item:{busy.item_key}"], new_owner())
    done = clean(bench.pipeline)
    assert sorted(one.ok for one in done) == [False, True, True]
    assert file_of(bench.pipeline, busy).is_file()


class CrashError(BaseException):
    """The process ends here."""


def crash_before_the_ledger(pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    """The archive is there, and the ledger has not heard of it."""
    patch.setattr(pipeline.ledger.archiving, "put", crash)


def crash_before_removal(pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    """The ledger names the archive, and the file is still at its place."""
    patch.setattr(pipeline.ledger.archiving, "let_go", crash)


def crash_while_writing(_pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    """The archive is half written."""
    patch.setattr("imagegen_pipeline.storage.archives._check", crash)


def crash(*_arguments: object) -> None:
    """End the process."""
    raise CrashError


CRASHES = [crash_while_writing, crash_before_the_ledger, crash_before_removal]


@pytest.mark.parametrize("crashing", CRASHES)
def test_a_crash_at_any_point_loses_nothing_and_the_next_clean_up_goes_on(
    crashing: Callable[[Pipeline, pytest.MonkeyPatch], None],
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the crash the picture is still to be had; the next clean-up makes one archive of it."""
    old, _ = two_pictures(bench)
    data = file_of(bench.pipeline, old).read_bytes()
    with monkeypatch.context() as patch:
        crashing(bench.pipeline, patch)
        with pytest.raises(CrashError):
            clean(bench.pipeline)
    assert file_of(bench.pipeline, old).read_bytes() == data
    (done,) = clean(bench.pipeline)
    assert done.ok
    assert not file_of(bench.pipeline, old).exists()
    assert len(archives(bench.pipeline)) == 1
    make_current(bench.pipeline, old.id)
    assert file_of(bench.pipeline, old).read_bytes() == data


def test_a_picture_that_was_brought_back_goes_into_the_same_archive(bench: Bench) -> None:
    """Looked at once and left for half a year, it needs no second archive."""
    old, new = two_pictures(bench)
    clean(bench.pipeline)
    make_current(bench.pipeline, old.id)
    make_current(bench.pipeline, new.id)
    assert clean(bench.pipeline) == [], "it was asked for just now"
    age_file(file_of(bench.pipeline, old), 200)
    (done,) = clean(bench.pipeline)
    assert done.ok
    assert len(archives(bench.pipeline)) == 1
    assert not file_of(bench.pipeline, old).exists()


def test_what_was_approved_in_its_archive_comes_back(bench: Bench) -> None:
    """The next clean-up, whatever its rules, puts it to its place again."""
    old, _ = two_pictures(bench)
    data = file_of(bench.pipeline, old).read_bytes()
    clean(bench.pipeline)
    bench.pipeline.ledger.reviews.decide([old.id], Verdict.APPROVED)
    (done,) = clean(bench.pipeline, archiving.RetentionPolicy())
    assert (done.ok, done.going.part) == (True, CleanUpPart.BACK)
    assert file_of(bench.pipeline, old).read_bytes() == data


def test_a_file_that_somebody_has_edited_is_left(bench: Bench) -> None:
    """Bytes that are not those that were paid for are neither archived nor removed."""
    old, _ = two_pictures(bench)
    file_of(bench.pipeline, old).write_bytes(b"edited by hand")
    age_file(file_of(bench.pipeline, old), 300)
    (done,) = clean(bench.pipeline)
    assert done.kept
    assert file_of(bench.pipeline, old).read_bytes() == b"edited by hand"
    assert now(bench.pipeline, old).archive is None


def test_many_pictures_take_several_archives(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive has a largest size, so that little is on the disk twice at any time."""
    monkeypatch.setattr(archiving, "MOST_PICTURES", 2)
    prompt = bench.prompt()
    for number in range(6):
        bench.make_one(prompt, regenerate=number > 0, intent=f"run {number}")
    age_pictures(bench.pipeline)
    done = clean(bench.pipeline)
    assert [one.ok for one in done] == [True] * 5
    assert len(archives(bench.pipeline)) == 3
    for attempt in stored(bench.pipeline)[:-1]:
        assert bench.pipeline.engine_context.extract_picture(attempt)


def test_a_file_that_cannot_be_removed_is_named_and_costs_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture is in its archive, its file is named as a failure, and the others went."""
    for stem in ("boat", "pier"):
        prompt = bench.prompt(text=f"a {stem}", stem=stem)
        bench.make_one(prompt)
        bench.make_one(prompt, regenerate=True, intent="again")
    age_pictures(bench.pipeline)
    stuck = file_of(bench.pipeline, stored(bench.pipeline)[0])
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self == stuck:
            raise PermissionError(13, os.strerror(13), str(self))
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    found: dict[bool, ActionResult] = {done.ok: done for done in clean(bench.pipeline)}
    assert set(found) == {True, False}
    assert str(stuck) in found[False].error
    assert stuck.is_file()
