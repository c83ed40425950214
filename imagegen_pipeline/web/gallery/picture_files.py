"""Resolves an attempt to its image file; routes open no other files."""

from __future__ import annotations

import logging
from pathlib import Path

from imagegen_pipeline.domain.errors import ImagegenError
from imagegen_pipeline.domain.image.decode import SUFFIXES
from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.pipeline import Pipeline

_log = logging.getLogger(__name__)
_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
if set(_TYPES) != set(SUFFIXES.values()):
    raise AssertionError("an image format has no media type")


def picture_file(pipeline: Pipeline, attempt: Attempt) -> Path | None:
    """The file of a stored image; None if it is missing, or a link that leads outside the image
    folders. An archived image is extracted first.
    """
    if attempt.state is not State.STORED or attempt.path is None:
        return None
    try:
        if attempt.archive is not None and not pipeline.store.absolute(attempt.path).exists():
            pipeline.engine_context.extract_picture(attempt)
        file = pipeline.store.absolute(attempt.path).resolve(strict=True)
    except ImagegenError as error:
        _log.warning("%s: %s", attempt.item_key, error.sentence)
        return None
    except (OSError, ValueError, RuntimeError):  # missing, not a path, a loop of links
        return None
    settings = pipeline.settings
    roots = {settings.data_dir, settings.output_dir, settings.base_images_dir}
    is_inside = any(file.is_relative_to(root.resolve()) for root in roots)
    return file if is_inside and file.suffix in _TYPES and file.is_file() else None


def media_type(file: Path) -> str:
    """The media type by the file's suffix; the store chose it by the content."""
    return _TYPES[file.suffix]
