"""Moves old images into archives, and those that are needed again out of them.

A crash at any point loses nothing: the archive is written, flushed and read back; then the ledger
records it; then the file is removed. The next clean-up completes what a crash interrupted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from imagegen_pipeline.domain.errors import ImagegenError, StoreError
from imagegen_pipeline.domain.parameters import file_time
from imagegen_pipeline.domain.requests import Attempt
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
    ArchiveEntry,
    digests_in,
    extract_picture,
    read_picture,
    write_archive,
)

ARCHIVES = "archive"
"""The folder of archives in the data folder."""
MAX_IMAGES, MAX_BYTES = 500, 2**30
"""Limits of one archive, and so of the space that is used twice meanwhile."""
_LEASED_TOGETHER = 100
_CHANGED = "it has changed, is needed again or is in use since the plan was made"


def find_old(pipeline: Pipeline, policy: RetentionPolicy, now: float) -> Iterator[PlannedAction]:
    """Plan to archive images that are old and neither current nor approved."""
    if policy.pictures is None:
        return
    days, after = policy.pictures, 0
    while page := pipeline.ledger.retention.archivable(before=now - days * DAY, after=after):
        for attempt in page:
            file = pipeline.store.absolute(attempt.path or "")
            state = None if file.is_symlink() else FileState.read(file)
            # The file is younger than its attempt if it was extracted from an archive.
            if state is not None and now - state.changed_ns / 1e9 > days * DAY:
                reason = f"{attempt.item_key}: older than {days:g} days, not current, not approved"
                yield PlannedAction(
                    *(CleanUpPart.PICTURES, ActionType.ARCHIVE, file, state.bytes, reason, state),
                    attempt=attempt,
                    digest=attempt.digest or "",
                )
        after = page[-1].id


def find_needed(pipeline: Pipeline) -> Iterator[PlannedAction]:
    """Plan to extract images that became current or approved after they were archived."""
    for attempt in pipeline.ledger.retention.archived_and_needed():
        file = pipeline.store.absolute(attempt.path or "")
        if attempt.digest and not file.exists():
            reason = f"{attempt.item_key}: it is current or approved now"
            yield PlannedAction(
                *(CleanUpPart.NEEDED, ActionType.EXTRACT, file, attempt.bytes or 0, reason),
                attempt=attempt,
                digest=attempt.digest,
            )


def extract_needed(pipeline: Pipeline, action: PlannedAction) -> None:
    """Carry out one action of ``find_needed``; raises as ``archives.extract_picture``."""
    if action.attempt is not None and action.attempt.archive is not None:
        archive = pipeline.store.absolute(action.attempt.archive)
        extract_picture(archive, action.file, action.digest)


def archive_images(pipeline: Pipeline, actions: Sequence[PlannedAction]) -> Iterator[ActionResult]:
    """Move images of the ledger into archives.

    An archive that holds an image already is used, even if a crash kept it out of the ledger.
    """
    unrecorded = _unrecorded_archives(pipeline) if actions else {}
    for batch in _batches(actions):
        stop = False
        try:
            archives = _archive_batch(pipeline, batch, unrecorded)
            results = []
            for start in range(0, len(batch), _LEASED_TOGETHER):
                leased = batch[start : start + _LEASED_TOGETHER]
                results += _remove_files(pipeline, leased, archives)
        except ImagegenError as error:
            results = [ActionResult(action, error=error.sentence) for action in batch]
            stop = isinstance(error, StoreError)  # the next batch would fail too
        yield from results
        if stop:
            return


def archive_untracked(
    pipeline: Pipeline, actions: Sequence[PlannedAction]
) -> Iterator[ActionResult]:
    """Move images that no attempt names into archives, which the ledger does not record."""
    for batch in _batches(actions):
        try:
            entries = [_archive_entry(pipeline, action) for action in batch]
            written = write_archive(_free_archive(pipeline, "untracked"), entries)
        except ImagegenError as error:
            yield from (ActionResult(action, error=error.sentence) for action in batch)
        else:
            files = {entry.file for entry in written}
            for action in batch:
                is_archived = action.file in files
                yield _remove(action) if is_archived else ActionResult(action, skipped=_CHANGED)


def _batches(actions: Sequence[PlannedAction]) -> Iterator[list[PlannedAction]]:
    batch: list[PlannedAction] = []
    size = 0
    for action in actions:
        if batch and (len(batch) == MAX_IMAGES or size + action.bytes > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(action)
        size += action.bytes
    if batch:
        yield batch


def _archive_batch(
    pipeline: Pipeline, batch: Sequence[PlannedAction], unrecorded: Mapping[str, Path]
) -> dict[Path, Path]:
    """The archive of each file: an existing one, or a new one that is written here."""
    archives = {
        action.file: archive
        for action in batch
        if (archive := _existing_archive(pipeline, action, unrecorded)) is not None
    }
    new = [_archive_entry(pipeline, one) for one in batch if one.file not in archives]
    if new:
        target = _free_archive(pipeline, "pictures")
        archives |= {entry.file: target for entry in write_archive(target, new)}
    return archives


def _existing_archive(
    pipeline: Pipeline, action: PlannedAction, unrecorded: Mapping[str, Path]
) -> Path | None:
    """An archive that holds the same bytes as the file."""
    recorded = action.attempt.archive if action.attempt is not None else None
    archive = pipeline.store.absolute(recorded) if recorded else unrecorded.get(action.digest)
    if archive is not None:
        with contextlib.suppress(ImagegenError):
            read_picture(archive, action.digest)
            if pipeline.store.matches(str(action.file), action.digest):
                return archive
    return None


def _remove_files(
    pipeline: Pipeline, actions: Sequence[PlannedAction], archives: Mapping[Path, Path]
) -> list[ActionResult]:
    """Record the archives in the ledger, then remove the files.

    The items and requests are leased, so no other process works on them or shares their images.
    """
    results = {action.file: ActionResult(action, skipped=_CHANGED) for action in actions}
    by_id = {
        one.attempt.id: one for one in actions if one.attempt is not None and one.file in archives
    }
    attempts = [one.attempt for one in by_id.values() if one.attempt is not None]
    names = [f"item:{one.item_key}" for one in attempts]
    names += [f"request:{one.sent_fingerprint}" for one in attempts]
    leases, owner = pipeline.ledger.leases, new_owner()
    if names and leases.acquire(list(dict.fromkeys(names)), owner):

        def remove(attempt: Attempt) -> None:
            action = by_id[attempt.id]
            results[action.file] = _remove(action)

        try:
            relative = pipeline.store.relative
            paths = {key: relative(archives[action.file]) for key, action in by_id.items()}
            pipeline.ledger.retention.set_archive(paths, attempts)
            pipeline.ledger.retention.remove_archived(attempts, remove)
        finally:
            leases.release(owner)
    elif len(names) > 2:  # an image in use must not block the others
        return [done for one in actions for done in _remove_files(pipeline, [one], archives)]
    return list(results.values())


def _remove(action: PlannedAction) -> ActionResult:
    """Remove a file unless it has changed since the plan was made."""
    try:
        if FileState.read(action.file) != action.state:
            return ActionResult(action, skipped=_CHANGED)
        action.file.unlink()
    except OSError as error:
        return ActionResult(action, error=f"{action.file}: {error.strerror or error}.")
    return ActionResult(action)


def _archive_entry(pipeline: Pipeline, action: PlannedAction) -> ArchiveEntry:
    about: dict[str, object] = {}
    if (attempt := action.attempt) is not None:
        request = attempt.sent_request.as_dict()
        about = {"key": attempt.item_key, "attempt": attempt.id, "request": request}
    return ArchiveEntry(action.file, pipeline.store.relative(action.file), action.digest, about)


def _free_archive(pipeline: Pipeline, kind: str) -> Path:
    stem, number = f"{kind}-{file_time(time.time())}", 1
    target = pipeline.settings.data_dir / ARCHIVES / f"{stem}.zip"
    while target.exists():
        number += 1
        target = target.with_name(f"{stem}_{number}.zip")
    return target


def _unrecorded_archives(pipeline: Pipeline) -> dict[str, Path]:
    """The digests of images in archives that a crash kept out of the ledger."""
    recorded = {pipeline.store.absolute(one) for one in pipeline.ledger.retention.archives()}
    found: dict[str, Path] = {}
    for archive in sorted((pipeline.settings.data_dir / ARCHIVES).glob("pictures-*.zip")):
        if archive not in recorded:
            found |= dict.fromkeys(digests_in(archive), archive)
    return found
