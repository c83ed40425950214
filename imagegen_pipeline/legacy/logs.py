"""The guides' two logs: the text log, and one JSON file of results for each batch."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Sequence
from itertools import chain
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.parameters import file_time
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.domain.requests import Outcome
from imagegen_pipeline.storage.atomic_files import rename_durably, temporary_file

LOG_NAME = "duomi_image_generation.log"
_logger = logging.getLogger("imagegen_pipeline")


def open_log(folder: Path) -> Path:
    """Add the text log in ``folder`` to the package's logger; raises StoreError."""
    path = folder / LOG_NAME
    for handler in _logger.handlers:
        if isinstance(handler, WatchedFileHandler) and handler.baseFilename == str(path):
            return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = WatchedFileHandler(path, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"The log {path} cannot be written: {error.strerror}.") from error
    handler.setFormatter(logging.Formatter("%(asctime)s - %(levelname)s - %(message)s"))
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    return path


def close_log() -> None:
    """Remove the text log from the package's logger and close it."""
    for handler in list(_logger.handlers):
        if isinstance(handler, WatchedFileHandler):
            _logger.removeHandler(handler)
            handler.close()


def user_result(prompt: Prompt, outcome: Outcome) -> dict[str, Any]:
    """Convert an outcome to the guides' result dictionary."""
    attempt = outcome.attempt
    result: dict[str, Any] = {
        "success": outcome.ok,
        "data": _data(outcome),
        "prompt": prompt.text,
        "timestamp": _timestamp(),
        "source": prompt.source,
        "status": str(outcome.status),
        "saved_path": outcome.path,
        "seed": attempt.seed if attempt else None,
        "cost": outcome.cost,
        "key": prompt.key,
    }
    if prompt.source == "database":
        result |= {"source_id": prompt.row_id, "image_id": prompt.image_id}
    if prompt.source == "json":
        result["source_file"] = prompt.filename
    if not outcome.ok:
        result |= {"error": outcome.reason, "error_kind": outcome.error_kind}
    if outcome.warnings:
        result["warnings"] = list(outcome.warnings)
    return result


def problem_result(problem: SourceProblem, source: str) -> dict[str, Any]:
    """Convert an unreadable source item to the guides' result dictionary."""
    return {
        "success": False,
        "data": None,
        "prompt": None,
        "timestamp": _timestamp(),
        "source": source,
        "status": "unreadable",
        "source_file": problem.location,
        "saved_path": None,
        "error": problem.line,
        "error_kind": "source",
    }


def _data(outcome: Outcome) -> dict[str, Any] | None:
    attempt = outcome.attempt
    if not outcome.ok or attempt is None or outcome.path is None:
        return None
    data: dict[str, Any] = {
        "images": [{"url": Path(outcome.path).as_uri()}],
        "seed": attempt.seed,
    }
    if attempt.run_seconds is not None:
        data["timings"] = {"inference": attempt.run_seconds}
    return data


def _timestamp() -> str:
    return dt.datetime.now().astimezone().replace(tzinfo=None).isoformat(timespec="milliseconds")


def write_results_log(
    results: Sequence[dict[str, Any]], folder: Path, now: float, path: Path | None = None
) -> Path:
    """Write the JSON results log of a batch that ended at ``now``; returns its path.

    Raises StoreError.
    """
    default = folder / f"duomi_generation_results_{file_time(now)}.json"
    return write_json_log(list(results), path or default)


def write_json_log(results: list[dict[str, Any]], path: Path) -> Path:
    """Write a JSON results log atomically; returns its path, raises StoreError.

    A taken name gets the suffix ``_2``, ``_3`` and so on: no log is overwritten.
    """
    chunks = json.JSONEncoder(ensure_ascii=False, indent=2, default=str).iterencode(results)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A lone surrogate can come from a folder's name; JSON has an escape for it.
        encoded = (chunk.encode("utf-8", "backslashreplace") for chunk in chain(chunks, "\n"))
        temporary = temporary_file(path, encoded)
        try:
            return _move_to_free_name(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error


def _move_to_free_name(temporary: Path, path: Path) -> Path:
    target, number = path, 1
    while True:
        try:
            rename_durably(temporary, target, flush=False)
            return target
        except FileExistsError:
            number += 1
            target = path.with_name(f"{path.stem}_{number}{path.suffix}")
