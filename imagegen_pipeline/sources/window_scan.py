"""Rows of the users' database, compared with the ledger and written down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.ledger import Item, Ledger, ScanPart
from imagegen_pipeline.ledger.item_upsert import Stamped
from imagegen_pipeline.sources.row_order import (
    bound_at,
    bound_of_key,
    parameter,
    place_of,
    stamps_between,
)
from imagegen_pipeline.sources.scan_results import ScanSummary, seen
from imagegen_pipeline.sources.source_paths import shown
from imagegen_pipeline.sources.sqlite_rows import location_of, prompt_of, repeated
from imagegen_pipeline.sources.sqlite_windows import StampedRow, Window, read_rows


@dataclass
class _Sorted:
    """Rows by what is to be done with them."""

    source_items: list[Stamped] = field(default_factory=list)
    problems: list[SourceProblem] = field(default_factory=list)
    as_before: set[str] = field(default_factory=set)
    locations: set[str] = field(default_factory=set)
    """Where a prompt was read well."""


class WindowBook:
    """Writes down what windows brought; ``most``: known rows that one transaction compares."""

    def __init__(self, ledger: Ledger, path: Path, *, most: int) -> None:
        self._ledger = ledger
        self._path = path
        self._container = shown(path)
        self._most = most

    def record(
        self, window: Window, after: str | None, until: str | None
    ) -> tuple[ScanSummary, str | None]:
        """Write down a window that was read behind ``after`` and up to ``until``.

        Returns what changed, and the bound that the next window begins behind: the window's own,
        or one before it where the ledger has very many rows that the database no longer has.
        Raises SourceError when the database cannot be asked again for what seems gone.
        """
        rows, end = window.rows, window.end
        from_, below = stamps_between(after, until if end is None else end)
        known = self._ledger.reads.stamps(
            "prompt", self._container, from_=from_, below=below, limit=self._most + 1
        )
        if len(known) > self._most:
            del known[self._most :]
            end = bound_at(known[-1])
            rows = [row for row in rows if place_of(row.bound) <= place_of(end)]
        found = self._sort(rows, set(known))
        keys = {source_item.key for source_item, _ in found.source_items}
        gone = self._gone([stamp for stamp in known if stamp not in found.as_before], keys)
        return self._write(found, gone, window.notes), end

    def record_damaged(self, window: Window) -> ScanSummary:
        """Write down the rows of a window that could not be read to its end."""
        return self._write(self._sort(window.rows, set()), [], [], is_whole=False)

    def reread(self, items: Sequence[Item]) -> ScanSummary:
        """Read the rows of these items, and write down what they are now; raises SourceError."""
        ids = {
            item.key: item.source_item.row_id
            for item in items
            if isinstance(item.source_item, Prompt) and item.source_item.row_id is not None
        }
        if not ids:
            return ScanSummary()
        rows = read_rows(self._path, list(ids.values()))
        there = {row.bound for row in rows}
        gone = [
            item.key
            for item in items
            if item.key in ids and not item.gone and bound_of_key(ids[item.key]) not in there
        ]
        return self._write(self._sort(rows, set()), gone, [], is_whole=False)

    def finish(self) -> ScanSummary:
        """All rows have been met: what still has no stamp may have left before it got one."""
        keys = self._ledger.reads.unstamped("prompt", self._container, self._most)
        return self.reread(list(self._ledger.items.get(keys).values()))

    def _sort(self, rows: Iterable[StampedRow], known: set[str]) -> _Sorted:
        found = _Sorted()
        taken = None
        for bound, stamp, row, has_twin in rows:
            if has_twin or bound == taken:
                found.problems.append(repeated(row, self._container))
                continue
            if stamp in known:
                found.as_before.add(stamp)
                taken = bound
                continue
            source_item = prompt_of(row, self._container)
            if isinstance(source_item, SourceProblem):
                found.problems.append(source_item)
            else:
                found.source_items.append((source_item, stamp))
                found.locations.add(location_of(row, self._container))
                taken = bound
        return found

    def _gone(self, stamps: Sequence[str], still: set[str]) -> list[str]:
        """The keys of these stamps whose row the database does not have."""
        keys = self._ledger.reads.keys_of("prompt", self._container, stamps)
        bounds = {key: bound_at(stamp) for stamp, key in keys.items() if key not in still}
        if not bounds:
            return []
        there = {row.bound for row in read_rows(self._path, [_id(one) for one in bounds.values()])}
        return [key for key, bound in bounds.items() if bound not in there]

    def _write(
        self,
        found: _Sorted,
        gone: Sequence[str],
        notes: Sequence[SourceProblem],
        *,
        is_whole: bool = True,
    ) -> ScanSummary:
        listed = self._ledger.reads.problems(self._container)
        problems = [*notes, *found.problems]
        readable = found.locations & listed.keys()
        if is_whole and not notes and self._container in listed:
            readable.add(self._container)
        readable -= {problem.location for problem in problems}
        look = ScanSummary(unchanged=len(found.as_before))
        if not (found.source_items or gone or problems or readable):
            return look
        part = ScanPart(
            "prompt", self._container, found.source_items, gone, problems, sorted(readable)
        )
        return look + seen(self._ledger.items.record_part(part))


def _id(bound: str) -> int | str:
    value = parameter(bound)[1]
    if not isinstance(value, int | str):
        raise TypeError(f"{bound} names no prompt")
    return value
