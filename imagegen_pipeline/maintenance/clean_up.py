"""The clean-up: one plan, which a dry run shows and the real run carries out.

Current and approved images are never deleted or moved, and no whole image is deleted: old ones are
moved into archives, on request only. Files of others are never touched.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from imagegen_pipeline.domain.errors import ImagegenError
from imagegen_pipeline.domain.parameters import file_time
from imagegen_pipeline.maintenance.archive import (
    archive_images,
    archive_untracked,
    extract_needed,
    find_needed,
    find_old,
)
from imagegen_pipeline.maintenance.discovery import (
    find_logs,
    find_notes,
    find_previews,
    find_quarantined,
    find_temp_files,
)
from imagegen_pipeline.maintenance.lock import maintenance_lock
from imagegen_pipeline.maintenance.picture_folders import picture_folders, scan_folder
from imagegen_pipeline.maintenance.plan import (
    ActionResult,
    ActionType,
    CleanUpPart,
    CleanUpPlan,
    FileState,
    PlannedAction,
    RetentionPolicy,
)
from imagegen_pipeline.pipeline import Pipeline


def plan_clean_up(
    pipeline: Pipeline, policy: RetentionPolicy, now: float | None = None
) -> CleanUpPlan:
    """Plan a clean-up; writes nothing. ``now`` is in seconds since the epoch.

    Raises SetupError for an invalid age and StoreError for a folder that cannot be read.
    """
    policy, now = policy.validated(), time.time() if now is None else now
    settings = pipeline.settings
    folders = picture_folders(pipeline)
    scans = [scan_folder(pipeline, folder, policy, now) for folder in folders]
    untracked = [action for scan in scans for action in scan.untracked]
    # An actor's base image is published to the parent of its history folder.
    around = {*folders, *(one.parent for one in folders if one.name == "history")}
    actions = [
        *find_logs(settings.log_dir, policy, now),
        *find_quarantined(settings.data_dir, policy, now),
        *find_notes(pipeline, policy, now),
        *find_previews(pipeline, policy, now),
        *(action for scan in scans for action in scan.sidecars),
        *(untracked if policy.untracked else ()),
        *sorted(find_temp_files(pipeline, around, policy, now), key=lambda one: one.file),
        *find_old(pipeline, policy, now),
        *find_needed(pipeline),
    ]
    not_ours = sorted(file for scan in scans for file in scan.not_ours)
    notes = [_untracked_note(untracked)] if untracked and not policy.untracked else []
    return CleanUpPlan(tuple(actions), tuple(not_ours), tuple(notes))


def _untracked_note(untracked: list[PlannedAction]) -> str:
    folders = ", ".join(sorted({str(action.file.parent) for action in untracked}))
    return (
        f"No attempt of this ledger names {len(untracked)} pictures of this program in {folders}. "
        "They are kept: they may belong to another ledger, or be newer than a restored one. "
        "Otherwise --untracked moves them into an archive."
    )


def carry_out(pipeline: Pipeline, plan: CleanUpPlan) -> Iterator[ActionResult]:
    """Carry out a plan file by file; a file that has changed since is skipped.

    A file that fails does not affect the others. Raises SetupError while another clean-up or backup
    runs.
    """
    with maintenance_lock(pipeline.settings.data_dir):
        archive = [one for one in plan.actions if one.type is ActionType.ARCHIVE]
        yield from _carry_out_each(
            pipeline, (one for one in plan.actions if one.type is not ActionType.ARCHIVE)
        )
        is_image = CleanUpPart.PICTURES
        yield from archive_images(pipeline, [one for one in archive if one.part is is_image])
        yield from archive_untracked(pipeline, [one for one in archive if one.part is not is_image])


def _carry_out_each(pipeline: Pipeline, actions: Iterable[PlannedAction]) -> Iterator[ActionResult]:
    for action in actions:
        try:
            if action.state is not None and FileState.read(action.file) != action.state:
                yield ActionResult(action, skipped="it has changed since the plan was made")
                continue
            _carry_out(pipeline, action)
            yield ActionResult(action)
        except FileNotFoundError:
            yield ActionResult(action, skipped="it does not exist any more")
        except ImagegenError as error:
            yield ActionResult(action, error=error.sentence)
        except OSError as error:
            reason = error.strerror or str(error)
            yield ActionResult(action, error=f"{action.file}: {reason}. Correct its permissions.")


def _carry_out(pipeline: Pipeline, action: PlannedAction) -> None:
    if action.type is ActionType.DELETE:
        action.file.unlink()
    elif action.type is ActionType.ROTATE:
        action.file.rename(_rotated(action.file))
    elif action.type is ActionType.COMPRESS:
        _compress(action.file)
    else:
        extract_needed(pipeline, action)


def _rotated(log: Path) -> Path:
    """The new name of a running log; its writers reopen the old name by themselves."""
    stem, number = f"{log.stem}_{file_time(time.time())}", 1
    piece = log.with_name(f"{stem}{log.suffix}")
    while piece.exists() or piece.with_name(f"{piece.name}.gz").exists():
        number += 1
        piece = log.with_name(f"{stem}_{number}{log.suffix}")
    return piece


def _compress(piece: Path) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{piece.stem}.", dir=piece.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            with piece.open("rb") as source, gzip.open(file, "wb") as compressed:
                shutil.copyfileobj(source, compressed)
            file.flush()
            os.fsync(file.fileno())
        shutil.copystat(piece, temporary)  # keeps the age
        temporary.replace(piece.with_name(f"{piece.name}.gz"))
    finally:
        temporary.unlink(missing_ok=True)
    piece.unlink()
