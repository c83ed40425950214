"""Locks: one clean-up, backup or restore of a data folder at a time.

A clean-up beside a backup could move a file into an archive after the ledger was copied, so the
backup would miss it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.storage.atomic_files import as_store_error
from imagegen_pipeline.storage.pictures import HIDDEN

LOCK = "maintenance.lock"


@contextmanager
def maintenance_lock(data_dir: Path) -> Iterator[None]:
    """Exclude every other clean-up, backup and restore of this data folder; raises SetupError."""
    with exclusive_lock(data_dir / HIDDEN / LOCK, f"clean-up, backup or restore of {data_dir}"):
        yield


@contextmanager
def exclusive_lock(file: Path, task: str) -> Iterator[None]:
    """Hold a lock file; the system releases it when the process ends.

    Raises SetupError, which names the ``task``, if another process holds it, and StoreError.
    """
    with as_store_error(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = file.open("a")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError(
                f"Another {task} is running.", remedy="Run this again when it has ended."
            ) from None
        yield
