"""Prompts, and source items that cannot be read."""

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
    """One prompt of any source.

    ``location`` is where it was read: ``/path/to.db#902``, a JSON file's path, or empty for a typed
    prompt. ``container`` is the scanned database or folder: a prompt is *gone* only if a scan of
    its container does not find it.
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
    """A source item that cannot be read: the reason and the remedy."""

    container: str
    location: str
    message: str
    remedy: str

    @property
    def line(self) -> str:
        """The location, the reason and the remedy, as one line."""
        return f"{self.location}: {self.message} {self.remedy}".strip()
