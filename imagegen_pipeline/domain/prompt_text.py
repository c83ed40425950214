"""What a text must be to be a prompt."""

from __future__ import annotations

import re
import unicodedata

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSEEN = {"Cc", "Cf"}  # control and format characters: zero-width, byte order mark


def prompt_text_fault(text: str, name: str = "prompt") -> tuple[str, str] | None:
    """What keeps ``text`` from being a prompt, and what to do about it; None if nothing does.

    ``name`` is what the place it stands in is called. Neither part repeats the text.
    """
    if "\0" in text:
        return f"The {name} holds a NUL character.", "Remove it: no service takes such a text."
    if _SURROGATE.search(text):
        return f"The {name} holds half a character (a lone surrogate).", "Write the text anew."
    if all(char.isspace() or unicodedata.category(char) in _UNSEEN for char in text):
        return f"The {name} is blank.", "Write what the picture should show, or remove it."
    return None


def text_or_none(value: object) -> str | None:
    """``value`` if it is a usable text, else None: for names that a prompt can do without."""
    if isinstance(value, str) and prompt_text_fault(value) is None:
        return value
    return None
