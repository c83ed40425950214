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
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.upkeep.archive import (
    bring_wanted,
    find_old,
    find_wanted,
    put_away,
    put_strays_away,
)
from imagegen_pipeline.upkeep.finding import (
    find_logs,
    find_notes,
    find_previews,
    find_quarantined,
    find_spares,
)
from imagegen_pipeline.upkeep.picture_folders import look, picture_folders
from imagegen_pipeline.upkeep.plan import Deed, Done, Going, Part, Plan, Rules, Stamp
from imagegen_pipeline.upkeep.turn import own_turn

_CHANGED = "it has changed since the plan was made"
_PART = 2**20


def plan_clean_up(pipeline: Pipeline, rules: Rules, now: float | None = None) -> Plan:
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
    strays: list[Going] = []
    not_ours: list[Path] = []
    for folder in folders:
        found = look(pipeline, folder, rules, now)
        goings += found.goings
        strays += found.strays
        not_ours += found.not_ours
    if rules.strays:
        goings += strays
    # A base image's fixed place is above the folder of its history.
    around = {*folders, *(one.parent for one in folders if one.name == "history")}
    goings += sorted(find_spares(pipeline, around, rules, now), key=lambda going: going.file)
    goings += find_old(pipeline, rules, now)
    goings += find_wanted(pipeline)
    return Plan(tuple(goings), tuple(sorted(not_ours)), _notes(strays, rules))


def _notes(strays: list[Going], rules: Rules) -> tuple[str, ...]:
    if not strays or rules.strays:
        return ()
    folders = ", ".join(sorted({str(going.file.parent) for going in strays}))
    return (
        f"{len(strays)} pictures of this program in {folders} are named by no attempt of this "
        "ledger. They are left alone: they may belong to another ledger, or be newer than one "
        "that was restored. If they do not, --strays moves them into an archive.",
    )


def carry_out(pipeline: Pipeline, plan: Plan) -> Iterator[Done]:
    """Do what the plan says, file by file; what has changed since it was made is left alone.

    One file that resists costs no other. Raises SetupError while another clean-up or backup is
    at work.
    """
    with own_turn(pipeline.settings.data_dir):
        away = [one for one in plan.goings if one.deed is Deed.ARCHIVE]
        yield from _each(pipeline, (one for one in plan.goings if one.deed is not Deed.ARCHIVE))
        yield from put_away(pipeline, [one for one in away if one.part is Part.PICTURES])
        yield from put_strays_away(pipeline, [one for one in away if one.part is not Part.PICTURES])


def _each(pipeline: Pipeline, goings: Iterable[Going]) -> Iterator[Done]:
    for going in goings:
        try:
            if going.stamp is not None and Stamp.of(going.file) != going.stamp:
                yield Done(going, kept=_CHANGED)
                continue
            _do(pipeline, going)
            yield Done(going)
        except FileNotFoundError:
            yield Done(going, kept="it is gone already")
        except ImagegenError as error:
            yield Done(going, error=error.sentence)
        except OSError as error:
            reason = error.strerror or str(error)
            yield Done(going, error=f"{going.file}: {reason}. Repair its permissions.")


def _do(pipeline: Pipeline, going: Going) -> None:
    if going.deed is Deed.DELETE:
        going.file.unlink()
    elif going.deed is Deed.SET_ASIDE:
        going.file.rename(_piece_of(going.file))
    elif going.deed is Deed.COMPRESS:
        _compress(going.file)
    else:
        bring_wanted(pipeline, going)


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
