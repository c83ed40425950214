"""The fields of an ``actor.json`` → an actor, or everything that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Mapping

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
from imagegen_pipeline.domain.prompt_text import prompt_text_fault
from imagegen_pipeline.sources.json_object import json_type

EXAMPLE = '{"description": "european 25 year old male with short brown hair and blue eyes"}'
_NUMBERS = {
    "width": DEFAULT_WIDTH,
    "height": DEFAULT_HEIGHT,
    "steps": DEFAULT_STEPS,
    "seed": RANDOM_SEED,
}

Fault = tuple[str, str]
"""What is wrong and what to do about it."""


def actor_of(name: str, fields: Mapping[str, object], container: str, location: str) -> Actor:
    """The actor that ``fields`` describe; other fields are left alone.

    Raises SourceError, naming every field at fault, for a description that is no text or
    blank, a number that is none, and a size, steps or seed that no graph takes.
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
