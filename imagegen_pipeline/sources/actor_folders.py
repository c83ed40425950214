"""Actors: folders with an ``actor.json`` (``description``; optional size, steps and seed)."""

from __future__ import annotations

import stat
from pathlib import Path

from imagegen_pipeline.domain.actors import Actor, ActorScan
from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.keys import is_key
from imagegen_pipeline.domain.prompts import SourceProblem
from imagegen_pipeline.sources.actor_fields import EXAMPLE, actor_of
from imagegen_pipeline.sources.folder_listing import list_folder
from imagegen_pipeline.sources.json_object import read_json_object
from imagegen_pipeline.sources.places import absolute, problem, reason, shown

LARGEST_FILE = 1024 * 1024
"""In bytes. An ``actor.json`` has a few hundred."""
ACTOR_FILE = "actor.json"
LEADS_OUTSIDE = "The folder, or one within it, is a link that leads outside the actors' folder."
MOVE_IT_HERE = "Move the actor's folder here: base images are written into it."
_SETTING = "IMAGEGEN_ACTORS_DIR"


def scan_actors(folder: Path, *, max_bytes: int = LARGEST_FILE) -> ActorScan:
    """The actors of every sub-folder of ``folder``, by folder name (code points).

    Hidden ones and plain files are left out. Raises nothing: a sub-folder that is no actor is
    a problem, whose location is its ``actor.json``'s, or its own when there is none.
    """
    folder = absolute(folder)
    container = shown(folder)
    try:
        paths = list_folder(folder, setting=_SETTING)
    except SourceError as error:
        return ActorScan(container, (), (problem(container, container, error),), complete=False)
    actors: list[Actor] = []
    problems: list[SourceProblem] = []
    for path in paths:
        location = path
        try:
            if not _is_folder(path):
                continue
            _check_folder(path, folder)
            location = path / ACTOR_FILE
            fields = read_json_object(location, max_bytes=max_bytes)
            actors.append(actor_of(path.name, fields, container, shown(location)))
        except SourceError as error:
            problems.append(problem(container, shown(location), error))
    return ActorScan(container, tuple(actors), tuple(problems))


def leads_outside(path: Path, folder: Path) -> bool:
    """Whether an actor's folder, or one that base images go into, is a link out of ``folder``."""
    roster = absolute(folder)
    places = (path, path / "base_image", path / "base_image" / "history")
    return any(roster not in absolute(place).parents for place in places)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        raise SourceError(
            f"This cannot be looked at: {reason(error)}.",
            remedy="Check its permissions, or remove it if it is a link that leads nowhere.",
        ) from error


def _check_folder(path: Path, folder: Path) -> None:
    """Refuse a sub-folder that cannot be an actor's, or has no file that says so."""
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
