"""Where things were read: paths that are absolute, and texts of them that fit in one line."""

from __future__ import annotations

import os
import re
from pathlib import Path

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.prompts import SourceProblem

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def absolute(path: Path) -> Path:
    """``path`` absolute, its links followed; one that no system can hold is left as it is."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a NUL character; opening it says so
        return path


def shown(place: Path | str) -> str:
    """``place`` as text of one line that any database or log can hold.

    It is the place itself but for line breaks, control characters and bytes that are not
    UTF-8, which are written as escapes.
    """
    return _UNPRINTABLE.sub(lambda char: char[0].encode("unicode_escape").decode(), str(place))


def reason(error: OSError | ValueError) -> str:
    """Why the system refused, without the path that its message repeats."""
    return getattr(error, "strerror", None) or str(error)


def problem(container: str, location: str, error: SourceError) -> SourceProblem:
    """``error`` as the problem of one location in ``container``."""
    return SourceProblem(container, location, str(error), error.remedy)
