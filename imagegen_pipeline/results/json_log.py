"""The users' results log in JSON."""

from __future__ import annotations

import json
import os
from itertools import chain
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.storage.atomic_files import temporary_file


def write_json_log(results: list[dict[str, Any]], path: Path) -> Path:
    """The users' results log, written whole or not at all; raises StoreError.

    A name that is taken gets ``_2``, ``_3``: no log is ever overwritten.
    """
    parts = json.JSONEncoder(ensure_ascii=False, indent=2, default=str).iterencode(results)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Half a character can only come from a folder's name; JSON has an escape for it.
        encoded = (part.encode("utf-8", "backslashreplace") for part in chain(parts, "\n"))
        spare = temporary_file(path, encoded)
        try:
            return _move_to_free_name(spare, path)
        finally:
            spare.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error


def _move_to_free_name(spare: Path, path: Path) -> Path:
    target, number = path, 1
    while True:
        try:
            os.link(spare, target)  # unlike rename(), refuses a name that is taken
            return target
        except FileExistsError:
            number += 1
            target = path.with_name(f"{path.stem}_{number}{path.suffix}")
        except OSError:  # a file system without hard links
            if not target.exists():
                return spare.replace(target)
            number += 1
            target = path.with_name(f"{path.stem}_{number}{path.suffix}")
