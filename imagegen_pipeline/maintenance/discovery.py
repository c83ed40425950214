"""Finds old logs, quarantined files, notes, previews and temporary files.

Only names that this program alone gives are found; links are never followed or touched.
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

MAX_RUNNING_LOG = 10 * 2**20
"""Bytes: a larger running log is rotated, and compressed by the next clean-up."""
_JSON_LOG = re.compile(r"duomi_generation_results_.*\.json")
_LOG_PIECE = re.compile(r"duomi_image_generation_\d{8}_\d{6}(_\d+)?\.log(\.gz)?")
_QUARANTINED = re.compile(r".+_[0-9a-f]{8}\.(bin|txt)")
_NOTE = re.compile(r"(\d+)-([0-9a-f]{16})\.(json|picture)")
_PREVIEW = re.compile(r"[0-9a-f]{64}\.webp")
_TEMPORARY = re.compile(r"\..{1,40}\.[a-z0-9_]{8}")
"""The names of ``atomic_files.temporary_file``."""
_TEMPORARY_TABLE = re.compile(
    r"\.(generation_results|approved_pictures)\.(parquet\.\d+|[a-z0-9_]{8})"
)
_TEMPORARY_LOG = re.compile(r"\.duomi_(generation_results|image_generation)_\S*\.[a-z0-9_]{8}")
_IMAGE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A plain file in a folder; ``changed`` is in seconds since the epoch."""

    file: Path
    state: FileState
    changed: float

    def is_older(self, days: float, now: float) -> bool:
        """Whether the file was last changed more than ``days`` ago."""
        return now - self.changed > days * DAY

    def plan(self, part: CleanUpPart, kind: ActionType, reason: str) -> PlannedAction:
        """An action on this file."""
        return PlannedAction(part, kind, self.file, self.state.bytes, reason, self.state)


def list_files(folder: Path) -> Iterator[FileEntry]:
    """The plain files of a folder without links; none if it does not exist.

    Raises StoreError if it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    about = entry.stat(follow_symlinks=False)
                    state = FileState(about.st_size, about.st_mtime_ns)
                    yield FileEntry(Path(entry.path), state, about.st_mtime)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error.strerror or error}.") from error


def find_logs(log_dir: Path, policy: RetentionPolicy, now: float) -> Iterator[PlannedAction]:
    """Old JSON logs and log pieces to delete, log pieces to compress, a running log to rotate."""
    if policy.logs is None:
        return
    for entry in list_files(log_dir):
        name = entry.file.name
        is_piece = _LOG_PIECE.fullmatch(name) is not None
        if (is_piece or _JSON_LOG.fullmatch(name)) and entry.is_older(policy.logs, now):
            reason = f"a log older than {policy.logs:g} days"
            yield entry.plan(CleanUpPart.LOGS, ActionType.DELETE, reason)
        elif is_piece and not name.endswith(".gz") and entry.is_older(1, now):
            # A process may write its last lines to a younger one.
            yield entry.plan(CleanUpPart.LOGS, ActionType.COMPRESS, "a rotated log")
        elif name == LOG_NAME and entry.state.bytes > MAX_RUNNING_LOG:
            reason = f"larger than {MAX_RUNNING_LOG // 2**20} MB: a new one is started"
            size = entry.state.bytes  # without a state, because the log is written to all the time
            yield PlannedAction(CleanUpPart.LOGS, ActionType.ROTATE, entry.file, size, reason)


def find_quarantined(
    data_dir: Path, policy: RetentionPolicy, now: float
) -> Iterator[PlannedAction]:
    """Bytes that were not a usable image, and the files with the reasons."""
    if policy.quarantine is None:
        return
    for entry in list_files(data_dir / "quarantine"):
        if _QUARANTINED.fullmatch(entry.file.name) and entry.is_older(policy.quarantine, now):
            reason = f"quarantined more than {policy.quarantine:g} days ago"
            yield entry.plan(CleanUpPart.QUARANTINE, ActionType.DELETE, reason)


def find_notes(pipeline: Pipeline, policy: RetentionPolicy, now: float) -> Iterator[PlannedAction]:
    """Job ids and images that were saved separately for attempts whose image is stored since.

    Those of any other attempt are kept: they may be the only copy of a paid image.
    """
    if policy.orphans is None:
        return
    notes: dict[FileEntry, tuple[int, str]] = {}
    for entry in list_files(pipeline.settings.data_dir / HIDDEN / "aside"):
        match = _NOTE.fullmatch(entry.file.name)
        if match and entry.is_older(policy.orphans, now):
            notes[entry] = (int(match[1]), match[2])
    states = pipeline.ledger.retention.states(number for number, _ in notes.values())
    for entry, (number, fingerprint) in notes.items():
        state, sent_fingerprint = states.get(number, (None, ""))
        if state is State.STORED and sent_fingerprint.startswith(fingerprint):
            reason = f"a note of attempt {number}, whose image is stored"
            yield entry.plan(CleanUpPart.ORPHANS, ActionType.DELETE, reason)


def find_previews(
    pipeline: Pipeline, policy: RetentionPolicy, now: float
) -> Iterator[PlannedAction]:
    """Previews and thumbnails of images that no attempt has."""
    known = set() if policy.orphans is None else pipeline.ledger.retention.digests()
    if policy.orphans is None or not known:  # a new ledger cannot tell what is an orphan
        return
    hidden = pipeline.settings.data_dir / HIDDEN
    for kind in ("previews", "thumbnails"):
        for folder in sorted((hidden / kind).glob("[0-9a-f][0-9a-f]")):
            for entry in list_files(folder):
                is_preview = _PREVIEW.fullmatch(entry.file.name) is not None
                is_orphan = is_preview and entry.file.stem not in known
                if is_orphan and entry.is_older(policy.orphans, now):
                    reason = "a preview without its image"
                    yield entry.plan(CleanUpPart.ORPHANS, ActionType.DELETE, reason)


def find_temp_files(
    pipeline: Pipeline, folders: Iterable[Path], policy: RetentionPolicy, now: float
) -> set[PlannedAction]:
    """Half-written files of processes that died, in the program's folders and beside the images.

    ``folders`` may hold hidden files of the users: there a file must also start as an image does.
    """
    if policy.temp_files is None:
        return set()
    settings, days = pipeline.settings, policy.temp_files
    folders = {settings.output_dir, *folders}
    own = [*_own_folders(settings.data_dir), *(folder / HIDDEN for folder in folders)]
    found = [
        *_matching(own, _TEMPORARY),
        *(one for one in _matching(folders, _TEMPORARY) if _is_image_start(one.file)),
        *_matching([settings.data_dir], _TEMPORARY_TABLE),
        *_matching([settings.log_dir], _TEMPORARY_LOG),
    ]
    reason = f"half written, more than {days:g} days ago"
    return {
        entry.plan(CleanUpPart.TEMP_FILES, ActionType.DELETE, reason)
        for entry in found
        if entry.is_older(days, now)
    }


def _matching(folders: Iterable[Path], name: re.Pattern[str]) -> Iterator[FileEntry]:
    for folder in folders:
        yield from (entry for entry in list_files(folder) if name.fullmatch(entry.file.name))


def _own_folders(data_dir: Path) -> list[Path]:
    """The folders to which only this program writes."""
    below = [Path(folder) for folder, _, _ in os.walk(data_dir / HIDDEN)]
    tables = sorted(data_dir.glob("generation_results*/"))
    return [*below, data_dir / "archive", data_dir / "quarantine", *tables]


def _is_image_start(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(8).startswith(_IMAGE_STARTS)
    except OSError:
        return False
