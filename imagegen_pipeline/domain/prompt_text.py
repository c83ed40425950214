"""Validation of prompt texts."""

from __future__ import annotations

import re
import unicodedata

_SURROGATE = re.compile("[\ud800-\udfff]")
_INVISIBLE = {"Cc", "Cf"}  # control and format characters: zero-width, byte order mark


def prompt_text_fault(text: str, name: str = "prompt") -> tuple[str, str] | None:
    """The reason why ``text`` is not a valid prompt, and the remedy; None if it is valid.

    ``name`` is the name of the field in the message. Neither part repeats the text.
    """
    if "\0" in text:
        return f"The {name} holds a NUL character.", "Remove it: no provider accepts such a text."
    if _SURROGATE.search(text):
        return f"The {name} holds half a character (a lone surrogate).", "Write the text again."
    if all(char.isspace() or unicodedata.category(char) in _INVISIBLE for char in text):
        return f"The {name} is blank.", "Write what the image should show, or remove it."
    return None


def text_or_none(value: object) -> str | None:
    """``value`` if it is a valid text, else None: for the optional names of a prompt."""
    if isinstance(value, str) and prompt_text_fault(value) is None:
        return value
    return None
