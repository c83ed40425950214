"""Validation of prompt texts."""

import pytest

from imagegen_pipeline.domain.prompt_text import prompt_text_fault, text_or_none


@pytest.mark.parametrize(
    "text", ["a", " a ", "日本語", "👩‍🚀", "\ufeffa", "…", "line\nbreak", "ё" * 10_000, "\ue000"]
)
def test_usable(text: str) -> None:
    """A text with one visible character is a valid prompt."""
    assert prompt_text_fault(text) is None
    assert text_or_none(text) == text


@pytest.mark.parametrize(
    "text", ["", " ", "\t\r\n", "\u00a0\u3000", "\u200b", "\ufeff", "\u200d \u2060", "\x01"]
)
def test_blank(text: str) -> None:
    """Blanks, zero-width characters and byte order marks alone are blank."""
    fault = prompt_text_fault(text, "description")
    assert fault is not None
    assert fault[0] == "The description is blank."
    assert fault[1]
    assert text_or_none(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\0", "NUL"), ("\0", "NUL"), ("a\ud800b", "surrogate"), ("\udfff", "surrogate")],
)
def test_unsendable(text: str, message: str) -> None:
    """A text that no provider accepts gets a message that names its fault."""
    fault = prompt_text_fault(text)
    assert fault is not None
    assert message in fault[0]
    assert text_or_none(text) is None


def test_text_or_none_takes_anything() -> None:
    """A value that is not a text counts as absent."""
    values: tuple[object, ...] = (None, 1, [], {}, b"a")
    assert [text_or_none(value) for value in values] == [None] * 5
