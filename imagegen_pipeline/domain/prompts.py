"""Prompts: what a picture is wanted for, and what could not be read as one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

PromptSource = Literal["database", "json", "single_prompt"]


def text_digest(text: str) -> str:
    """The version of a text: SHA-256, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt, from wherever it came.

    ``location`` says where it was read: ``/path/to.db#902``, a JSON file's path, or empty
    for a typed one. ``container`` is the database or folder that was scanned to find it: a
    prompt is *gone* only when its own container was scanned without it.
    """

    key: str
    text: str
    source: PromptSource
    container: str
    location: str
    row_id: int | str | None = None
    image_id: int | str | None = None
    original_filename: str | None = None
    descriptive_name: str | None = None
    filename: str | None = None
    pic_name: str | None = None
    image_url: str | None = None

    @property
    def digest(self) -> str:
        """The version of this prompt's text."""
        return text_digest(self.text)


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """Something in a source that could not become an item: one line and what to do."""

    container: str
    location: str
    message: str
    remedy: str

    @property
    def line(self) -> str:
        """The problem as one clear line naming the place and the remedy."""
        return f"{self.location}: {self.message} {self.remedy}".strip()
