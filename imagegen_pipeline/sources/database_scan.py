"""A look at the users' database, in windows: what is new at its end first, then all in a circle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from imagegen_pipeline.clock import Clock
from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.ledger import Item, Ledger, ScanPart, SourceState
from imagegen_pipeline.ledger.source_state import DOUBTED
from imagegen_pipeline.sources.change_tokens import BELIEVED_SECONDS, is_stable
from imagegen_pipeline.sources.scan_results import ScanBudget, ScanSummary
from imagegen_pipeline.sources.source_paths import problem, shown
from imagegen_pipeline.sources.sqlite_file import database_stamp
from imagegen_pipeline.sources.sqlite_windows import Window, read_window
from imagegen_pipeline.sources.window_scan import WindowBook

WINDOW = 20_000
"""Rows that are read and written down at once."""


@dataclass(frozen=True, slots=True)
class ScanCursor:
    """How far a database has been read, in bounds of ``row_order``.

    A circle begins behind the row where the one before was left, and ends there (``until``) after
    it has been at the end and begun anew (``is_second_half``). So rows come in turn however often
    the database changes. ``highest`` is the last row of all, once the end was reached.
    """

    after: str | None = None
    until: str | None = None
    is_second_half: bool = False
    highest: str | None = None
    is_done: bool = False
    begun: float = 0.0

    def again(self) -> ScanCursor:
        """A new circle from here: the database has changed."""
        start = None if self.is_done else self.after
        return ScanCursor(after=start, until=start, highest=self.highest, begun=time.time())

    def behind(self, end: str | None, last: str | None) -> ScanCursor:
        """The circle behind a window that ended at ``end`` (None: no row comes behind it) and
        whose last row is ``last``.
        """
        if end is not None:
            return replace(self, after=end)
        if self.is_second_half:
            return replace(self, is_done=True)
        here = replace(self, highest=last or self.after)
        if self.until is None:
            return replace(here, is_done=True)
        return replace(here, after=None, is_second_half=True)


class DatabaseScan:
    """Looks at one database.

    Where its stamp is as it was when it had been read to the end, nothing is read.
    """

    def __init__(self, ledger: Ledger, clock: Clock, path: Path) -> None:
        """``path`` is absolute."""
        self._reads = ledger.reads
        self._items = ledger.items
        self._clock = clock
        self._path = path
        self._container = shown(path)
        self._window = WINDOW
        self._book = WindowBook(ledger, path, most=2 * WINDOW)

    def look(self, budget: ScanBudget, *, afresh: bool = False) -> ScanSummary:
        """See what is there now, as far as the budget goes; ``afresh``: believe no stamp."""
        stored = self._reads.get(self._container)
        before = None if afresh else stored
        now = self._clock.now()
        try:
            stamp = database_stamp(self._path)
        except SourceError as error:
            if stored is not None and stored.stamp != DOUBTED:  # whatever it is when it is back
                doubted = replace(stored, stamp=DOUBTED)
                self._reads.put(self._container, doubted, instead_of=stored)
            return self._with_problems(self._unreadable(error))
        if _is_as_read(before, stamp, now):
            return self._with_problems(ScanSummary())
        look, circle = self._read(before, stamp, budget)
        is_believed = is_stable(stamp, now) and not look.unreadable
        after = SourceState(
            stamp if is_believed else DOUBTED,
            circle.begun if before is None or circle.is_done else before.read_at,
            asdict(circle),
        )
        self._reads.put(self._container, after, instead_of=stored)
        return self._with_problems(look)

    def _read(
        self, before: SourceState | None, stamp: str, budget: ScanBudget
    ) -> tuple[ScanSummary, ScanCursor]:
        circle = _circle(before)
        if before is not None and before.stamp == stamp and not circle.is_done:
            return self._go_round(circle, budget)  # it is as it was when the circle began
        look, circle = self._read_tail(circle.again(), budget)
        more, circle = self._go_round(circle, budget)
        return look + more, circle

    def look_at(self, items: Sequence[Item]) -> ScanSummary:
        """See what the rows of these items are now; the rest is not looked at."""
        try:
            before, now = self._reads.get(self._container), self._clock.now()
            is_as_read = _is_as_read(before, database_stamp(self._path), now)
            look = ScanSummary() if is_as_read else self._book.reread(items)
        except SourceError as error:
            look = self._unreadable(error)
        return self._with_problems(look)

    def _unreadable(self, error: SourceError) -> ScanSummary:
        found = problem(self._container, self._container, error)
        listed = self._reads.problems(self._container)
        if listed.get(found.location) != found:
            self._items.record_part(ScanPart("prompt", self._container, problems=[found]))
        return ScanSummary(unreadable=(found,))

    def _with_problems(self, look: ScanSummary) -> ScanSummary:
        return look + ScanSummary(problems=tuple(self._reads.problems(self._container).values()))

    def _read_tail(self, circle: ScanCursor, budget: ScanBudget) -> tuple[ScanSummary, ScanCursor]:
        """What is new at the end: it does not wait until the circle comes there."""
        look = ScanSummary()
        while circle.highest is not None:
            window = read_window(self._path, circle.highest, None, self._window)
            if window.error is not None:
                break  # the circle meets it too, and says so
            more, end = self._record(window, circle.highest, None)
            look += more
            circle = replace(circle, highest=end or _last(window) or circle.highest)
            if more.unreadable or end is None or budget.is_spent:
                break
        return look, circle

    def _go_round(self, circle: ScanCursor, budget: ScanBudget) -> tuple[ScanSummary, ScanCursor]:
        look = ScanSummary()
        is_first = True
        while not circle.is_done:
            if not is_first and budget.is_spent:
                return look + ScanSummary(unfinished=(self._container,)), circle
            is_first = False
            until = circle.until if circle.is_second_half else None
            window = read_window(self._path, circle.after, until, self._window)
            more, end = self._record(window, circle.after, until)
            look += more
            if more.unreadable:
                # The next circle begins at the first row: those before a damage are to be seen.
                return look, ScanCursor(highest=circle.highest, begun=circle.begun)
            circle = circle.behind(end, _last(window))
        look += self._finish(circle)
        return look, circle

    def _record(
        self, window: Window, after: str | None, until: str | None
    ) -> tuple[ScanSummary, str | None]:
        if window.error is not None:
            return self._book.record_damaged(window) + self._unreadable(window.error), None
        try:
            return self._book.record(window, after, until)
        except SourceError as error:
            return self._unreadable(error), None

    def _finish(self, circle: ScanCursor) -> ScanSummary:
        if self._reads.problems(self._container):
            self._items.drop_problems(self._container, before=circle.begun)
        try:
            return self._book.finish()
        except SourceError as error:
            return self._unreadable(error)


def _circle(before: SourceState | None) -> ScanCursor:
    return ScanCursor() if before is None else ScanCursor(**(before.cursor or {}))


def _is_as_read(before: SourceState | None, stamp: str, now: float) -> bool:
    """Whether nothing can have changed since the database was last read to its end."""
    if before is None or now - before.read_at > BELIEVED_SECONDS:
        return False
    return before.stamp == stamp and _circle(before).is_done


def _last(window: Window) -> str | None:
    return window.rows[-1].bound if window.rows else None
