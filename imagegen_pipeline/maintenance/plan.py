"""The plan of a clean-up: plain data that a dry run shows and the real run carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.domain.requests import Attempt

DAY = 86_400.0
MAX_DAYS = 36_500.0


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The age in days from which files are cleaned up; None keeps a part.

    ``logs``: JSON logs, and rotated pieces of the running log. ``quarantine``: bytes that were not
    a usable image. ``orphans``: sidecars, previews and notes that nothing in the ledger needs.
    ``temp_files``: half-written files of processes that died. ``pictures``: older images, which are
    moved into an archive; None by default, because a PNG hardly gets smaller.

    ``untracked`` also archives images of this program that no attempt names, once they are as old
    as ``orphans``. The ledger has a name before the first byte is on disk, so such images belong to
    another ledger or are newer than a restored one: by default they are only counted.
    """

    logs: float | None = 90
    quarantine: float | None = 90
    orphans: float | None = 7
    temp_files: float | None = 1
    pictures: float | None = None
    untracked: bool = False

    def validated(self) -> RetentionPolicy:
        """The same policy; raises SetupError for an invalid age.

        Files younger than a day may still be in use, so most parts need at least one day.
        """
        for name in ("logs", "quarantine", "orphans", "temp_files", "pictures"):
            days = getattr(self, name)
            minimum = 0.0 if name in ("logs", "quarantine") else 1.0
            if days is not None and not minimum <= days <= MAX_DAYS:
                raise SetupError(
                    f"{days:g} days is not a valid age for {name}.",
                    remedy=f"Give {minimum:g} to {MAX_DAYS:g} days, or leave the part out.",
                )
        return self


class CleanUpPart(StrEnum):
    """The parts of a clean-up, as reports name them."""

    LOGS = "logs"
    QUARANTINE = "quarantine"
    ORPHANS = "orphans"
    TEMP_FILES = "temporary files"
    PICTURES = "old pictures"
    NEEDED = "needed again"


class ActionType(StrEnum):
    """What is done to a file. Only ``delete`` removes bytes for good."""

    DELETE = "delete"
    COMPRESS = "compress"
    ROTATE = "rotate"
    ARCHIVE = "archive"
    EXTRACT = "extract"


@dataclass(frozen=True, slots=True)
class FileState:
    """Size and modification time: a file with another state has changed since it was planned."""

    bytes: int
    changed_ns: int

    @classmethod
    def read(cls, file: Path) -> FileState | None:
        """The present state, of a link itself; None if the file does not exist."""
        try:
            about = file.lstat()
        except OSError:
            return None
        return cls(about.st_size, about.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """What is done to one file and why. ``bytes`` is its size; without ``state`` it may change."""

    part: CleanUpPart
    type: ActionType
    file: Path
    bytes: int
    reason: str
    state: FileState | None = None
    attempt: Attempt | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ActionTotals:
    """Number of files and their bytes."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class CleanUpPlan:
    """What a clean-up would do. ``not_ours`` lists other files beside the images, which are never
    touched.
    """

    actions: tuple[PlannedAction, ...] = ()
    not_ours: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def totals(self) -> Mapping[tuple[CleanUpPart, ActionType], ActionTotals]:
        """Files and bytes of each part and type of action, in the parts' order."""
        totals: dict[tuple[CleanUpPart, ActionType], ActionTotals] = {}
        order = list(CleanUpPart)
        for one in sorted(self.actions, key=lambda action: order.index(action.part)):
            before = totals.get((one.part, one.type), ActionTotals())
            totals[one.part, one.type] = ActionTotals(before.files + 1, before.bytes + one.bytes)
        return totals


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The result of one action: ``error`` is the failure and its remedy, ``skipped`` the reason why
    a file was left although nothing failed.
    """

    action: PlannedAction
    error: str = ""
    skipped: str = ""

    @property
    def ok(self) -> bool:
        """Whether the action was carried out."""
        return not self.error and not self.skipped
