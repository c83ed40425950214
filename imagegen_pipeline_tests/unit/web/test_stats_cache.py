"""The cache of the gallery's counts."""

from __future__ import annotations

import pytest

from imagegen_pipeline.ledger import Filter, Ledger, Verdict
from imagegen_pipeline.web.gallery import stats_cache
from imagegen_pipeline.web.gallery.stats_cache import StatsCache
from imagegen_pipeline_tests.unit.ledger.conftest import ledger, url
from imagegen_pipeline_tests.unit.ledger.ledger_rows import plan, prompt, scan, store

__all__ = ["ledger", "url"]


def test_a_change_is_counted_at_once(ledger: Ledger) -> None:
    """Every change of an item is in the next count, with every filter."""
    cache = StatsCache(lambda: ledger.gallery)
    ledger.items.record(scan(prompt("a"), prompt("b")))
    assert cache.counts(Filter())["waiting"] == 2
    made = store(ledger, plan(ledger, "a"))
    assert cache.counts(Filter(state="done"))["done"] == 1
    assert cache.counts(Filter(text="nothing"))["all"] == 0
    assert cache.totals().made.all == 1
    assert cache.choices()["models"] == ["sdxl"]
    ledger.reviews.decide([made.id], Verdict.APPROVED)
    assert cache.counts(Filter())["approved"] == 1


def test_counts_are_cached(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is read once until something changes or the entry expires."""
    asked: list[str] = []
    whole = type(ledger.gallery).totals

    def totals(card_store: object) -> object:
        asked.append("totals")
        return whole(ledger.gallery)

    monkeypatch.setattr(type(ledger.gallery), "totals", totals)
    cache = StatsCache(lambda: ledger.gallery)
    for _ in range(3):
        cache.totals()
    assert asked == ["totals"]
    monkeypatch.setattr(stats_cache, "MAX_AGE_SECONDS", -1.0)
    cache.totals()
    assert len(asked) == 2
