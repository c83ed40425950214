"""The results table on disk: a Parquet dataset that is partitioned by attempt id.

```
generation_results.parquet/
    part-000000.parquet    attempts 1 to 10,000
    part-000001.parquet    attempts 10,001 to 20,000
    unreadable.parquet     unreadable source items; its metadata holds the ledger's cursor
```

A refresh rewrites the partitions in which an attempt has changed since the cursor. Each file is
replaced atomically and ``unreadable.parquet`` comes last, so after a crash the table is readable
and the next refresh repeats what is missing.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import random
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.ledger import Ledger, ResultsCursor
from imagegen_pipeline.results.attempt_rows import row_values, unreadable_rows
from imagegen_pipeline.results.parquet import (
    array_of,
    arrow_schema,
    arrow_table,
    table_of_rows,
    write_parquet,
)

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 10_000
"""Attempt ids per file: the rows in memory at a time, and the rows that one change rewrites."""
VERIFIED_PARTS = 4
"""Unchanged files whose checksums each refresh verifies, chosen at random."""
LOCK_SECONDS = 300.0
"""How long a refresh waits for another one: longer than a million rows take to write."""
_POLL_SECONDS = 0.05
_BATCH_ROWS = 500
_UNREADABLE = "unreadable.parquet"
_CURSOR = b"imagegen_cursor"
_VERSION = 1
"""Increase when a column of the same name and type changes its meaning."""


class DamagedPartError(Exception):
    """A file of the table is missing, is corrupt, or has other columns."""


def refresh_dataset(ledger: Ledger, folder: Path) -> None:
    """Bring the table in ``folder`` up to date with the ledger; raises StoreError and LedgerError.

    The whole table is rebuilt if there is none, if its columns differ, or if it belongs to
    another ledger; a missing or damaged file is rebuilt by itself.
    """
    with _exclusive_lock(folder):
        try:
            _Refresh(ledger, folder).run()
        except OSError as error:
            path = error.filename or folder
            raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error


class _Refresh:
    """One refresh; the lock is held."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger = ledger
        self._folder = folder.resolve()  # a symbolic link stays
        self._draft = self._folder.with_name(f".{self._folder.name}.draft")
        # Read before any row: what changes meanwhile is read again by the next refresh.
        changes = ledger.results.changes(_read_cursor(self._folder / _UNREADABLE))
        self._cursor, self._changed = changes.cursor, changes.attempt_ids
        self._part_count = -(-self._cursor.last_attempt // PART_ROWS)

    def run(self) -> None:
        self._remove_leftovers()
        if self._changed is None:
            self._rebuild()
        else:
            self._update(_by_part(self._changed))

    def _remove_leftovers(self) -> None:
        """Remove the temporary files of a process that was killed."""
        shutil.rmtree(self._draft, ignore_errors=True)
        for pattern in (".part-*", f".{Path(_UNREADABLE).stem}.*"):
            for file in self._folder.glob(pattern):
                file.unlink(missing_ok=True)

    def _rebuild(self) -> None:
        """Write every file beside the folder, then move them, so that readers have the old table
        until the new one is complete.
        """
        self._draft.mkdir(parents=True)
        for number in range(self._part_count):
            self._write_part(self._draft, number)
        self._write_unreadable(self._draft, self._cursor)
        if self._folder.is_file():
            self._folder.unlink()
        if not self._folder.exists():
            self._draft.rename(self._folder)
            return
        self._write_unreadable(self._folder, None)  # an interrupted move is repeated
        new = sorted(self._draft.iterdir())
        for old in set(self._folder.glob("part-*.parquet")) - {self._folder / f.name for f in new}:
            old.unlink()
        for file in new:
            file.replace(self._folder / file.name)
        self._draft.rmdir()

    def _update(self, changed: Mapping[int, list[int]]) -> None:
        verified = random.sample(range(self._part_count), min(VERIFIED_PARTS, self._part_count))
        for number in range(self._part_count):
            file = self._folder / part_name(number)
            try:
                if number in changed:
                    self._merge(file, changed[number])
                else:
                    verify_part(file, read=number in verified)
            except DamagedPartError:
                self._write_part(self._folder, number)
        self._write_unreadable(self._folder, self._cursor)

    def _write_part(self, folder: Path, number: int) -> None:
        """Write a file from the ledger alone."""
        first = number * PART_ROWS + 1
        rows = self._ledger.results.between(first, first + PART_ROWS - 1)
        write_parquet(_table(rows), folder / part_name(number))

    def _merge(self, file: Path, changed: list[int]) -> None:
        """Replace the rows of the attempts ``changed`` in a file, keeping the others."""
        import pyarrow as pa
        import pyarrow.compute as pc

        before = _read_part(file)
        is_changed = pc.is_in(before["attempt"], value_set=array_of(pa.int64(), changed))
        rows = _table(self._ledger.results.by_ids(changed))
        after = pa.concat_tables([before.filter(pc.invert(is_changed)), rows])
        write_parquet(after.sort_by("attempt"), file)

    def _write_unreadable(self, folder: Path, cursor: ResultsCursor | None) -> None:
        """Always written: a table without rows has its columns all the same."""
        table = table_of_rows(unreadable_rows(self._ledger))
        if cursor is not None:
            state = json.dumps({"version": _VERSION, **asdict(cursor)}).encode()
            table = table.replace_schema_metadata({**table.schema.metadata, _CURSOR: state})
        write_parquet(table, folder / _UNREADABLE)


def part_name(number: int) -> str:
    """The file name of a partition."""
    return f"part-{number:06d}.parquet"


def verify_part(file: Path, *, read: bool) -> None:
    """Check a file's footer and columns and, with ``read``, the checksums of all of its pages;
    raises DamagedPartError.
    """
    if read:
        _read_part(file)
    else:
        _read_schema(file)


def _read_part(file: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _read_schema(file)
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            return opened.read()
    except (OSError, pa.ArrowException) as error:
        raise DamagedPartError(f"{file} is damaged: {error}") from error


def _read_schema(file: Path) -> pa.Schema:
    """The schema of a file, which has to be that of the table in names, types and descriptions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        raise DamagedPartError(f"{file} is damaged: {error}") from error
    expected = arrow_schema().remove_metadata()
    if not schema.remove_metadata().equals(expected, check_metadata=True):
        raise DamagedPartError(f"{file} has other columns.")
    return schema


def _read_cursor(file: Path) -> ResultsCursor | None:
    """The cursor of the last complete refresh; None if the table has to be rebuilt."""
    try:
        state = json.loads(_read_schema(file).metadata[_CURSOR])
        return ResultsCursor(**state) if state.pop("version") == _VERSION else None
    except (DamagedPartError, ValueError, KeyError, TypeError):
        return None


def _table(rows: Iterable[Any]) -> pa.Table:
    """Ledger rows as one table, converted in batches: as Python objects, rows take ten times the
    memory of columns.
    """
    import pyarrow as pa

    values = (row_values(row) for row in rows)
    batches = iter(lambda: list(itertools.islice(values, _BATCH_ROWS)), [])
    return pa.concat_tables([arrow_table([]), *(arrow_table(batch) for batch in batches)])


def _by_part(attempt_ids: Sequence[int]) -> dict[int, list[int]]:
    groups = itertools.groupby(attempt_ids, lambda attempt_id: (attempt_id - 1) // PART_ROWS)
    return {number: list(ids) for number, ids in groups}


@contextmanager
def _exclusive_lock(folder: Path) -> Iterator[None]:
    """Exclude every other writer of ``folder``, threads and processes; raises StoreError.

    A lock of the operating system on a file beside the folder, so it ends with its process.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    path = folder.with_name(f".{folder.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
    with lock:
        while not _try_lock(lock.fileno()):
            if time.monotonic() > deadline:
                raise StoreError(
                    f"Another process has been writing {folder} for {LOCK_SECONDS:.0f} s.",
                    remedy="End that process if it hangs; the next refresh completes the table.",
                )
            time.sleep(_POLL_SECONDS)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
