"""What a folder of sources holds, in an order that does not change."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.sources.source_paths import reason


class SourceFolder(Protocol):
    """A folder whose files, or sub-folders, become items one by one. They go by their names."""

    @property
    def container(self) -> str:
        """The folder's path, as its items name it."""

    def stamps(self) -> dict[str, str]:
        """What is there, by name: its stamp. Opens no file; raises SourceError."""

    def location(self, name: str) -> str:
        """The location of an item that is read there."""

    def key(self, name: str) -> str | SourceProblem:
        """The key that the name asks for."""

    def taken(self, name: str, first: str) -> SourceProblem:
        """Why one is left out whose key ``first`` has already."""

    def read(self, name: str, key: str) -> Prompt | Actor | SourceProblem:
        """What is there now."""


def list_folder(folder: Path, *, setting: str) -> list[os.DirEntry[str]]:
    """Everything in ``folder`` that is not hidden, by name (code points: ``B`` before ``a``).

    Raises SourceError when it cannot be listed; its remedy names ``setting``.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError as error:
        raise SourceError(
            "The folder does not exist.",
            remedy=f"Create it, or set {setting} to the folder that is meant.",
        ) from error
    except NotADirectoryError as error:
        raise SourceError(
            "This is not a folder.", remedy=f"Set {setting} to the folder that is meant."
        ) from error
    except (OSError, ValueError) as error:
        raise SourceError(
            f"The folder cannot be read: {reason(error)}.",
            remedy=f"Repair its permissions, or set {setting} to the folder that is meant.",
        ) from error
    return sorted(found, key=lambda entry: entry.name)


def assign_keys(
    folder: SourceFolder, names: Iterable[str]
) -> tuple[dict[str, str], list[SourceProblem]]:
    """The names with their keys, and those that can have none: of two with one key the first
    has it.
    """
    firsts: dict[str, str] = {}
    keys: dict[str, str] = {}
    bad: list[SourceProblem] = []
    for name in names:
        key = folder.key(name)
        if isinstance(key, SourceProblem):
            bad.append(key)
        elif (first := firsts.setdefault(key, name)) != name:
            bad.append(folder.taken(name, first))
        else:
            keys[name] = key
    return keys, bad
