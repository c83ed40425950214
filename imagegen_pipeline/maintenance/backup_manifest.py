"""The folder of backups: one folder a backup, each with a manifest of its files.

```
{folder}/20260131_020000/manifest.json   every file with its size and SHA-256, written last
                        /ledger/imagegen.db
                        /data/…           as below the data folder
                        /elsewhere/…      files outside of it, by their absolute path
                        /sources/…        prompts and actors
        /.20260201_020000.part/           a backup that is running or was interrupted
```

A file that has not changed since the previous backup is a hard link to that backup's file.
"""

from __future__ import annotations

import re
import time
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ValidationError, model_validator

from imagegen_pipeline.domain.errors import SetupError

MANIFEST = "manifest.json"
Place = Literal["ledger", "data", "elsewhere", "prompt_db", "prompt_json", "actors"]
SOURCES = ("prompt_db", "prompt_json", "actors")
_NAME = re.compile(r"(\d{8}_\d{6})(?:_(\d+))?")
_PART = re.compile(r"\.\d{8}_\d{6}(_\d+)?\.part")


class BackupPath(BaseModel, frozen=True):
    """A file of a backup: ``path`` is relative to its place, absolute for ``elsewhere``."""

    place: Place
    path: str

    @model_validator(mode="after")
    def _check_path(self) -> BackupPath:
        parts = PurePosixPath(self.path).parts
        if not parts or ".." in parts or "\0" in self.path:
            raise ValueError(f"{self.path!r} is not a file's path")
        if self.path.startswith("/") != (self.place == "elsewhere"):
            raise ValueError(f"{self.path!r} cannot be in {self.place}")
        return self

    @property
    def inside(self) -> str:
        """The path in the backup's folder."""
        top = f"sources/{self.place}" if self.place in SOURCES else self.place
        return f"{top}/{self.path.lstrip('/')}"


class ManifestEntry(BackupPath, frozen=True):
    """A file with its size in bytes, its SHA-256 and its modification time in nanoseconds."""

    size: int
    sha256: str
    changed_ns: int


class BackupManifest(BaseModel, frozen=True):
    """The files of a backup. ``missing`` names images of the ledger that were on no disk."""

    format: Literal[1] = 1
    made_at: str
    program: str
    simulated: bool
    missing: tuple[str, ...] = ()
    files: tuple[ManifestEntry, ...]

    def to_json(self) -> str:
        """The text of the manifest file, with one line a file."""
        head = self.model_dump_json(exclude={"files"}).removesuffix("}")
        lines = ",\n".join(entry.model_dump_json() for entry in self.files)
        return f'{head},"files":[\n{lines}\n]}}\n'


def read_manifest(backup: Path) -> BackupManifest:
    """The manifest of one backup; raises SetupError if it is missing or invalid."""
    file = backup / MANIFEST
    try:
        return BackupManifest.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        reason = str(reason).removeprefix("Value error, ")
        raise SetupError(
            f"{file} is not a valid manifest: {reason}.",
            remedy="Use another backup; `imagegen restore FOLDER --list` lists them.",
        ) from error


def backups_in(folder: Path) -> list[Path]:
    """The complete backups in a folder, oldest first."""
    names = folder.iterdir() if folder.is_dir() else ()
    found = (one for one in names if _NAME.fullmatch(one.name) and (one / MANIFEST).is_file())
    return sorted(found, key=lambda one: _order(one.name))


def unfinished_in(folder: Path) -> list[Path]:
    """The interrupted backups in a folder, oldest first."""
    return sorted(one for one in folder.glob(".*.part") if _PART.fullmatch(one.name))


def next_name(folder: Path, now: float) -> str:
    """The time ``now`` in UTC; later than every existing name even if the clock was set back."""
    stem = time.strftime("%Y%m%d_%H%M%S", time.gmtime(now))
    taken = [_order(one.name) for one in folder.iterdir() if _NAME.fullmatch(one.name)]
    last, number = max(taken, default=("", 0))
    return stem if stem > last else f"{last}_{number + 1}"


def _order(name: str) -> tuple[str, int]:
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2] or 1)) if match else (name, 1)


def select_backup(folder: Path, name: str | None) -> Path:
    """``folder`` itself if it is a backup, else the backup of that name in it, or the newest.

    Raises SetupError.
    """
    if name is None and (folder / MANIFEST).is_file():
        return folder
    found = {one.name: one for one in backups_in(folder)}
    name = name or next(reversed(found), "")
    if name in found:
        return found[name]
    remedy = "Name the folder that `imagegen backup` wrote to."
    if found:
        remedy = f"Available: {', '.join(list(found)[-10:])}."
    elif unfinished := unfinished_in(folder):
        remedy = f"{unfinished[-1].name} was interrupted; `imagegen backup` finishes it."
    raise SetupError(f"There is no complete backup {name} in {folder}.", remedy=remedy)
