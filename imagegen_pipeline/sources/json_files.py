"""Prompts in JSON files: one folder, not recursive, one object with ``image_prompt`` a file."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from os import DirEntry
from pathlib import Path

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.partition_keys import json_key
from imagegen_pipeline.domain.prompt_text import prompt_text_fault, text_or_none
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.sources.change_tokens import NO_TOKEN, change_token, listing_token
from imagegen_pipeline.sources.source_paths import (
    absolute,
    display_path,
    error_reason,
    list_folder,
    source_problem,
)
from imagegen_pipeline.sources.source_reader import Entry, SourceItem

LARGEST_FILE = 10 * 1024 * 1024
"""In bytes. A prompt file has a few kilobytes."""
_SUFFIX = ".json"
_SETTING = "IMAGEGEN_PROMPT_JSON_DIR (or --input-dir)"
_SAVE_AGAIN = "Save it again as a JSON object in UTF-8."
_JSON_TYPES = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


@dataclass(frozen=True)
class JsonFolder:
    """A folder of prompt files; see ``Source``.

    Hidden files are left out; the suffix may be of any case. Of two files with one stem the
    first by name is used.
    """

    path: Path
    max_bytes: int = LARGEST_FILE
    kind: ItemKind = "prompt"
    retries_problems: bool = True

    @cached_property
    def _folder(self) -> Path:
        return absolute(self.path)

    @cached_property
    def container(self) -> str:
        """See ``Source.container``."""
        return display_path(self._folder)

    @cached_property
    def _tokens(self) -> dict[str, str]:
        """Every ``*.json`` right in the folder, by name; raises SourceError."""
        return {
            entry.name: _file_token(entry)
            for entry in list_folder(self._folder, setting=_SETTING)
            if entry.name.lower().endswith(_SUFFIX)
        }

    def change_token(self) -> str:
        """See ``Source.change_token``."""
        return listing_token(self._tokens)

    def entries(self) -> Iterator[Entry]:
        """The files, by name (code points)."""
        for name, token in self._tokens.items():
            location = f"{self.container.rstrip('/')}/{display_path(name)}"
            try:
                key = json_key(name[: -len(_SUFFIX)])
            except UnicodeEncodeError:
                key = None
            yield Entry(location, key, token, partial(self._read, name, key, location))

    def duplicate(self, location: str, first: str) -> SourceProblem:
        """See ``Source.duplicate``."""
        name, other = (path.rpartition("/")[2] for path in (location, first))
        return SourceProblem(
            self.container,
            location,
            f"{name} has the same name as {other}, but for the suffix or the way that accents are "
            "stored, so both would be one prompt; it is left out.",
            "Rename one of them.",
        )

    def sort_key(self, source_item: SourceItem) -> str:
        """The file's name."""
        return (source_item.filename if isinstance(source_item, Prompt) else None) or ""

    def _read(self, name: str, key: str | None, location: str) -> Prompt | SourceProblem:
        try:
            if key is None:
                raise SourceError("The file's name is not UTF-8.", remedy="Rename the file.")
            fields = read_json_object(self._folder / name, max_bytes=self.max_bytes)
            return Prompt(
                key=key,
                text=_prompt_text(fields),
                source="json",
                container=self.container,
                location=location,
                filename=name,
                pic_name=text_or_none(fields.get("pic_name")),
                image_url=text_or_none(fields.get("image_url")),
            )
        except SourceError as error:
            return source_problem(self.container, location, error)


def read_json_object(path: Path, *, max_bytes: int) -> dict[str, object]:
    """The file's JSON object: UTF-8, a byte order mark allowed, ``max_bytes`` at most.

    Raises SourceError for anything else. A larger file is not read at all, nor is a pipe.
    """
    value = _parse(_decode(_read_bytes(path, max_bytes)))
    if not isinstance(value, dict):
        raise SourceError(
            f"The JSON is {json_type(value)}, not an object.",
            remedy='Write one object in each file, {"…": "…"}.',
        )
    return value


def json_type(value: object) -> str:
    """The JSON name of a value's type, with its article."""
    return _JSON_TYPES[type(value)]


def _file_token(entry: DirEntry[str]) -> str:
    try:
        return change_token(entry.stat())
    except OSError:  # a dangling link, a folder without permission
        return NO_TOKEN


def _prompt_text(fields: dict[str, object]) -> str:
    if "image_prompt" not in fields:
        raise SourceError("The file has no image_prompt.", remedy='Add "image_prompt": "…".')
    text = fields["image_prompt"]
    if not isinstance(text, str):
        raise SourceError(
            f"The image_prompt is {json_type(text)}, not a text.",
            remedy='Write "image_prompt": "…" with the text in quotes.',
        )
    if fault := prompt_text_fault(text, "image_prompt"):
        raise SourceError(fault[0], remedy=fault[1])
    return text


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
            raise SourceError(f"This is {what}, not a file.", remedy="Rename it or move it away.")
        size = status.st_size
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
            f"The file cannot be read: {error_reason(error)}.", remedy="Check its permissions."
        ) from error
    raise SourceError(
        f"The file has {size:,} bytes; the limit is {max_bytes:,}.",
        remedy="Check that this is the right file, or keep only the fields that are needed.",
    )


def _decode(content: bytes) -> str:
    if not content.strip(b"\0"):
        what = "holds only NUL bytes" if content else "is empty"
        raise SourceError(f"The file {what}.", remedy=_SAVE_AGAIN)
    encoding = json.detect_encoding(content)
    if not encoding.startswith("utf-8"):
        raise SourceError(f"The file is {encoding[:6].upper()}, not UTF-8.", remedy=_SAVE_AGAIN)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"The file is not UTF-8 (byte {error.start + 1} is 0x{error.object[error.start]:02X}).",
            remedy=_SAVE_AGAIN,
        ) from error


def _parse(text: str) -> object:
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise SourceError(
            f"The JSON is broken at line {error.lineno}, column {error.colno}: "
            f"{error.msg.removesuffix(' at')}.",
            remedy="Repair it there.",
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
