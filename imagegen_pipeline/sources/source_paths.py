"""Paths of sources: absolute, displayed in one line, listed; and the problems found there."""

from __future__ import annotations

import os
import re
from pathlib import Path

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.prompts import SourceProblem

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def absolute(path: Path) -> Path:
    """``path`` absolute, with links resolved. A path that no system can hold is unchanged."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a NUL character; opening the path reports it
        return path


def display_path(path: Path | str) -> str:
    """``path`` as one line of text that any database or log can hold.

    Line breaks, control characters and bytes that are not UTF-8 are written as escapes.
    """
    return _UNPRINTABLE.sub(lambda char: char[0].encode("unicode_escape").decode(), str(path))


def error_reason(error: OSError | ValueError) -> str:
    """The system's error message, without the path that it repeats."""
    return getattr(error, "strerror", None) or str(error)


def source_problem(container: str, location: str, error: SourceError) -> SourceProblem:
    """``error`` as the problem of one location in ``container``."""
    return SourceProblem(container, location, str(error), error.remedy)


def list_folder(folder: Path, *, setting: str) -> list[os.DirEntry[str]]:
    """Everything in ``folder`` that is not hidden, by name (code points: ``B`` before ``a``).

    Raises SourceError when it cannot be listed; its remedy names ``setting``.
    """
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError as error:
        raise SourceError(
            "The folder does not exist.",
            remedy=f"Create it, or set {setting} to the right folder.",
        ) from error
    except NotADirectoryError as error:
        raise SourceError(
            "This is not a folder.", remedy=f"Set {setting} to the right folder."
        ) from error
    except (OSError, ValueError) as error:
        raise SourceError(
            f"The folder cannot be read: {error_reason(error)}.",
            remedy=f"Repair its permissions, or set {setting} to the right folder.",
        ) from error
    return sorted(visible, key=lambda entry: entry.name)
