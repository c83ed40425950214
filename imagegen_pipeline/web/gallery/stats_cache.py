"""Caches the gallery's counts until an item changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from imagegen_pipeline.ledger.gallery_queries import Filter, GalleryQueries
from imagegen_pipeline.ledger.gallery_stats import GalleryStats

MAX_AGE_SECONDS = 5.0
"""Midnight and reused images change counts without changing an item."""
_MAX_ENTRIES = 200
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Entry:
    change_seq: int
    at: float
    value: Any


class StatsCache:
    """The gallery's counts, each cached until an item changes. Safe from many threads."""

    def __init__(self, gallery: Callable[[], GalleryQueries]) -> None:
        self._gallery = gallery
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}

    def counts(self, filters: Filter) -> dict[str, int]:
        """See ``GalleryQueries.counts``."""
        any_state = replace(filters, state=None)
        return self._cached(any_state, lambda: self._gallery().counts(any_state))

    def totals(self) -> GalleryStats:
        """See ``GalleryQueries.totals``."""
        return self._cached("totals", lambda: self._gallery().totals())

    def choices(self) -> dict[str, list[str]]:
        """The sources, actors and models to filter by."""
        gallery = self._gallery()
        return self._cached(
            "choices",
            lambda: {
                "sources": gallery.sources(),
                "actors": gallery.actors(),
                "models": gallery.models(),
            },
        )

    def _cached(self, name: Hashable, count: Callable[[], _T]) -> _T:
        change_seq = self._gallery().last_change_seq()
        with self._lock:
            now, entry = time.monotonic(), self._entries.get(name)
            if entry is None or entry.change_seq != change_seq or now - entry.at > MAX_AGE_SECONDS:
                if len(self._entries) >= _MAX_ENTRIES:
                    self._entries.clear()
                entry = self._entries[name] = _Entry(change_seq, now, count())
        return cast(_T, entry.value)
