"""Actors: folders with an ``actor.json`` (``description``; optional size, steps and seed)."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from imagegen_pipeline.domain.actors import Actor, ActorScan
from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.partition_keys import is_key
from imagegen_pipeline.domain.prompts import SourceProblem
from imagegen_pipeline.sources.actor_fields import EXAMPLE, actor_of
from imagegen_pipeline.sources.change_tokens import NO_STAMP, change_token
from imagegen_pipeline.sources.folder_listing import list_folder
from imagegen_pipeline.sources.json_object import read_json_object
from imagegen_pipeline.sources.source_paths import absolute, problem, reason, shown

LARGEST_FILE = 1024 * 1024
"""In bytes. An ``actor.json`` has a few hundred."""
ACTOR_FILE = "actor.json"
LEADS_OUTSIDE = "The folder, or one within it, is a link that leads outside the actors' folder."
MOVE_IT_HERE = "Move the actor's folder here: base images are written into it."
_SETTING = "IMAGEGEN_ACTORS_DIR"


@dataclass(frozen=True)
class ActorsFolder:
    """The actors' folder: a sub-folder an actor; see ``SourceFolder``.

    Hidden ones and plain files are left out. Where a sub-folder has no ``actor.json``, or none
    that may be used, the problem's location is the sub-folder's own.
    """

    path: Path
    max_bytes: int = LARGEST_FILE

    @cached_property
    def _folder(self) -> Path:
        return absolute(self.path)

    @cached_property
    def container(self) -> str:
        """The folder's path, as its actors name it."""
        return shown(self._folder)

    def stamps(self) -> dict[str, str]:
        """Every sub-folder, by name; raises SourceError."""
        return {
            entry.name: _stamp(entry)
            for entry in list_folder(self._folder, setting=_SETTING)
            if not _is_plain_file(entry)
        }

    def location(self, name: str) -> str:
        """The path of the actor's ``actor.json``."""
        return f"{self.container.rstrip('/')}/{shown(name)}/{ACTOR_FILE}"

    def key(self, name: str) -> str | SourceProblem:
        """The folder's name; whether it can be a key is seen when it is read."""
        return name

    def taken(self, name: str, first: str) -> SourceProblem:
        """No two folders have one name."""
        raise AssertionError(f"{name} and {first} are one folder")

    def read(self, name: str, key: str) -> Actor | SourceProblem:
        """The actor as ``actor.json`` describes it now, or why there is none."""
        path = location = self._folder / name
        try:
            _check_folder(path, self._folder)
            location = path / ACTOR_FILE
            fields = read_json_object(location, max_bytes=self.max_bytes)
            return actor_of(key, fields, self.container, shown(location))
        except SourceError as error:
            return problem(self.container, shown(location), error)


def scan_actors(folder: Path, *, max_bytes: int = LARGEST_FILE) -> ActorScan:
    """The actors of every sub-folder of ``folder``, by folder name (code points).

    Raises nothing: a sub-folder that is no actor is a problem, whose location is its
    ``actor.json``'s, or its own when there is none.
    """
    source = ActorsFolder(folder, max_bytes)
    container = source.container
    try:
        names = source.stamps()
    except SourceError as error:
        return ActorScan(container, (), (problem(container, container, error),), complete=False)
    read = [source.read(name, name) for name in names]
    return ActorScan(
        container,
        tuple(one for one in read if isinstance(one, Actor)),
        tuple(one for one in read if isinstance(one, SourceProblem)),
    )


def leads_outside(path: Path, folder: Path) -> bool:
    """Whether an actor's folder, or one that base images go into, is a link out of ``folder``."""
    roster = absolute(folder)
    places = (path, path / "base_image", path / "base_image" / "history")
    return any(roster not in absolute(place).parents for place in places)


def _is_plain_file(entry: os.DirEntry[str]) -> bool:
    try:
        return not stat.S_ISDIR(entry.stat().st_mode)
    except OSError:  # what cannot be looked at is named as a problem
        return False


def _stamp(entry: os.DirEntry[str]) -> str:
    """What changes when the actor does, or when its folders become links."""
    path = Path(entry.path)
    try:
        about = change_token((path / ACTOR_FILE).stat())
    except OSError:
        return NO_STAMP
    folders = (path, path / "base_image", path / "base_image" / "history")
    return " ".join((about, *map(_which, folders)))


def _which(folder: Path) -> str:
    """Which folder or link this is, whatever lies in it."""
    try:
        about = folder.lstat()
    except OSError:
        return "-"
    return f"{stat.S_IFMT(about.st_mode):x}.{about.st_ino:x}"


def _check_folder(path: Path, folder: Path) -> None:
    """Refuse a sub-folder that cannot be an actor's, or has no file that says so."""
    try:
        path.stat()
    except OSError as error:
        raise SourceError(
            f"This cannot be looked at: {reason(error)}.",
            remedy="Check its permissions, or remove it if it is a link that leads nowhere.",
        ) from error
    if leads_outside(path, folder):
        raise SourceError(LEADS_OUTSIDE, remedy=MOVE_IT_HERE)
    if not is_key(path.name):
        raise SourceError(
            f"{shown(path.name)} cannot be an actor's folder name.",
            remedy="Use letters A-Z, digits, _ and - only, such as 0100_european_25_male.",
        )
    try:
        has_file = any(child.name == ACTOR_FILE for child in path.iterdir())
    except OSError as error:
        raise SourceError(
            f"The folder cannot be read: {reason(error)}.", remedy="Check its permissions."
        ) from error
    if not has_file:
        raise SourceError(
            f"The actor has no {ACTOR_FILE}.",
            remedy=f"Write {ACTOR_FILE} with a description there, such as {EXAMPLE}.",
        )
