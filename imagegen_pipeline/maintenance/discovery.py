"""What of the hidden and the old is there to be cleaned up: logs, quarantine, notes, spares.

Only what has a form that this program alone gives is found; links are not followed, and never
touched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.legacy.logs import LOG_NAME
from imagegen_pipeline.maintenance.plan import (
    DAY,
    ActionType,
    CleanUpPart,
    FileState,
    PlannedAction,
    RetentionPolicy,
)
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.storage.pictures import HIDDEN

FAILURES_LOG = "failures.jsonl"
"""Where failed runs are written down; see ``upkeep.notices``."""
LARGEST_RUNNING_LOG = 10 * 2**20
"""Bytes: a running log beyond that is set aside, and compressed by the next clean-up."""
_JSON_LOG = re.compile(r"duomi_generation_results_.*\.json")
_PIECE = re.compile(r"(duomi_image_generation|failures)_\d{8}_\d{6}(_\d+)?\.(log|jsonl)(\.gz)?")
_QUARANTINED = re.compile(r".+_[0-9a-f]{8}\.(bin|txt)")
_NOTE = re.compile(r"(\d+)-([0-9a-f]{16})\.(json|picture)")
_PREVIEW = re.compile(r"[0-9a-f]{64}\.webp")
_SPARE = re.compile(r"\..{1,40}\.[a-z0-9_]{8}")
"""What ``whole_files.spare_file`` calls a file before it has its name."""
_SPARE_TABLE = re.compile(r"\.(generation_results|approved_pictures)\.(parquet\.\d+|[a-z0-9_]{8})")
_SPARE_LOG = re.compile(
    r"\.(duomi_(generation_results|image_generation)|failures)_\S*\.[a-z0-9_]{8}"
)
_PICTURE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A plain file in a folder, as one look has found it. Times are seconds since the epoch."""

    file: Path
    stamp: FileState
    changed: float

    def is_old(self, now: float, days: float) -> bool:
        """Whether it was last changed so many days ago."""
        return now - self.changed > days * DAY


def entries(folder: Path) -> Iterator[FileEntry]:
    """The plain files of a folder, links left out; none if it is not there.

    Raises StoreError when it cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            for one in found:
                if one.is_file(follow_symlinks=False):
                    about = one.stat(follow_symlinks=False)
                    stamp = FileState(about.st_size, about.st_mtime_ns)
                    yield FileEntry(Path(one.path), stamp, about.st_mtime)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error.strerror or error}.") from error


def planned_action(
    entry: FileEntry, part: CleanUpPart, deed: ActionType, why: str
) -> PlannedAction:
    """An entry as a part of a plan."""
    return PlannedAction(part, deed, entry.file, entry.stamp.bytes, why, entry.stamp)


def find_logs(log_dir: Path, rules: RetentionPolicy, now: float) -> Iterator[PlannedAction]:
    """Old JSON logs and pieces of running logs; a running log that has grown too large."""
    if rules.logs is None:
        return
    for entry in entries(log_dir):
        name = entry.file.name
        is_piece = _PIECE.fullmatch(name) is not None
        if (is_piece or _JSON_LOG.fullmatch(name)) and entry.is_old(now, rules.logs):
            why = f"a log older than {rules.logs:g} days"
            yield planned_action(entry, CleanUpPart.LOGS, ActionType.DELETE, why)
        elif is_piece and not name.endswith(".gz") and entry.is_old(now, 1):
            # Not at once: another process may write its last line into it.
            yield planned_action(
                entry, CleanUpPart.LOGS, ActionType.COMPRESS, "a piece of a running log"
            )
        elif name in (LOG_NAME, FAILURES_LOG) and entry.stamp.bytes > LARGEST_RUNNING_LOG:
            why = f"larger than {LARGEST_RUNNING_LOG // 2**20} MB: a new one is begun"
            # Without a stamp: it is written to all the time.
            yield PlannedAction(
                CleanUpPart.LOGS, ActionType.SET_ASIDE, entry.file, entry.stamp.bytes, why
            )


def find_quarantined(data_dir: Path, rules: RetentionPolicy, now: float) -> Iterator[PlannedAction]:
    """Bytes that came in place of a picture, and the reasons beside them."""
    if rules.quarantine is None:
        return
    for entry in entries(data_dir / "quarantine"):
        if _QUARANTINED.fullmatch(entry.file.name) and entry.is_old(now, rules.quarantine):
            why = f"quarantined more than {rules.quarantine:g} days ago"
            yield planned_action(entry, CleanUpPart.QUARANTINE, ActionType.DELETE, why)


def find_notes(pipeline: Pipeline, rules: RetentionPolicy, now: float) -> Iterator[PlannedAction]:
    """Jobs' names and pictures that were kept aside for attempts whose picture is stored since.

    Of an attempt that came to nothing, or that this ledger does not know, everything stays: it may
    be the only copy of a paid picture.
    """
    if rules.orphans is None:
        return
    notes: dict[FileEntry, tuple[int, str]] = {}
    for entry in entries(pipeline.settings.data_dir / HIDDEN / "aside"):
        match = _NOTE.fullmatch(entry.file.name)
        if match and entry.is_old(now, rules.orphans):
            notes[entry] = (int(match[1]), match[2])
    known = pipeline.ledger.archiving.states(number for number, _ in notes.values())
    for entry, (number, fingerprint) in notes.items():
        state, sent = known.get(number, (None, ""))
        if state is State.STORED and sent.startswith(fingerprint):
            why = f"a note of attempt {number}, whose picture is stored"
            yield planned_action(entry, CleanUpPart.ORPHANS, ActionType.DELETE, why)


def find_previews(
    pipeline: Pipeline, rules: RetentionPolicy, now: float
) -> Iterator[PlannedAction]:
    """Previews and thumbnails of pictures that no attempt has."""
    if rules.orphans is None:
        return
    known = pipeline.ledger.archiving.digests()
    if not known:  # a ledger that was only just begun says nothing of what lies here
        return
    hidden = pipeline.settings.data_dir / HIDDEN
    for kind in ("previews", "thumbnails"):
        for folder in sorted((hidden / kind).glob("[0-9a-f][0-9a-f]")):
            for entry in entries(folder):
                is_ours = _PREVIEW.fullmatch(entry.file.name)
                if is_ours and entry.file.stem not in known and entry.is_old(now, rules.orphans):
                    yield planned_action(
                        entry,
                        CleanUpPart.ORPHANS,
                        ActionType.DELETE,
                        "a preview without its picture",
                    )


def find_temp_files(
    pipeline: Pipeline, folders: Iterable[Path], rules: RetentionPolicy, now: float
) -> set[PlannedAction]:
    """Half-written files of processes that died, in our own folders and beside the pictures.

    Where users may have hidden files of their own, one counts as ours if it begins as a picture
    does, or has the whole name that only this program gives.
    """
    if rules.spares is None:
        return set()
    given, days = pipeline.settings, rules.spares
    found = [
        entry
        for folder in _ours(given.data_dir)
        for entry in entries(folder)
        if _SPARE.fullmatch(entry.file.name)
    ]
    for folder in {given.output_dir, *folders}:
        found += [one for one in entries(folder / HIDDEN) if _SPARE.fullmatch(one.file.name)]
        found += [one for one in entries(folder) if _is_half_a_picture(one.file)]
    found += [one for one in entries(given.data_dir) if _SPARE_TABLE.fullmatch(one.file.name)]
    found += [one for one in entries(given.log_dir) if _SPARE_LOG.fullmatch(one.file.name)]
    why = f"half written, more than {days:g} days ago"
    return {
        planned_action(one, CleanUpPart.SPARES, ActionType.DELETE, why)
        for one in found
        if one.is_old(now, days)
    }


def _ours(data_dir: Path) -> list[Path]:
    """The folders that hold nothing but what this program writes."""
    below = [Path(place) for place, _, _ in os.walk(data_dir / HIDDEN)]
    tables = sorted(data_dir.glob("generation_results*/"))
    return [*below, data_dir / "archive", data_dir / "quarantine", *tables]


def _is_half_a_picture(file: Path) -> bool:
    if not _SPARE.fullmatch(file.name):
        return False
    try:
        with file.open("rb") as stream:
            return stream.read(8).startswith(_PICTURE_STARTS)
    except OSError:
        return False
