"""Where a stored picture's file is, and nothing else: what a route may open."""

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
    raise AssertionError("a picture's format has no media type")


def picture_file(pipeline: Pipeline, attempt: Attempt) -> Path | None:
    """The file of a stored picture; None when it is gone, or leads out of the folders that
    pictures are kept in. One that lies in an archive is brought back to its place first.
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
    except (OSError, ValueError, RuntimeError):  # not there, no path at all, a ring of links
        return None
    given = pipeline.settings
    roots = {given.data_dir, given.output_dir, given.base_images_dir}
    is_ours = any(file.is_relative_to(root.resolve()) for root in roots)
    return file if is_ours and file.suffix in _TYPES and file.is_file() else None


def media_type(file: Path) -> str:
    """The type of a picture's file by its suffix, which is the one its bytes have."""
    return _TYPES[file.suffix]
