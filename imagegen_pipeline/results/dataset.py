"""The table of results on disk: a folder of Parquet files, brought up to date in parts.

```
generation_results.parquet/
    part-000000.parquet    attempts 1 to 10,000
    part-000001.parquet    attempts 10,001 to 20,000
    unreadable.parquet     what in the sources cannot be read
    _part-000000.sums      what a part adds up to, so that it need not be read for its numbers
    _refreshed.json        how far it has come: the ledger's newest change that is in it
```

Each file is replaced whole, and the last one is written last: a crash at any point leaves
files that can be read, and a number from which the next refresh goes on.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.ledger import Ledger, ResultsCursor
from imagegen_pipeline.results.attempt_rows import unreadable_rows, values_of
from imagegen_pipeline.results.dataset_state import (
    STATE_NAME,
    DatasetState,
    only_writer,
    read_state,
    stamp_of,
)
from imagegen_pipeline.results.parquet import arrow_table, table_of_rows, write_parquet
from imagegen_pipeline.results.part_sums import (
    READ,
    SUMS_FILES,
    PartSums,
    keep_sums,
    kept_sums,
    sums_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 10_000
"""Attempts in a file: what is in memory at a time, and what one change has written again."""
LOOKED_AT = 4
"""Parts that a refresh reads though nothing happened to them, in turn, whether they still read."""
_GROUP_ROWS = 500
UNREADABLE = "unreadable.parquet"
_PART = re.compile(r"part-\d{6,}\.parquet")


class DamagedPartError(Exception):
    """A file of the table is not there, or does not read."""

    def __init__(self, file: Path, error: Exception) -> None:
        super().__init__(f"{file} does not read: {error}")
        self.file = file


def refresh_table(ledger: Ledger, folder: Path, this_day: int) -> list[PartSums]:
    """Bring the table up to date with the ledger; returns what its files add up to, with
    ``this_day`` as today. Raises StoreError and LedgerError.

    Only the parts with attempts of items that something has happened to are written. A folder
    that is not there, has other columns, or is of another ledger is written anew, as is any
    file that is not as it was written.
    """
    with only_writer(folder):
        try:
            return _Refresh(ledger, folder, this_day).run()
        except OSError as error:
            place = error.filename or folder
            raise StoreError(f"{place} cannot be written: {error.strerror or error}.") from error


def part_files(folder: Path) -> list[Path]:
    """The files of the table, oldest attempts first, then the unreadable."""
    parts = (file for file in folder.glob("part-*.parquet") if _PART.fullmatch(file.name))
    return [*sorted(parts), folder / UNREADABLE]


def read_part(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one file; raises DamagedPartError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            return opened.read(columns=None if columns is None else list(columns))
    except (OSError, pa.ArrowException) as error:
        raise DamagedPartError(file, error) from error


class _Refresh:
    """One refresh; the lock is held."""

    def __init__(self, ledger: Ledger, folder: Path, this_day: int) -> None:
        self._ledger = ledger
        self._this_day = this_day
        self._sums: list[PartSums] = []
        self._folder = folder.resolve()  # a linked folder is written where it lies
        # Before any row is read: what changes meanwhile is read again by the next refresh.
        self._standing = ledger.results.standing()
        self._parts = -(-self._standing.last_attempt // PART_ROWS)

    def run(self) -> list[PartSums]:
        _remove_leftovers(self._folder)
        known = read_state(self._folder)
        if known is None or not self._goes_on_from(known.standing):
            self._write_anew()
        else:
            self._bring_up(known)
        return self._sums

    def _goes_on_from(self, before: ResultsCursor) -> bool:
        """Whether the folder was made of this ledger, as it once was: not of another one, and
        not of one that a backup has replaced.
        """
        if before.change_seq > self._standing.change_seq:
            return False
        if before.last_attempt == 0:
            return True
        return self._ledger.results.planned_at(before.last_attempt) == before.planned_at

    def _write_anew(self) -> None:
        """Beside its place, so that readers see the old table until the new one is whole."""
        draft = _draft_of(self._folder)
        draft.mkdir(parents=True)
        state = DatasetState(self._standing)
        for number in range(self._parts):
            self._write_part(draft, number, state)
        self._write_unreadable(draft)
        state.write(draft)
        if self._folder.is_file():
            self._folder.unlink()  # the table as one file, of an older version of this program
        if not self._folder.exists():
            draft.rename(self._folder)
            return
        _move_into(draft, self._folder)

    def _bring_up(self, state: DatasetState) -> None:
        changed = _by_part(self._ledger.results.changed(state.standing.change_seq))
        looked_at = self._whose_turn_it_is(state)
        for number in range(self._parts):
            file = self._folder / part_name(number)
            try:
                if not state.is_as_written(file):
                    self._write_part(self._folder, number, state)
                elif number in changed:
                    self._mend_part(file, changed[number], state)
                elif number in looked_at or not self._has_kept_sums(file, state):
                    self._add_up(file)
            except DamagedPartError:
                self._write_part(self._folder, number, state)
        self._write_unreadable(self._folder)
        state.standing = self._standing
        state.write(self._folder)

    def _whose_turn_it_is(self, state: DatasetState) -> set[int]:
        """The parts that are read through at this refresh: so each is, before long."""
        first = state.next_look
        state.next_look = (first + LOOKED_AT) % max(self._parts, 1)
        return {number % self._parts for number in range(first, first + LOOKED_AT) if self._parts}

    def _write_part(self, folder: Path, number: int, state: DatasetState) -> None:
        """Write a part from the ledger alone."""
        import pyarrow as pa

        first = number * PART_ROWS + 1
        rows = self._ledger.results.between(first, first + PART_ROWS - 1)
        values = (values_of(row) for row in rows)
        # As Python's objects a part takes ten times what it takes as columns.
        groups = iter(lambda: list(itertools.islice(values, _GROUP_ROWS)), [])
        tables = [arrow_table(group) for group in groups] or [arrow_table([])]
        self._put(pa.concat_tables(tables), folder / part_name(number), state)

    def _mend_part(self, file: Path, changed: list[int], state: DatasetState) -> None:
        """Put the rows that have changed into a part; the others stay as they are."""
        import pyarrow as pa
        import pyarrow.compute as pc

        before = read_part(file)
        is_new = pc.is_in(before["attempt"], value_set=pa.array(changed, pa.int64()))
        rows = arrow_table([values_of(row) for row in self._ledger.results.of(changed)])
        whole = pa.concat_tables([before.filter(pc.invert(is_new)), rows]).sort_by("attempt")
        self._put(whole, file, state)

    def _has_kept_sums(self, file: Path, state: DatasetState) -> bool:
        kept = kept_sums(file, state.stamps.get(file.name), self._this_day)
        if kept is not None:
            self._sums.append(kept)
        return kept is not None

    def _add_up(self, file: Path) -> None:
        """Read a part that stays as it is, and keep its sums."""
        self._keep(sums_of(read_part(file, READ), self._this_day), file)

    def _write_unreadable(self, folder: Path) -> None:
        """Never left out: a table without any row has its columns all the same."""
        table = table_of_rows(unreadable_rows(self._ledger))
        write_parquet(table, folder / UNREADABLE)
        self._sums.append(sums_of(table, self._this_day))

    def _put(self, table: pa.Table, file: Path, state: DatasetState) -> None:
        write_parquet(table, file)
        stamp = stamp_of(file)
        if stamp is not None:
            state.stamps[file.name] = stamp
        self._keep(sums_of(table, self._this_day), file)

    def _keep(self, sums: PartSums, file: Path) -> None:
        with suppress(OSError):  # the next refresh makes them again
            keep_sums(file, sums)
        self._sums.append(sums)


def part_name(number: int) -> str:
    """The name of a part's file."""
    return f"part-{number:06d}.parquet"


def _by_part(attempt_ids: Sequence[int]) -> dict[int, list[int]]:
    groups = itertools.groupby(attempt_ids, lambda one: (one - 1) // PART_ROWS)
    return {number: list(ids) for number, ids in groups}


def _draft_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.draft")


def _remove_leftovers(folder: Path) -> None:
    """What a process that was killed had begun to write."""
    shutil.rmtree(_draft_of(folder), ignore_errors=True)
    for file in _spares(folder):
        file.unlink(missing_ok=True)


def _spares(folder: Path) -> Iterator[Path]:
    for name in ("part-", Path(UNREADABLE).stem, Path(STATE_NAME).stem):
        yield from folder.glob(f".{name}*")


def _move_into(draft: Path, folder: Path) -> None:
    """Replace the files of a table, its state last; whatever else lies there stays.

    Until then the old state is there, by which no new file is as it was written.
    """
    new = {file.name for file in draft.iterdir()}
    for old in (*part_files(folder), *folder.glob(SUMS_FILES)):
        if old.name not in new:
            old.unlink()  # of a longer ledger
    for name in sorted(new - {STATE_NAME}):
        (draft / name).replace(folder / name)
    (draft / STATE_NAME).replace(folder / STATE_NAME)
    draft.rmdir()
