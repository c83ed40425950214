"""A JSON object from a file, or one clear reason why there is none."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.sources.source_paths import reason

_WRITE_AGAIN = "Save it again as a JSON object in UTF-8."
_JSON_TYPES = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def read_json_object(path: Path, *, max_bytes: int) -> dict[str, object]:
    """The file's JSON object: UTF-8, a byte order mark allowed, ``max_bytes`` at most.

    Raises SourceError for anything else. A larger file is not read at all, nor is a pipe.
    """
    value = _parse(_decode(_read(path, max_bytes)))
    if not isinstance(value, dict):
        raise SourceError(
            f"The JSON is {json_type(value)}, not an object.",
            remedy='Write one object in each file, {"…": "…"}.',
        )
    return value


def json_type(value: object) -> str:
    """What a value that JSON gave is called there, with its article."""
    return _JSON_TYPES[type(value)]


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            what = "a folder" if stat.S_ISDIR(about.st_mode) else "a pipe or device"
            raise SourceError(f"This is {what}, not a file.", remedy="Rename it or move it away.")
        size = about.st_size
        if size <= max_bytes:
            with path.open("rb") as file:
                content = file.read(max_bytes + 1)  # it may have grown since
            if len(content) <= max_bytes:
                return content
            size = path.stat().st_size
    except FileNotFoundError as error:
        raise SourceError(
            "The file does not exist, or is a link to one that does not.",
            remedy="Put the file there, or remove the link.",
        ) from error
    except OSError as error:
        raise SourceError(
            f"The file cannot be read: {reason(error)}.", remedy="Check its permissions."
        ) from error
    raise SourceError(
        f"The file has {size:,} bytes; the limit is {max_bytes:,}.",
        remedy="Check that this is the right file, or keep only the fields that are needed.",
    )


def _decode(content: bytes) -> str:
    if not content.strip(b"\0"):
        what = "holds only NUL bytes" if content else "is empty"
        raise SourceError(f"The file {what}.", remedy=_WRITE_AGAIN)
    encoding = json.detect_encoding(content)
    if not encoding.startswith("utf-8"):
        raise SourceError(f"The file is {encoding[:6].upper()}, not UTF-8.", remedy=_WRITE_AGAIN)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"The file is not UTF-8 (byte {error.start + 1} is 0x{error.object[error.start]:02X}).",
            remedy=_WRITE_AGAIN,
        ) from error


def _parse(text: str) -> object:
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise SourceError(
            f"The JSON is broken at line {error.lineno}, column {error.colno}: "
            f"{error.msg.removesuffix(' at')}.",
            remedy="Mend it there.",
        ) from error
    except RecursionError as error:
        raise SourceError(
            "The JSON is nested too deep.", remedy="Remove the nested fields: none is needed."
        ) from error
    except ValueError as error:  # Python reads no whole number of more than 4300 digits
        raise SourceError(
            "The JSON holds a number of too many digits.", remedy="Shorten or remove it."
        ) from error
    return value
