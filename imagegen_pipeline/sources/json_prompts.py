"""Prompts in JSON files: one folder, not recursive, one object with ``image_prompt`` a file."""

from __future__ import annotations

from pathlib import Path

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.keys import json_key
from imagegen_pipeline.domain.prompt_text import prompt_text_fault, text_or_none
from imagegen_pipeline.domain.prompts import Prompt, PromptScan, SourceProblem
from imagegen_pipeline.sources.folder_listing import list_folder
from imagegen_pipeline.sources.json_object import json_type, read_json_object
from imagegen_pipeline.sources.places import absolute, problem, shown

LARGEST_FILE = 10 * 1024 * 1024
"""In bytes. A prompt file has a few kilobytes."""
_SUFFIX = ".json"
_SETTING = "IMAGEGEN_PROMPT_JSON_DIR (or --input-dir)"


def scan_json_folder(folder: Path, *, max_bytes: int = LARGEST_FILE) -> PromptScan:
    """The prompts of every ``*.json`` right in ``folder``, by file name (code points).

    Hidden files are left out; the suffix may be of any case. Of two files with one stem the
    first by name is used. Raises nothing: what cannot be read is a problem, whose location is
    the file's, as its prompt's would be.
    """
    folder = absolute(folder)
    container = shown(folder)
    try:
        paths = list_folder(folder, setting=_SETTING)
    except SourceError as error:
        return PromptScan(container, (), (problem(container, container, error),), complete=False)
    prompts: list[Prompt] = []
    problems: list[SourceProblem] = []
    first_names: dict[str, str] = {}
    for path in paths:
        if not path.name.lower().endswith(_SUFFIX):
            continue
        try:
            key = _claim_key(path, first_names)
            prompts.append(_prompt(path, key, container, max_bytes))
        except SourceError as error:
            problems.append(problem(container, shown(path), error))
    return PromptScan(container, tuple(prompts), tuple(problems))


def _claim_key(path: Path, first_names: dict[str, str]) -> str:
    """The file's key, written down in ``first_names`` as this file's."""
    try:
        key = json_key(path.name[: -len(_SUFFIX)])
    except UnicodeEncodeError as error:
        raise SourceError("The file's name is not UTF-8.", remedy="Rename the file.") from error
    first = first_names.setdefault(key, path.name)
    if first != path.name:
        raise SourceError(
            f"{shown(path.name)} has the same name as {shown(first)}, but for the suffix or the "
            "way that accents are stored, so both would be one prompt; it is left out.",
            remedy="Rename one of them.",
        )
    return key


def _prompt(path: Path, key: str, container: str, max_bytes: int) -> Prompt:
    fields = read_json_object(path, max_bytes=max_bytes)
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
    return Prompt(
        key=key,
        text=text,
        source="json",
        container=container,
        location=shown(path),
        filename=path.name,
        pic_name=text_or_none(fields.get("pic_name")),
        image_url=text_or_none(fields.get("image_url")),
    )
