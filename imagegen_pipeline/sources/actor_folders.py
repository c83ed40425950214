"""Actors: folders with an ``actor.json`` (``description``; optional size, steps and seed)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.actors import (
    DEFAULT_HEIGHT,
    DEFAULT_STEPS,
    DEFAULT_WIDTH,
    RANDOM_SEED,
    Actor,
    ActorScan,
)
from imagegen_pipeline.domain.errors import RequestRefusedError, SourceError
from imagegen_pipeline.domain.keys import is_key
from imagegen_pipeline.domain.prompt_text import prompt_text_fault
from imagegen_pipeline.domain.prompts import SourceProblem
from imagegen_pipeline.domain.workflow import check_size
from imagegen_pipeline.sources.json_object import read_json_object

LARGEST_FILE = 1024 * 1024
_MOST_STEPS = 10_000
_LARGEST_SEED = 2**64 - 1


def scan_actors(folder: Path, *, max_bytes: int = LARGEST_FILE) -> ActorScan:
    """Every sub-folder of ``folder``, sorted by name; hidden ones and files are left out."""
    folder = folder.absolute()
    container = str(folder)
    try:
        places = sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError as error:
        problem = SourceProblem(
            container,
            container,
            f"The actors' folder cannot be read: {error.strerror}.",
            "Set IMAGEGEN_ACTORS_DIR to the folder, and check permissions.",
        )
        return ActorScan(container, problems=(problem,), complete=False)
    actors: list[Actor] = []
    problems: list[SourceProblem] = []
    for place in places:
        try:
            actors.append(_actor(place, container, max_bytes))
        except SourceError as error:
            file = str(place / "actor.json")
            problems.append(SourceProblem(container, file, str(error), error.remedy))
    return ActorScan(container, tuple(actors), tuple(problems))


def _actor(place: Path, container: str, max_bytes: int) -> Actor:
    if not is_key(place.name):
        raise SourceError(
            f"{place.name!r} is not an actor's folder name.",
            remedy="Use letters, digits, _ and - only, such as 0100_european_25_male.",
        )
    if place.is_symlink() and not place.resolve().is_relative_to(Path(container).resolve()):
        raise SourceError(
            "The folder is a link that leads outside the actors' folder.",
            remedy="Move the actor's folder here.",
        )
    file = place / "actor.json"
    if not file.exists():
        raise SourceError("The actor has no actor.json.", remedy='Write one: {"description": "…"}.')
    fields = read_json_object(file, max_bytes=max_bytes)
    width = _number(fields, "width", DEFAULT_WIDTH, 1, 2**31)
    height = _number(fields, "height", DEFAULT_HEIGHT, 1, 2**31)
    try:
        check_size(width, height)
    except RequestRefusedError as error:
        raise SourceError(str(error), remedy=error.remedy) from None
    return Actor(
        name=place.name,
        description=_description(fields),
        container=container,
        location=str(file),
        width=width,
        height=height,
        steps=_number(fields, "steps", DEFAULT_STEPS, 1, _MOST_STEPS),
        seed=_number(fields, "seed", RANDOM_SEED, RANDOM_SEED, _LARGEST_SEED),
    )


def _description(fields: dict[str, Any]) -> str:
    text = fields.get("description")
    if not isinstance(text, str):
        raise SourceError(
            "It has no description in words.",
            remedy='Add "description": "european 25 year old male with short brown hair".',
        )
    fault = prompt_text_fault(text)
    if fault is not None:
        raise SourceError(fault[0].replace("prompt", "description"), remedy=fault[1])
    return text


def _number(fields: dict[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise SourceError(
            f"Its {name} is {value!r}, not a whole number from {least} to {most}.",
            remedy=f"Write it without quotes, or leave it out for {default}.",
        )
    return value
