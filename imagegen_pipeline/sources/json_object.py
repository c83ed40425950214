"""A JSON object from a file, or one clear reason why there is none."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.errors import SourceError

_WRITE_AGAIN = "Save it again as a JSON object in UTF-8."


def read_json_object(path: Path, *, max_bytes: int) -> dict[str, Any]:
    """The file's JSON object; raises SourceError. A larger file is not read at all."""
    try:
        if not path.is_file():
            raise SourceError("It is not a regular file.", remedy="Put a JSON file in its place.")
        size = path.stat().st_size
        if size > max_bytes:
            raise SourceError(
                f"The file has {size:,} bytes; the limit is {max_bytes:,}.",
                remedy="A prompt is short: check that this is the right file.",
            )
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"The file cannot be read: {error.strerror}.", remedy="Check its permissions."
        ) from None
    return _parse(_decode(data))


def _decode(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SourceError("The file is UTF-16, not UTF-8.", remedy=_WRITE_AGAIN)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"The file is not UTF-8 (byte {error.start}).", remedy=_WRITE_AGAIN
        ) from None


def _parse(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise SourceError(
            f"The JSON is broken: {error.msg} (line {error.lineno}, column {error.colno}).",
            remedy="Mend it there.",
        ) from None
    except RecursionError:
        raise SourceError("The JSON is nested too deep.", remedy=_WRITE_AGAIN) from None
    except ValueError as error:
        raise SourceError(f"The JSON cannot be read: {error}.", remedy=_WRITE_AGAIN) from None
    if not isinstance(value, dict):
        raise SourceError(
            f"The JSON is a {type(value).__name__}, not an object.",
            remedy='Write it as {"image_prompt": "…"}; one file for each prompt.',
        )
    return value
