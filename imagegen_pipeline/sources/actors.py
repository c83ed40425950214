"""Actors: folders with an ``actor.json`` (``description``; optional size, steps and seed)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from imagegen_pipeline.domain.actors import (
    DEFAULT_HEIGHT,
    DEFAULT_STEPS,
    DEFAULT_WIDTH,
    RANDOM_SEED,
    Actor,
)
from imagegen_pipeline.domain.comfy.limits import LARGEST_SEED, MOST_STEPS
from imagegen_pipeline.domain.comfy.workflow import check_size
from imagegen_pipeline.domain.errors import RequestRefusedError, SourceError
from imagegen_pipeline.domain.partition_keys import is_key
from imagegen_pipeline.domain.prompt_text import prompt_text_fault
from imagegen_pipeline.domain.prompts import SourceProblem
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.sources.change_tokens import NO_TOKEN, change_token, listing_token
from imagegen_pipeline.sources.json_files import json_type, read_json_object
from imagegen_pipeline.sources.source_paths import (
    absolute,
    display_path,
    error_reason,
    list_folder,
    source_problem,
)
from imagegen_pipeline.sources.source_reader import Entry, SourceItem

LARGEST_FILE = 1024 * 1024
"""In bytes. An ``actor.json`` has a few hundred."""
ACTOR_FILE = "actor.json"
EXAMPLE = '{"description": "european 25 year old male with short brown hair and blue eyes"}'
LEADS_OUTSIDE = "The folder, or one within it, is a link that leads outside the actors' folder."
MOVE_IT_HERE = "Move the actor's folder here: base images are written into it."
_SETTING = "IMAGEGEN_ACTORS_DIR"
_NUMBERS = {
    "width": DEFAULT_WIDTH,
    "height": DEFAULT_HEIGHT,
    "steps": DEFAULT_STEPS,
    "seed": RANDOM_SEED,
}

Fault = tuple[str, str]
"""A message and a remedy."""


@dataclass(frozen=True)
class ActorsFolder:
    """The actors' folder, with one sub-folder an actor; see ``Source``.

    Hidden sub-folders and plain files are left out. For a sub-folder without a usable
    ``actor.json``, the problem's location is the sub-folder's own.
    """

    path: Path
    max_bytes: int = LARGEST_FILE
    kind: ItemKind = "actor"
    retries_problems: bool = True

    @cached_property
    def _folder(self) -> Path:
        return absolute(self.path)

    @cached_property
    def container(self) -> str:
        """See ``Source.container``."""
        return display_path(self._folder)

    @cached_property
    def _tokens(self) -> dict[str, str]:
        """Every sub-folder, by name; raises SourceError."""
        return {
            entry.name: _actor_token(entry)
            for entry in list_folder(self._folder, setting=_SETTING)
            if not _is_plain_file(entry)
        }

    def change_token(self) -> str:
        """See ``Source.change_token``."""
        return listing_token(self._tokens)

    def entries(self) -> Iterator[Entry]:
        """The sub-folders, by name (code points)."""
        for name, token in self._tokens.items():
            location = f"{self.container.rstrip('/')}/{display_path(name)}/{ACTOR_FILE}"
            yield Entry(location, name, token, partial(self._read, name))

    def duplicate(self, location: str, first: str) -> SourceProblem:
        """No two folders have one name."""
        raise AssertionError(f"{location} and {first} are one folder")

    def sort_key(self, source_item: SourceItem) -> str:
        """The folder's name."""
        return source_item.key

    def _read(self, name: str) -> Actor | SourceProblem:
        path = location = self._folder / name
        try:
            _check_folder(path, self._folder)
            location = path / ACTOR_FILE
            fields = read_json_object(location, max_bytes=self.max_bytes)
            return parse_actor(name, fields, self.container, display_path(location))
        except SourceError as error:
            return source_problem(self.container, display_path(location), error)


def leads_outside(path: Path, folder: Path) -> bool:
    """Whether an actor's folder, or one that base images go into, is a link out of ``folder``."""
    roster = absolute(folder)
    folders = (path, path / "base_image", path / "base_image" / "history")
    return any(roster not in absolute(one).parents for one in folders)


def parse_actor(name: str, fields: Mapping[str, object], container: str, location: str) -> Actor:
    """The actor that ``fields`` describe. Other fields are ignored.

    Raises SourceError that names every bad field: a description that is missing, blank or not a
    text, a number that is not whole, and a size, steps or seed out of range.
    """
    description = fields.get("description")
    numbers = {
        number: value if type(value := fields.get(number)) is int else default  # not True
        for number, default in _NUMBERS.items()
    }
    faults = [*_description_faults(fields), *_type_faults(fields), *_range_faults(numbers)]
    if faults or not isinstance(description, str):
        raise SourceError(
            " ".join(message for message, _ in faults),
            remedy=" ".join(dict.fromkeys(remedy for _, remedy in faults)),
        )
    return Actor(name, description, container, location, **numbers)


def _description_faults(fields: Mapping[str, object]) -> list[Fault]:
    if "description" not in fields:
        return [("There is no description.", f"Add one, such as {EXAMPLE}.")]
    description = fields["description"]
    if not isinstance(description, str):
        wrong = f"The description is {json_type(description)}, not a text."
        return [(wrong, f"Write it in quotes, such as {EXAMPLE}.")]
    fault = prompt_text_fault(description, "description")
    return [] if fault is None else [fault]


def _type_faults(fields: Mapping[str, object]) -> list[Fault]:
    return [
        (
            f"The {name} is {json_type(fields[name])}, not a whole number.",
            f'Write it without quotes or point, such as "{name}": {default}.',
        )
        for name, default in _NUMBERS.items()
        if name in fields and type(fields[name]) is not int
    ]


def _range_faults(numbers: Mapping[str, int]) -> list[Fault]:
    faults = []
    try:
        check_size(numbers["width"], numbers["height"])
    except RequestRefusedError as error:
        faults.append((str(error), error.remedy))
    for name, least, most, besides in (
        ("steps", 1, MOST_STEPS, ""),
        ("seed", RANDOM_SEED, LARGEST_SEED, f" ({RANDOM_SEED} for a random one)"),
    ):
        if not least <= numbers[name] <= most:
            faults.append(
                (
                    f"The {name} {numbers[name]} is not within {least} and {most}.",
                    f"Choose {name} from {least} to {most}{besides}.",
                )
            )
    return faults


def _is_plain_file(entry: os.DirEntry[str]) -> bool:
    try:
        return not stat.S_ISDIR(entry.stat().st_mode)
    except OSError:  # reading it reports the reason
        return False


def _actor_token(entry: os.DirEntry[str]) -> str:
    """Changes with the actor, and when its folders become links."""
    path = Path(entry.path)
    try:
        token = change_token((path / ACTOR_FILE).stat())
    except OSError:
        return NO_TOKEN
    folders = (path, path / "base_image", path / "base_image" / "history")
    return " ".join((token, *map(_folder_identity, folders)))


def _folder_identity(folder: Path) -> str:
    """The type and inode of a folder or link, whatever it contains."""
    try:
        status = folder.lstat()
    except OSError:
        return "-"
    return f"{stat.S_IFMT(status.st_mode):x}.{status.st_ino:x}"


def _check_folder(path: Path, folder: Path) -> None:
    """Refuse a sub-folder that cannot be an actor's, or has no ``actor.json``."""
    try:
        path.stat()
    except OSError as error:
        raise SourceError(
            f"This cannot be opened: {error_reason(error)}.",
            remedy="Check its permissions, or remove it if it is a dangling link.",
        ) from error
    if leads_outside(path, folder):
        raise SourceError(LEADS_OUTSIDE, remedy=MOVE_IT_HERE)
    if not is_key(path.name):
        raise SourceError(
            f"{display_path(path.name)} cannot be an actor's folder name.",
            remedy="Use letters A-Z, digits, _ and - only, such as 0100_european_25_male.",
        )
    try:
        has_file = any(child.name == ACTOR_FILE for child in path.iterdir())
    except OSError as error:
        raise SourceError(
            f"The folder cannot be read: {error_reason(error)}.", remedy="Check its permissions."
        ) from error
    if not has_file:
        raise SourceError(
            f"The actor has no {ACTOR_FILE}.",
            remedy=f"Write {ACTOR_FILE} with a description there, such as {EXAMPLE}.",
        )
