"""Old pictures into archives, and those that are wanted again out of them.

A picture goes in this order, so that a crash at any point loses nothing: the archive is written,
flushed and read back; the ledger says that it has the picture; then the file goes. What a crash
left in between is seen by the next clean-up, which goes on from there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagegen_pipeline.domain.errors import ImagegenError, StoreError
from imagegen_pipeline.domain.parameters import file_time
from imagegen_pipeline.ledger.lease_owner import new_owner
from imagegen_pipeline.maintenance.plan import (
    DAY,
    ActionResult,
    ActionType,
    CleanUpPart,
    FileState,
    PlannedAction,
    RetentionPolicy,
)
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.storage.archives import (
    Packed,
    digests_in,
    extract_picture,
    read_picture,
    write_archive,
)

ARCHIVES = "archive"
"""The folder of archives, in the data folder."""
MOST_PICTURES, MOST_BYTES = 500, 2**30
"""Of one archive: what is on disk twice for a moment, and what a crash has done in vain."""
_AT_ONCE = 100
"""Pictures that are leased and let go together: a lease lives for a minute and a half."""
_CHANGED = "it has changed, is wanted again or is at work on, since the plan was made"


def find_old(pipeline: Pipeline, rules: RetentionPolicy, now: float) -> Iterator[PlannedAction]:
    """Pictures that are neither current nor approved and were last touched long ago."""
    if rules.pictures is None:
        return
    days, after = rules.pictures, 0
    while some := pipeline.ledger.archiving.may_go(before=now - days * DAY, after=after):
        for attempt in some:
            file = pipeline.store.absolute(attempt.path or "")
            stamp = None if file.is_symlink() else _stamp(file)
            # One that was brought back from its archive is left at its place as long again.
            if stamp is None or now - stamp.changed_ns / 1e9 <= days * DAY:
                continue
            why = f"{attempt.item_key}: older than {days:g} days, not current, not approved"
            yield PlannedAction(
                *(CleanUpPart.PICTURES, ActionType.ARCHIVE, file, stamp.bytes, why, stamp),
                attempt=attempt,
                digest=attempt.digest,
            )
        after = some[-1].id


def find_requested(pipeline: Pipeline) -> Iterator[PlannedAction]:
    """Pictures in archives that have become current or approved since, and lie nowhere else."""
    for attempt in pipeline.ledger.archiving.wanted_back():
        file = pipeline.store.absolute(attempt.path or "")
        if attempt.digest and not file.exists():
            why = f"{attempt.item_key}: it is current or approved now"
            size = attempt.bytes or 0
            yield PlannedAction(
                *(CleanUpPart.BACK, ActionType.BRING_BACK, file, size, why),
                attempt=attempt,
                digest=attempt.digest,
            )


def restore_requested(pipeline: Pipeline, going: PlannedAction) -> None:
    """Put one picture back to its place; raises as ``archives.extract_picture``."""
    if going.attempt is None or going.attempt.archive is None or going.digest is None:
        raise ValueError(f"{going.file} is in no archive")
    extract_picture(pipeline.store.absolute(going.attempt.archive), going.file, going.digest)


def archive_pictures(pipeline: Pipeline, goings: Sequence[PlannedAction]) -> Iterator[ActionResult]:
    """Move pictures of the ledger into archives. What an earlier clean-up had begun is finished:
    an archive that has a picture whole is used, whether the ledger knows of it or not.
    """
    begun = _unfinished_archives(pipeline)
    for some in _chunks(goings):
        try:
            yield from _put_chunk(pipeline, some, begun)
        except ImagegenError as error:
            yield from (ActionResult(going, error=error.sentence) for going in some)
            if isinstance(error, StoreError):
                return  # a disk that is full stays so


def archive_untracked(
    pipeline: Pipeline, goings: Sequence[PlannedAction]
) -> Iterator[ActionResult]:
    """Move pictures that no attempt names into archives of their own; nothing points at these."""
    for some in _chunks(goings):
        try:
            target = _free_archive(pipeline, "strays")
            packed = write_archive(target, [_packed(pipeline, going) for going in some])
            files = {one.file for one in packed}
            for going in some:
                is_same = going.file in files and going.stamp == _stamp(going.file)
                if is_same:
                    going.file.unlink()
                yield ActionResult(going, kept="" if is_same else _CHANGED)
        except (ImagegenError, OSError) as error:
            sentence = error.sentence if isinstance(error, ImagegenError) else str(error)
            yield from (
                ActionResult(going, error=sentence) for going in some if going.file.exists()
            )


def _chunks(goings: Sequence[PlannedAction]) -> Iterator[list[PlannedAction]]:
    some: list[PlannedAction] = []
    size = 0
    for going in goings:
        if some and (len(some) == MOST_PICTURES or size + going.bytes > MOST_BYTES):
            yield some
            some, size = [], 0
        some.append(going)
        size += going.bytes
    if some:
        yield some


def _put_chunk(
    pipeline: Pipeline, some: list[PlannedAction], begun: dict[str, Path]
) -> list[ActionResult]:
    places = {going.file: place for going in some if (place := _place(pipeline, going, begun))}
    new = [going for going in some if going.file not in places]
    if new:
        target = _free_archive(pipeline, "pictures")
        packed = write_archive(target, [_packed(pipeline, going) for going in new])
        places |= {one.file: target for one in packed}
    there = [going for going in some if going.file in places]
    removal = _Removal()
    for start in range(0, len(there), _AT_ONCE):
        _let_go(pipeline, there[start : start + _AT_ONCE], places, removal)
    return [removal.of(going) for going in some]


def _place(pipeline: Pipeline, going: PlannedAction, begun: dict[str, Path]) -> Path | None:
    """The archive that has the picture whole already; the file must have the same bytes."""
    attempt, digest = going.attempt, going.digest or ""
    known = attempt.archive if attempt is not None else None
    archive = pipeline.store.absolute(known) if known else begun.get(digest)
    if archive is None or attempt is None:
        return None
    try:
        read_picture(archive, digest)
        return archive if pipeline.store.matches(attempt.path or "", digest) else None
    except ImagegenError:
        return None


class _Removal:
    """What has become of each file: removed, or why not."""

    def __init__(self) -> None:
        self._removed: set[Path] = set()
        self._errors: dict[Path, str] = {}

    def remove(self, going: PlannedAction) -> None:
        """Remove the file, unless it is not the one that was planned any more."""
        try:
            if going.stamp == FileState.of(going.file):
                going.file.unlink()
                self._removed.add(going.file)
        except OSError as error:
            self._errors[going.file] = f"{going.file}: {error.strerror or error}."

    def of(self, going: PlannedAction) -> ActionResult:
        """The report on one file."""
        if going.file in self._removed:
            return ActionResult(going)
        error = self._errors.get(going.file, "")
        return ActionResult(going, error=error, kept="" if error else _CHANGED)


def _let_go(
    pipeline: Pipeline, some: list[PlannedAction], places: dict[Path, Path], removal: _Removal
) -> None:
    """Say in the ledger where the pictures are, then remove their files. Nobody can be at work
    on an item meanwhile, or share its picture; one that somebody is at is left.
    """
    owner = new_owner()
    names = dict.fromkeys(name for going in some for name in _lease_names(going))
    if pipeline.ledger.leases.acquire(list(names), owner) is None:
        if len(some) > 1:
            for going in some:
                _let_go(pipeline, [going], places, removal)
        return
    try:
        books = pipeline.ledger.archiving
        by_id = {going.attempt.id: going for going in some if going.attempt is not None}
        for archive in dict.fromkeys(places[going.file] for going in some):
            here = [
                going.attempt
                for going in some
                if going.attempt is not None and places[going.file] == archive
            ]
            books.put(here, pipeline.store.relative(archive))
        pictures = [going.attempt for going in some if going.attempt is not None]
        books.let_go(pictures, lambda attempt: removal.remove(by_id[attempt.id]))
    finally:
        pipeline.ledger.leases.release(owner)


def _lease_names(going: PlannedAction) -> list[str]:
    attempt = going.attempt
    if attempt is None:
        return []
    return [f"item:{attempt.item_key}", f"request:{attempt.sent_fingerprint}"]


def _stamp(file: Path) -> FileState | None:
    with contextlib.suppress(OSError):
        return FileState.of(file)
    return None


def _packed(pipeline: Pipeline, going: PlannedAction) -> Packed:
    attempt = going.attempt
    about: dict[str, object] = {}
    if attempt is not None:
        about = {
            "key": attempt.item_key,
            "attempt": attempt.id,
            "request": attempt.sent_request.as_dict(),
        }
    name = pipeline.store.relative(going.file)
    return Packed(going.file, name, going.digest or "", about)


def _free_archive(pipeline: Pipeline, what: str) -> Path:
    stem, number = f"{what}-{file_time(time.time())}", 1
    target = pipeline.settings.data_dir / ARCHIVES / f"{stem}.zip"
    while target.exists():
        number += 1
        target = target.with_name(f"{stem}_{number}.zip")
    return target


def _unfinished_archives(pipeline: Pipeline) -> dict[str, Path]:
    """The digests of what is in archives that the ledger does not name: a crash came before."""
    known = {pipeline.store.absolute(one) for one in pipeline.ledger.archiving.archives()}
    found: dict[str, Path] = {}
    for archive in sorted((pipeline.settings.data_dir / ARCHIVES).glob("pictures-*.zip")):
        if archive not in known:
            found |= dict.fromkeys(digests_in(archive), archive)
    return found
