"""Which files a backup is made of: what was paid for or decided, and what cannot be made again.

Thumbnails are left out, which the gallery makes anew, and so is ``.env``: keys are in no backup.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.ledger.backup_copy import pictures_of
from imagegen_pipeline.maintenance.archive import ARCHIVES
from imagegen_pipeline.maintenance.backup_manifest import Place
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.settings import Settings
from imagegen_pipeline.storage.pictures import HIDDEN

_SPARE = re.compile(r"\..*")
"""Hidden files are half written, or locks."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that belongs into a backup: its place and path there, and where it is now."""

    place: Place
    path: str
    file: Path


def result_files(pipeline: Pipeline, ledger: Path) -> Iterator[Source]:
    """Pictures with their sidecars and previews, archives, quarantine, logs and tables; and what
    the copy of the ledger names elsewhere.
    """
    seen: set[Path] = set()
    for file in (*_walk(*result_places(pipeline.settings)), *_named_by(pipeline, ledger)):
        if file not in seen:
            seen.add(file)
            path = pipeline.store.relative(file)
            yield Source("elsewhere" if path.startswith("/") else "data", path, file)


def _named_by(pipeline: Pipeline, ledger: Path) -> Iterator[Path]:
    """The pictures of the ledger and their sidecars, wherever they lie."""
    for picture in pictures_of(ledger):
        file = pipeline.store.absolute(picture.path)
        for one in (file, file.parent / HIDDEN / f"{file.name}.json"):
            if one.is_file():
                yield one


def result_places(given: Settings) -> list[Path]:
    """The folders and files of results: outside of them a restore writes nothing."""
    data, hidden = given.data_dir, given.data_dir / HIDDEN
    base_images = (
        [one / "base_image" for one in sorted(given.base_images_dir.iterdir())]
        if given.base_images_dir.is_dir()
        else []
    )
    tables = [*data.glob("generation_results*"), *data.glob("approved_pictures*")]
    return [
        *(given.output_dir, *base_images, given.log_dir),
        *(data / ARCHIVES, data / "quarantine", hidden / "previews", hidden / "aside"),
        *sorted(tables),
    ]


def source_files(given: Settings) -> Iterator[Source]:
    """The users' prompts and actors; the database is not among them, which is not just copied."""
    if given.prompt_json_dir.is_dir():
        for file in sorted(given.prompt_json_dir.glob("*.json")):
            if file.is_file():
                yield Source("prompt_json", file.name, file)
    if given.actors_dir.is_dir():
        for file in sorted(given.actors_dir.glob("*/actor.json")):
            if file.is_file():
                yield Source("actors", f"{file.parent.name}/{file.name}", file)


def _walk(*places: Path) -> Iterator[Path]:
    """The plain files at these places and below them; links are not followed."""
    for place in places:
        if place.is_file() and not place.is_symlink():
            yield place
        for folder, below, names in os.walk(place):
            below[:] = sorted(one for one in below if one == HIDDEN or not _SPARE.fullmatch(one))
            for name in sorted(names):
                file = Path(folder) / name
                if not _SPARE.fullmatch(name) and file.is_file() and not file.is_symlink():
                    yield file


def check_apart(folder: Path, given: Settings) -> None:
    """Raise SetupError if a backup in ``folder`` would become a part of the next one."""
    place = folder.resolve()
    for one in result_places(given):
        if place.is_relative_to(one.resolve()):
            raise SetupError(
                f"{folder} lies in {one}, which is to be backed up.",
                remedy="Name a folder outside of it, on another disk best.",
            )
