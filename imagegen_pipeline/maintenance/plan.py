"""What a clean-up would do: plain data, which a dry run shows and the real run carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.domain.requests import Attempt

DAY = 86_400.0
LONGEST_DAYS = 36_500.0


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How old, in days, what is cleaned up must be. None leaves a part alone.

    ``logs``: the users' JSON logs, and the running logs' older pieces. ``quarantine``: bytes that
    came in place of a picture. ``orphans``: sidecars, previews and notes that nothing in the ledger
    needs. ``spares``: half-written files of processes that died. ``pictures``: older pictures,
    which are moved into an archive; None by default, since a PNG hardly gets smaller and the
    picture is then not at its place any more.

    ``strays`` moves pictures of this program that no attempt names into an archive, too, when they
    are as old as ``orphans``. Names are in the ledger before the first byte is on disk, so such
    pictures are those of another ledger, or of a newer one than this: by default they are only
    counted.
    """

    logs: float | None = 90
    quarantine: float | None = 90
    orphans: float | None = 7
    spares: float | None = 1
    pictures: float | None = None
    strays: bool = False

    def checked(self) -> RetentionPolicy:
        """The same; raises SetupError for an age that is none.

        What is younger than a day may be in the making, so that such an age is refused where this
        would matter.
        """
        for name in ("logs", "quarantine", "orphans", "spares", "pictures"):
            days = getattr(self, name)
            least = 0.0 if name in ("logs", "quarantine") else 1.0
            if days is not None and not least <= days <= LONGEST_DAYS:
                raise SetupError(
                    f"{days:g} days is no age for the {name}.",
                    remedy=f"Give {least:g} to {LONGEST_DAYS:g} days, or leave the part out.",
                )
        return self


class CleanUpPart(StrEnum):
    """The parts of a clean-up, as reports name them."""

    LOGS = "logs"
    QUARANTINE = "quarantine"
    ORPHANS = "orphans"
    SPARES = "half-written files"
    PICTURES = "old pictures"
    BACK = "wanted again"


class ActionType(StrEnum):
    """What is done to a file. Only ``delete`` makes bytes go for good."""

    DELETE = "delete"
    COMPRESS = "compress"
    SET_ASIDE = "set aside"
    ARCHIVE = "archive"
    BRING_BACK = "bring back"


@dataclass(frozen=True, slots=True)
class FileState:
    """By which a file is known to be the one that was planned: size and moment of change."""

    bytes: int
    changed_ns: int

    @classmethod
    def of(cls, file: Path) -> FileState:
        """The file's now, of a link itself; raises OSError."""
        about = file.lstat()
        return cls(about.st_size, about.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """One file of a plan: what becomes of it and why. ``bytes`` is its size."""

    part: CleanUpPart
    deed: ActionType
    file: Path
    bytes: int
    why: str
    stamp: FileState | None = None
    attempt: Attempt | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class CleanUpPlan:
    """What a clean-up would do, and what lies among the pictures and is not this program's:
    that is never touched.
    """

    goings: tuple[PlannedAction, ...] = ()
    not_ours: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def sums(self) -> Mapping[tuple[CleanUpPart, ActionType], ActionTotals]:
        """How many files and bytes of each part, in the parts' order."""
        found: dict[tuple[CleanUpPart, ActionType], ActionTotals] = {}
        for part in CleanUpPart:
            for going in self.goings:
                if going.part is part:
                    before = found.get((part, going.deed), ActionTotals())
                    found[part, going.deed] = ActionTotals(
                        before.files + 1, before.bytes + going.bytes
                    )
        return found


@dataclass(frozen=True, slots=True)
class ActionTotals:
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What came of one file of a plan; ``error`` says why nothing was done, and what to do."""

    going: PlannedAction
    error: str = ""
    kept: str = field(default="")
    """Why it was left as it is without anything being wrong: it changed since it was planned."""

    @property
    def ok(self) -> bool:
        """Whether the deed was done."""
        return not self.error and not self.kept
