"""The files of a backup: where they are now, and where a restore writes them.

A backup holds what was paid for or decided and the users' sources. It leaves out thumbnails, which
the gallery makes again, and ``.env``: no backup holds a key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.ledger.backup_copy import stored_rows
from imagegen_pipeline.maintenance.archive import ARCHIVES
from imagegen_pipeline.maintenance.backup_manifest import BackupPath
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.settings import Settings
from imagegen_pipeline.storage.pictures import HIDDEN

FilePair = tuple[BackupPath, Path]
"""A file's path in the backup, and its path on this machine."""


def result_files(pipeline: Pipeline, ledger: Path) -> Iterator[FilePair]:
    """Images with sidecars and previews, archives, quarantine, logs and tables, and the images that
    the ledger copy names in other folders.
    """
    files = [*_walk(*result_folders(pipeline.settings)), *_named_in_ledger(pipeline, ledger)]
    for file in dict.fromkeys(files):
        path = pipeline.store.relative(file)
        yield BackupPath(place="elsewhere" if path.startswith("/") else "data", path=path), file


def _named_in_ledger(pipeline: Pipeline, ledger: Path) -> Iterator[Path]:
    for row in stored_rows(ledger):
        file = pipeline.store.absolute(row.path)
        for one in (file, file.parent / HIDDEN / f"{file.name}.json"):
            if one.is_file():
                yield one


def result_folders(settings: Settings) -> list[Path]:
    """The folders and files of results: a restore writes nothing outside of them."""
    data, hidden = settings.data_dir, settings.data_dir / HIDDEN
    return [
        *(settings.output_dir, settings.log_dir, data / ARCHIVES, data / "quarantine"),
        *(hidden / "previews", hidden / "aside"),
        *(one / "base_image" for one in sorted(settings.base_images_dir.glob("*"))),
        *sorted([*data.glob("generation_results*"), *data.glob("approved_pictures*")]),
    ]


def source_files(settings: Settings) -> Iterator[FilePair]:
    """The users' JSON prompts and actors."""
    for file in sorted(settings.prompt_json_dir.glob("*.json")):
        if file.is_file():
            yield BackupPath(place="prompt_json", path=file.name), file
    for file in sorted(settings.actors_dir.glob("*/actor.json")):
        if file.is_file():
            yield BackupPath(place="actors", path=f"{file.parent.name}/{file.name}"), file


def _walk(*roots: Path) -> Iterator[Path]:
    """The plain files at and below these paths, without links and temporary (hidden) files."""
    for root in roots:
        if root.is_file() and not root.is_symlink():
            yield root
        for folder, below, names in os.walk(root):
            below[:] = sorted(one for one in below if one == HIDDEN or not one.startswith("."))
            for name in sorted(names):
                file = Path(folder) / name
                if not name.startswith(".") and file.is_file() and not file.is_symlink():
                    yield file


def restore_target(settings: Settings, entry: BackupPath) -> Path:
    """Where a file of a backup is restored to, by the present settings."""
    folders = {
        "elsewhere": Path("/"),
        "prompt_json": settings.prompt_json_dir,
        "actors": settings.actors_dir,
    }
    if entry.place == "prompt_db":
        return settings.prompt_db
    return folders.get(entry.place, settings.data_dir) / entry.path


def refuse_backup_of_backups(folder: Path, settings: Settings) -> None:
    """Raise SetupError if a backup in ``folder`` would be part of the next backup."""
    resolved = folder.resolve()
    for one in result_folders(settings):
        if resolved.is_relative_to(one.resolve()):
            raise SetupError(
                f"{folder} is in {one}, which is backed up.",
                remedy="Name a folder outside of it, preferably on another disk.",
            )
