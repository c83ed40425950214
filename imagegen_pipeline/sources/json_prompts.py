"""Prompts in JSON files: one folder, not recursive, one object with ``image_prompt`` a file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import DirEntry
from pathlib import Path

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.partition_keys import json_key
from imagegen_pipeline.domain.prompt_text import prompt_text_fault, text_or_none
from imagegen_pipeline.domain.prompts import Prompt, PromptScan, SourceProblem
from imagegen_pipeline.sources.change_tokens import NO_STAMP, change_token
from imagegen_pipeline.sources.folder_listing import assign_keys, list_folder
from imagegen_pipeline.sources.json_object import json_type, read_json_object
from imagegen_pipeline.sources.source_paths import absolute, problem, shown

LARGEST_FILE = 10 * 1024 * 1024
"""In bytes. A prompt file has a few kilobytes."""
_SUFFIX = ".json"
_SETTING = "IMAGEGEN_PROMPT_JSON_DIR (or --input-dir)"


@dataclass(frozen=True)
class JsonFolder:
    """A folder of prompt files; see ``SourceFolder``.

    Hidden files are left out; the suffix may be of any case. Of two files with one stem the
    first by name is used.
    """

    path: Path
    max_bytes: int = LARGEST_FILE

    @cached_property
    def _folder(self) -> Path:
        return absolute(self.path)

    @cached_property
    def container(self) -> str:
        """The folder's path, as its prompts name it."""
        return shown(self._folder)

    def stamps(self) -> dict[str, str]:
        """Every ``*.json`` right in the folder, by name; raises SourceError."""
        return {
            entry.name: _stamp(entry)
            for entry in list_folder(self._folder, setting=_SETTING)
            if entry.name.lower().endswith(_SUFFIX)
        }

    def location(self, name: str) -> str:
        """The file's path."""
        return f"{self.container.rstrip('/')}/{shown(name)}"

    def key(self, name: str) -> str | SourceProblem:
        """The key of the file's stem."""
        try:
            return json_key(name[: -len(_SUFFIX)])
        except UnicodeEncodeError:
            return self._problem(name, "The file's name is not UTF-8.", "Rename the file.")

    def taken(self, name: str, first: str) -> SourceProblem:
        """Why a file is left out whose key the file ``first`` has already."""
        return self._problem(
            name,
            f"{shown(name)} has the same name as {shown(first)}, but for the suffix or the "
            "way that accents are stored, so both would be one prompt; it is left out.",
            "Rename one of them.",
        )

    def _problem(self, name: str, message: str, remedy: str) -> SourceProblem:
        return SourceProblem(self.container, self.location(name), message, remedy)

    def read(self, name: str, key: str) -> Prompt | SourceProblem:
        """The file's prompt as it is now, or why there is none."""
        try:
            return self._prompt(name, key)
        except SourceError as error:
            return problem(self.container, self.location(name), error)

    def _prompt(self, name: str, key: str) -> Prompt:
        fields = read_json_object(self._folder / name, max_bytes=self.max_bytes)
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
            container=self.container,
            location=self.location(name),
            filename=name,
            pic_name=text_or_none(fields.get("pic_name")),
            image_url=text_or_none(fields.get("image_url")),
        )


def scan_json_folder(folder: Path, *, max_bytes: int = LARGEST_FILE) -> PromptScan:
    """The prompts of every ``*.json`` right in ``folder``, by file name (code points).

    Raises nothing: what cannot be read is a problem, whose location is the file's, as its
    prompt's would be.
    """
    source = JsonFolder(folder, max_bytes)
    container = source.container
    try:
        names = source.stamps()
    except SourceError as error:
        return PromptScan(container, (), (problem(container, container, error),), complete=False)
    keys, problems = assign_keys(source, names)
    read = [source.read(name, key) for name, key in keys.items()]
    problems += [one for one in read if isinstance(one, SourceProblem)]
    return PromptScan(
        container,
        tuple(one for one in read if isinstance(one, Prompt)),
        tuple(sorted(problems, key=lambda one: one.location)),
    )


def _stamp(entry: DirEntry[str]) -> str:
    try:
        return change_token(entry.stat())
    except OSError:  # a link that leads nowhere, a folder that may not be entered
        return NO_STAMP
