"""What is counted over all pictures: once for all who ask before anything changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from imagegen_pipeline.ledger.gallery_queries import Filter, GalleryQueries
from imagegen_pipeline.ledger.gallery_stats import GalleryStats

FRESH_SECONDS = 5.0
"""Midnight, and pictures that are reused, change sums without touching an item."""
_MOST = 200
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Known:
    change_seq: int
    at: float
    value: Any


class StatsCache:
    """The gallery's counts, each kept until an item changes. Safe from many threads."""

    def __init__(self, book: Callable[[], GalleryQueries]) -> None:
        self._book = book
        self._lock = threading.Lock()
        self._known: dict[Hashable, _Known] = {}

    def counts(self, wanted: Filter) -> dict[str, int]:
        """See ``GalleryQueries.counts``."""
        others = replace(wanted, state=None)
        return self._once(others, lambda: self._book().counts(others))

    def totals(self) -> GalleryStats:
        """See ``GalleryQueries.totals``."""
        return self._once("totals", lambda: self._book().totals())

    def choices(self) -> dict[str, list[str]]:
        """The sources, actors and models that a filter can name."""
        book = self._book()
        return self._once(
            "choices",
            lambda: {"sources": book.sources(), "actors": book.actors(), "models": book.models()},
        )

    def _once(self, name: Hashable, count: Callable[[], _T]) -> _T:
        change_seq = self._book().last_change_seq()
        with self._lock:
            now, known = time.monotonic(), self._known.get(name)
            if known is None or known.change_seq != change_seq or now - known.at > FRESH_SECONDS:
                if len(self._known) >= _MOST:
                    self._known.clear()
                known = self._known[name] = _Known(change_seq, now, count())
        return cast(_T, known.value)
