"""Prompts that somebody typed."""

import pytest

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.partition_keys import is_key
from imagegen_pipeline.sources.typed_prompts import typed_prompt


def test_typed_prompt() -> None:
    """A typed prompt keeps its text and has no place."""
    prompt = typed_prompt(" a beautiful sunset\n")
    assert prompt.text == " a beautiful sunset\n"
    assert (prompt.source, prompt.container, prompt.location) == ("single_prompt", "typed", "")
    assert is_key(prompt.key)
    assert prompt.key.startswith("prompt-a-beautiful-sunset-")


@pytest.mark.parametrize("text", ["", " \n\u200b", "a\0b", "a\udc80"])
def test_refused(text: str) -> None:
    """A text that no picture can be asked for with is refused with a sentence and a remedy."""
    with pytest.raises(SourceError, match=r"^The prompt .*\.") as refused:
        typed_prompt(text)
    assert refused.value.remedy
    assert refused.value.sentence.encode()
