"""Actors and the prompts for their base images."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

DEFAULT_WIDTH = 1024
DEFAULT_HEIGHT = 1536
DEFAULT_STEPS = 25
RANDOM_SEED = -1

_TEMPLATE = """\
Professional full-body studio portrait photograph of a {description}.
Standing pose, facing camera, centered in frame.
Neutral gray or beige studio background with professional lighting.
Natural relaxed pose with arms at sides or casually positioned.
Sharp focus, high quality, photorealistic.
Full body visible from head to toe.
Casual to semi-formal attire appropriate for the character.
Direct eye contact with camera or slight angle.
Clean composition, no distracting elements."""


@dataclass(frozen=True, slots=True)
class Actor:
    """One actor: a folder name, a description and the requested size (pixels)."""

    name: str
    description: str
    container: str = ""
    location: str = ""
    width: int = DEFAULT_WIDTH
    height: int = DEFAULT_HEIGHT
    steps: int = DEFAULT_STEPS
    seed: int = RANDOM_SEED

    @property
    def key(self) -> str:
        """The partition key: the actor's folder name."""
        return self.name

    @property
    def prompt(self) -> str:
        """The guide's prompt with the description filled in."""
        return base_image_prompt(self.description)

    @property
    def digest(self) -> str:
        """The version (SHA-256) of everything that determines the base image."""
        made_from = [self.description, self.width, self.height, self.steps, self.seed]
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def base_image_prompt(description: str) -> str:
    """The full prompt for a base image of ``description``."""
    return _TEMPLATE.format(description=description.strip())


def description_in(prompt: str) -> str | None:
    """The description in a base image's full prompt; None for another prompt."""
    before, after = _TEMPLATE.split("{description}")
    if not (prompt.startswith(before) and prompt.endswith(after)):
        return None
    return prompt[len(before) : -len(after)]


def size_warnings(width: int, height: int) -> list[str]:
    """Warnings about a size that is allowed but unsuitable for a base image."""
    if width > height:
        return [f"{width}x{height} is wider than high and may cut off feet in a full-body shot."]
    return []


_GENERIC = {"person", "man", "woman", "human", "people", "guy", "girl", "boy", "someone"}
_STYLISED = {
    "superhero",
    "anime",
    "cartoon",
    "robot",
    "elf",
    "fairy",
    "mermaid",
    "wizard",
    "monster",
}
_GENDER = re.compile(r"\b(fe)?male\b|\b(wo)?man\b", re.IGNORECASE)
_AGE = re.compile(r"\d|\b(young|old|elderly|middle[- ]aged|teen|twenties|thirties|forties)", re.I)


def description_warnings(description: str) -> list[str]:
    """The guide's advice on descriptions, as warnings."""
    words = re.findall(r"[A-Za-z']+", description.lower())
    warnings = []
    if len(words) < 3 and _GENERIC.intersection(words):
        warnings.append("The description is too generic: add ethnicity, age, gender and features.")
    if _STYLISED.intersection(words):
        warnings.append("The description is stylised, not photorealistic: describe a real person.")
    resembles_name = 2 <= len(words) <= 3 and not _AGE.search(description)
    if resembles_name and not _GENDER.search(description) and not _STYLISED.intersection(words):
        warnings.append("The description seems to be a name: describe the person instead.")
    return warnings
