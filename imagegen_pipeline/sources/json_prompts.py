"""Prompts in JSON files: one folder, not recursive, one object with ``image_prompt`` a file."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.keys import json_key
from imagegen_pipeline.domain.prompt_text import prompt_text_fault
from imagegen_pipeline.domain.prompts import Prompt, PromptScan, SourceProblem
from imagegen_pipeline.sources.json_object import read_json_object

LARGEST_FILE = 10 * 1024 * 1024


def scan_json_folder(folder: Path, *, max_bytes: int = LARGEST_FILE) -> PromptScan:
    """Every ``*.json`` of ``folder``, sorted by name; hidden files are left out."""
    folder = folder.absolute()
    container = str(folder)
    try:
        paths = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() == ".json" and not path.name.startswith(".")
        )
    except OSError as error:
        problem = SourceProblem(
            container,
            container,
            f"The folder of JSON prompts cannot be read: {error.strerror}.",
            "Set IMAGEGEN_PROMPT_JSON_DIR (or --input-dir) to the folder, and check permissions.",
        )
        return PromptScan(container, problems=(problem,), complete=False)
    prompts: list[Prompt] = []
    problems: list[SourceProblem] = []
    first_with: dict[str, Path] = {}
    for path in paths:
        try:
            stem = unicodedata.normalize("NFC", path.stem)
            other = first_with.setdefault(stem, path)
            if other is not path:
                raise SourceError(
                    f"It has the same name as {other}, so both would be one prompt.",
                    remedy="Rename one of them.",
                )
            prompts.append(_prompt(path, container, max_bytes))
        except SourceError as error:
            problems.append(SourceProblem(container, str(path), str(error), error.remedy))
    return PromptScan(container, tuple(prompts), tuple(problems))


def _prompt(path: Path, container: str, max_bytes: int) -> Prompt:
    fields = read_json_object(path, max_bytes=max_bytes)
    text = fields.get("image_prompt")
    if text is None:
        raise SourceError("It has no image_prompt.", remedy='Add "image_prompt": "…".')
    if not isinstance(text, str):
        raise SourceError(
            f"Its image_prompt is a {type(text).__name__}, not a text.",
            remedy='Write "image_prompt": "…" with the text in quotes.',
        )
    fault = prompt_text_fault(text)
    if fault is not None:
        raise SourceError(fault[0], remedy=fault[1])
    return Prompt(
        key=json_key(path.stem),
        text=text,
        source="json",
        container=container,
        location=str(path),
        filename=path.name,
        pic_name=_text_or_none(fields.get("pic_name")),
        image_url=_text_or_none(fields.get("image_url")),
    )


def _text_or_none(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, str) else None
