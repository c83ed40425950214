"""One clean-up, backup or restore of a data folder at a time.

A backup that ran beside a clean-up could miss a picture: its ledger would still name the file, and
the file would be in an archive by then.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagegen_pipeline.domain.errors import SetupError, StoreError
from imagegen_pipeline.storage.pictures import HIDDEN

LOCK = "upkeep.lock"


@contextmanager
def maintenance_lock(data_dir: Path) -> Iterator[None]:
    """Keep every other clean-up and backup of this data folder out; raises SetupError.

    The lock is the system's own, so that it ends with its process, however that ends.
    """
    place = data_dir / HIDDEN / LOCK
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        file = place.open("a")
    except OSError as error:
        raise StoreError(f"{place} cannot be written: {error.strerror or error}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError(
                f"Another clean-up, backup or restore is at work in {data_dir}.",
                remedy="Run this again when it is done.",
            ) from None
        yield
