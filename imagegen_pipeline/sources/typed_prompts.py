"""Prompts that somebody typed."""

from __future__ import annotations

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.partition_keys import typed_key
from imagegen_pipeline.domain.prompt_text import prompt_text_fault
from imagegen_pipeline.domain.prompts import Prompt


def typed_prompt(text: str) -> Prompt:
    """A typed prompt; raises SourceError for a text that cannot be one."""
    fault = prompt_text_fault(text)
    if fault is not None:
        message, remedy = fault
        raise SourceError(message, remedy=remedy)
    return Prompt(
        key=typed_key(text), text=text, source="single_prompt", container="typed", location=""
    )
