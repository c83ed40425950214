"""The error tree in the module's docstring."""

from __future__ import annotations

import re

from imagegen_pipeline.domain import errors
from imagegen_pipeline.domain.errors import ImagegenError

_LINE = re.compile(r"([│├└─ ]*)(\w+Error) +(\w+) +(?:the (item|batch)|stops) ")


def test_the_tree_in_the_docstring_is_the_class_tree() -> None:
    """The docstring draws every error once, below its base, with its kind and what it stops."""
    drawn: list[type[ImagegenError]] = []
    path: list[type[ImagegenError]] = []
    for indent, name, kind, stops in _LINE.findall(errors.__doc__ or ""):
        error = getattr(errors, name)
        depth = len(indent) // 4
        path[depth:] = [error]
        if depth:
            assert (error.kind, error.stops_batch) == (kind, stops == "batch"), name
            assert error.__base__ is path[depth - 1], name
        drawn.append(error)
    defined = [error for error in vars(errors).values() if isinstance(error, type)]
    package = [error for error in defined if issubclass(error, ImagegenError)]
    assert sorted(error.__name__ for error in drawn) == sorted(one.__name__ for one in package)
