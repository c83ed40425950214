"""What the folder of the table knows of itself: how far it has come, and its files as written."""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.result_columns import COLUMNS
from imagegen_pipeline.ledger import ResultsCursor
from imagegen_pipeline.storage.atomic_files import temporary_file

STATE_NAME = "_refreshed.json"
"""Readers of Parquet folders skip what begins with an underscore."""
LOCK_SECONDS = 300.0
"""How long a refresh waits for another: longer than it takes to write a million rows."""
_LOOK_SECONDS = 0.05
_VERSION = 1
"""To be raised when the same columns come to hold something else."""

Stamp = tuple[int, int]


@dataclass
class DatasetState:
    """``standing`` is that of the ledger when the folder was last brought up to date; ``stamps``
    are of its files as they were written (bytes, nanoseconds since the epoch). ``next_look`` is the
    number of the part that the next refresh begins to look at.
    """

    standing: ResultsCursor
    stamps: dict[str, Stamp] = field(default_factory=dict)
    next_look: int = 0

    def is_as_written(self, part: Path) -> bool:
        """Whether a file is the one that was written: nobody has cut or replaced it since."""
        stamp = stamp_of(part)
        return stamp is not None and self.stamps.get(part.name) == stamp

    def write(self, folder: Path) -> None:
        """Write it down, last of all; raises OSError."""
        facts = {
            "columns": _columns_digest(),
            "change_seq": self.standing.change_seq,
            "last_attempt": self.standing.last_attempt,
            "planned_at": self.standing.planned_at,
            "next_look": self.next_look,
            "files": dict(sorted(self.stamps.items())),
        }
        target = folder / STATE_NAME
        spare = temporary_file(target, (json.dumps(facts, indent=1) + "\n").encode())
        spare.replace(target)


def read_state(folder: Path) -> DatasetState | None:
    """The state of a folder that can be gone on with; None when it is to be written anew."""
    try:
        facts = json.loads((folder / STATE_NAME).read_text("utf-8"))
        if facts["columns"] != _columns_digest():
            return None
        standing = ResultsCursor(
            int(facts["change_seq"]), int(facts["last_attempt"]), _number(facts["planned_at"])
        )
        return DatasetState(standing, _stamps(facts["files"]), int(facts.get("next_look", 0)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))


def _stamps(files: Mapping[str, list[int]]) -> dict[str, Stamp]:
    return {name: (int(size), int(moment)) for name, (size, moment) in files.items()}


def _columns_digest() -> str:
    text = json.dumps([_VERSION, COLUMNS], sort_keys=False)
    return hashlib.sha256(text.encode()).hexdigest()


def stamp_of(file: Path) -> Stamp | None:
    """Size and time of a file; None when there is none."""
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep every other process and thread from writing ``folder``; raises StoreError.

    The lock is the system's own on a file beside the folder, so it ends with whoever holds it.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    path = folder.with_name(f".{folder.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
    with lock:
        while not _has_locked(lock.fileno()):
            if time.monotonic() > deadline:
                raise StoreError(
                    f"Another process has been writing {folder} for {LOCK_SECONDS:.0f} s.",
                    remedy="The next refresh brings what is missing; end that process if it hangs.",
                )
            time.sleep(_LOOK_SECONDS)
        yield


def _has_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
