"""Prompts and actors to pictures with paid services: never lost, never paid for twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagegen_pipeline.legacy.duomi_image_generator import DuomiImageGenerator

__all__ = ["DuomiImageGenerator"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute may be anything
    # Imported when asked for, so that `imagegen --help` and the code location load fast.
    if name == "DuomiImageGenerator":
        from imagegen_pipeline.legacy.duomi_image_generator import DuomiImageGenerator

        return DuomiImageGenerator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
