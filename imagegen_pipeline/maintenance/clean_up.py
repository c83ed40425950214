"""The clean-up: one plan, which a dry run shows and the real run carries out.

Nothing that is current or approved is ever deleted or moved, and no whole picture is deleted:
old ones go into archives, and only if that is asked for. Files that are not this program's are
never touched.
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
    archive_pictures,
    archive_untracked,
    find_old,
    find_requested,
    restore_requested,
)
from imagegen_pipeline.maintenance.discovery import (
    find_logs,
    find_notes,
    find_previews,
    find_quarantined,
    find_temp_files,
)
from imagegen_pipeline.maintenance.lock import maintenance_lock
from imagegen_pipeline.maintenance.picture_folders import inspect_folders, picture_folders
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

_CHANGED = "it has changed since the plan was made"
_PART = 2**20


def plan_clean_up(
    pipeline: Pipeline, rules: RetentionPolicy, now: float | None = None
) -> CleanUpPlan:
    """What would go, and why; nothing is written. ``now`` is in seconds since the epoch.

    Raises SetupError for an age that is none, and StoreError for a folder that cannot be read.
    """
    rules, now = rules.checked(), time.time() if now is None else now
    given = pipeline.settings
    goings = [
        *find_logs(given.log_dir, rules, now),
        *find_quarantined(given.data_dir, rules, now),
        *find_notes(pipeline, rules, now),
        *find_previews(pipeline, rules, now),
    ]
    folders = picture_folders(pipeline)
    strays: list[PlannedAction] = []
    not_ours: list[Path] = []
    for folder in folders:
        found = inspect_folders(pipeline, folder, rules, now)
        goings += found.goings
        strays += found.strays
        not_ours += found.not_ours
    if rules.strays:
        goings += strays
    # A base image's fixed place is above the folder of its history.
    around = {*folders, *(one.parent for one in folders if one.name == "history")}
    goings += sorted(find_temp_files(pipeline, around, rules, now), key=lambda going: going.file)
    goings += find_old(pipeline, rules, now)
    goings += find_requested(pipeline)
    return CleanUpPlan(tuple(goings), tuple(sorted(not_ours)), _notes(strays, rules))


def _notes(strays: list[PlannedAction], rules: RetentionPolicy) -> tuple[str, ...]:
    if not strays or rules.strays:
        return ()
    folders = ", ".join(sorted({str(going.file.parent) for going in strays}))
    return (
        f"{len(strays)} pictures of this program in {folders} are named by no attempt of this "
        "ledger. They are left alone: they may belong to another ledger, or be newer than one "
        "that was restored. If they do not, --strays moves them into an archive.",
    )


def carry_out(pipeline: Pipeline, plan: CleanUpPlan) -> Iterator[ActionResult]:
    """Do what the plan says, file by file; what has changed since it was made is left alone.

    One file that resists costs no other. Raises SetupError while another clean-up or backup is
    at work.
    """
    with maintenance_lock(pipeline.settings.data_dir):
        away = [one for one in plan.goings if one.deed is ActionType.ARCHIVE]
        yield from _each(
            pipeline, (one for one in plan.goings if one.deed is not ActionType.ARCHIVE)
        )
        yield from archive_pictures(
            pipeline, [one for one in away if one.part is CleanUpPart.PICTURES]
        )
        yield from archive_untracked(
            pipeline, [one for one in away if one.part is not CleanUpPart.PICTURES]
        )


def _each(pipeline: Pipeline, goings: Iterable[PlannedAction]) -> Iterator[ActionResult]:
    for going in goings:
        try:
            if going.stamp is not None and FileState.of(going.file) != going.stamp:
                yield ActionResult(going, kept=_CHANGED)
                continue
            _do(pipeline, going)
            yield ActionResult(going)
        except FileNotFoundError:
            yield ActionResult(going, kept="it is gone already")
        except ImagegenError as error:
            yield ActionResult(going, error=error.sentence)
        except OSError as error:
            reason = error.strerror or str(error)
            yield ActionResult(going, error=f"{going.file}: {reason}. Repair its permissions.")


def _do(pipeline: Pipeline, going: PlannedAction) -> None:
    if going.deed is ActionType.DELETE:
        going.file.unlink()
    elif going.deed is ActionType.SET_ASIDE:
        going.file.rename(_piece_of(going.file))
    elif going.deed is ActionType.COMPRESS:
        _compress(going.file)
    else:
        restore_requested(pipeline, going)


def _piece_of(log: Path) -> Path:
    """Where a running log is set aside; who writes it begins a new one by itself."""
    stem, number = f"{log.stem}_{file_time(time.time())}", 1
    piece = log.with_name(f"{stem}{log.suffix}")
    while piece.exists() or piece.with_name(f"{piece.name}.gz").exists():
        number += 1
        piece = log.with_name(f"{stem}_{number}{log.suffix}")
    return piece


def _compress(piece: Path) -> None:
    target = piece.with_name(f"{piece.name}.gz")
    handle, name = tempfile.mkstemp(prefix=f".{piece.stem}.", dir=piece.parent)
    spare = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            with piece.open("rb") as source, gzip.open(file, "wb") as packed:
                shutil.copyfileobj(source, packed, _PART)
            file.flush()
            os.fsync(file.fileno())
        shutil.copystat(piece, spare)  # its age counts on
        spare.replace(target)
    finally:
        spare.unlink(missing_ok=True)
    piece.unlink()
