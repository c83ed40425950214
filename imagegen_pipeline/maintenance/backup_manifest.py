"""A backup folder: one folder for each backup, whole in itself, with a list of what is in it.

```
{folder}/20260131_020000/manifest.json   every file with its size and SHA-256, written last
                        /ledger/imagegen.db
                        /data/…           as below the data folder
                        /elsewhere/…      what lies outside of it, by its absolute path
                        /sources/…        prompts and actors
        /.20260201_020000.part/           a backup that was interrupted, or is being made
```

A file that has not changed since the backup before is a hard link to that one's, so that it
takes no more room, and each folder can be deleted by itself. What is in them is never changed.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from imagegen_pipeline.domain.errors import SetupError

MANIFEST = "manifest.json"
FORMAT = 1
Place = Literal["ledger", "data", "elsewhere", "prompt_db", "prompt_json", "actors"]
_PLACES: tuple[Place, ...] = (
    *("ledger", "data", "elsewhere"),
    *("prompt_db", "prompt_json", "actors"),
)
_SOURCES = ("prompt_db", "prompt_json", "actors")
_NAME = re.compile(r"(\d{8}_\d{6})(?:_(\d+))?")
_PART = re.compile(r"\.\d{8}_\d{6}(_\d+)?\.part")


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A file of a backup: which place it belongs to, its path there (absolute for
    ``elsewhere``), its size in bytes, the SHA-256 of its bytes, and when it was changed.
    """

    place: Place
    path: str
    size: int
    sha256: str
    changed_ns: int

    @property
    def is_source(self) -> bool:
        """Whether it is the users' own: a prompt's or an actor's."""
        return self.place in _SOURCES

    @property
    def inside(self) -> PurePosixPath:
        """Where it lies in its backup."""
        top = f"sources/{self.place}" if self.is_source else self.place
        return PurePosixPath(top) / self.path.lstrip("/")


@dataclass(frozen=True, slots=True)
class BackupManifest:
    """What is in a backup. ``missing`` names pictures of the ledger that were on no disk."""

    made_at: str
    program: str
    simulated: bool
    files: tuple[ManifestEntry, ...]
    missing: tuple[str, ...] = ()

    def by_path(self) -> dict[tuple[str, str], ManifestEntry]:
        """The files by place and path."""
        return {(one.place, one.path): one for one in self.files}

    def as_json(self) -> str:
        """The text of its file: one line a file."""
        head = {name: value for name, value in asdict(self).items() if name != "files"}
        text = json.dumps({"format": FORMAT, **head}, ensure_ascii=False).removesuffix("}")
        lines = ",\n".join(json.dumps(asdict(one), ensure_ascii=False) for one in self.files)
        return f'{text}, "files": [\n{lines}\n]}}\n'


def read_manifest(backup: Path) -> BackupManifest:
    """The manifest of one backup; raises SetupError when it has none that can be trusted."""
    file = backup / MANIFEST
    try:
        facts = json.loads(file.read_text("utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']}, not {FORMAT}")
        return BackupManifest(
            made_at=str(facts["made_at"]),
            program=str(facts["program"]),
            simulated=bool(facts["simulated"]),
            files=tuple(_kept(one) for one in facts["files"]),
            missing=tuple(map(str, facts["missing"])),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(
            f"{file} is not the list of a whole backup: {error}.",
            remedy="Take another backup of this folder; `imagegen restore FOLDER --list` has them.",
        ) from error


def _kept(facts: dict[str, Any]) -> ManifestEntry:
    kept = ManifestEntry(
        place=facts["place"],
        path=str(facts["path"]),
        size=int(facts["size"]),
        sha256=str(facts["sha256"]),
        changed_ns=int(facts["changed_ns"]),
    )
    parts = PurePosixPath(kept.path).parts
    is_absolute = kept.path.startswith("/")
    if kept.place not in _PLACES or not parts or ".." in parts or "\0" in kept.path:
        raise ValueError(f"{kept.path!r} is no place for a file")
    if is_absolute != (kept.place == "elsewhere"):
        raise ValueError(f"{kept.path!r} does not lie where it says")
    return kept


def backups_in(folder: Path) -> list[Path]:
    """The whole backups in a folder, oldest first."""
    if not folder.is_dir():
        return []
    found = (one for one in folder.iterdir() if _NAME.fullmatch(one.name))
    return sorted((one for one in found if (one / MANIFEST).is_file()), key=_order)


def next_name(folder: Path, now: float) -> str:
    """A name behind those of all backups in a folder, even if the clock was set back. Names are
    the moment, in UTC; ``now`` is in seconds since the epoch.
    """
    stem = time.strftime("%Y%m%d_%H%M%S", time.gmtime(now))
    taken = [_order(one) for one in folder.iterdir() if _NAME.fullmatch(one.name)]
    last, number = max(taken, default=("", 0))
    return stem if stem > last else f"{last}_{number + 1}"


def _order(backup: Path) -> tuple[str, int]:
    match = _NAME.fullmatch(backup.name)
    return (match[1], int(match[2] or 1)) if match else (backup.name, 1)


def unfinished_in(folder: Path) -> list[Path]:
    """The backups that were interrupted, oldest first."""
    return sorted(one for one in folder.glob(".*.part") if _PART.fullmatch(one.name))


def chosen_backup(folder: Path, name: str | None) -> Path:
    """The backup that is meant: ``folder`` itself, or the one of that name in it, or its newest.

    Raises SetupError.
    """
    if name is None and (folder / MANIFEST).is_file():
        return folder
    found = backups_in(folder)
    names = [one.name for one in found]
    if name is not None and name in names:
        return folder / name
    if name is not None or not found:
        raise SetupError(
            f"There is no whole backup {name or ''} in {folder}.".replace("  ", " "),
            remedy=_choices(names, unfinished_in(folder)),
        )
    return found[-1]


def _choices(names: Sequence[str], unfinished: Sequence[Path]) -> str:
    if names:
        return f"These are there: {', '.join(names[-10:])}."
    if unfinished:
        return f"{unfinished[-1].name} was interrupted; run `imagegen backup` again to finish it."
    return "Name the folder that `imagegen backup` wrote to."
