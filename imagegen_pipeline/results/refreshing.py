"""The table brought up to date and read through: one call for whoever wants it fresh."""

from __future__ import annotations

from pathlib import Path

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.results.dataset import (
    DamagedPartError,
    part_files,
    read_part,
    refresh_table,
)
from imagegen_pipeline.results.statistics import READ, Statistics, statistics_of

_TRIES = 3


def refresh_results(ledger: Ledger, folder: Path) -> Statistics:
    """Bring the table in ``folder`` up to date and add it up; raises StoreError, LedgerError.

    A file that turns out not to read is written again from the ledger.
    """
    tried: dict[Path, int] = {}
    while True:
        refresh_table(ledger, folder)
        try:
            return statistics_of(read_part(file, READ) for file in part_files(folder))
        except DamagedPartError as error:
            tried[error.file] = tried.get(error.file, 0) + 1
            if tried[error.file] == _TRIES:
                raise StoreError(
                    str(error), remedy="Look at the disk: it was written anew more than once."
                ) from error
            _remove(error.file)


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{file} cannot be removed: {error.strerror or error}.") from error
