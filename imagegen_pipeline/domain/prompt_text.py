"""What a text must be to be a prompt."""

from __future__ import annotations


def prompt_text_fault(text: str, name: str = "prompt") -> tuple[str, str] | None:
    """What keeps ``text`` from being a prompt, and what to do about it; None if nothing does.

    ``name`` is what the place it stands in is called.
    """
    if not any(character.isprintable() and not character.isspace() for character in text):
        return f"The {name} is blank.", "Write a prompt there, or remove it."
    if "\x00" in text:
        return f"The {name} holds a NUL character.", "Remove it: no service takes such a text."
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return f"The {name} holds half a character (a lone surrogate).", "Write the text anew."
    return None


def text_or_none(value: object) -> str | None:
    """``value`` if it is a text that can be kept, else None."""
    if not isinstance(value, str) or "\x00" in value:
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return value
