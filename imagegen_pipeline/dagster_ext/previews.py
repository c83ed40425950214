"""Small pictures in Dagster's metadata: its UI draws a data URI in a markdown value."""

import base64

import dagster as dg

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.pipeline import Pipeline


def preview_of(pipeline: Pipeline, attempt: Attempt) -> bytes | None:
    """The small WebP of an attempt's picture; None when there is none to be read."""
    try:
        return pipeline.store.preview(attempt.digest or "")
    except StoreError:  # the picture itself is reported; its preview can be made again
        return None


def drawn(name: str, picture: bytes) -> str:
    """The markdown that draws a WebP."""
    return f"![{name}](data:image/webp;base64,{base64.b64encode(picture).decode()})"


def drawing(name: str, picture: bytes) -> dg.MetadataValue:
    """A WebP as a value that the UI draws."""
    return dg.MetadataValue.md(drawn(name, picture))
