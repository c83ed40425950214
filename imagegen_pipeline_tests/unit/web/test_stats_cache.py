"""The counts over all pictures: counted once, and never old."""

from __future__ import annotations

import pytest

from imagegen_pipeline.ledger import Filter, Ledger, Verdict
from imagegen_pipeline.web.gallery import stats_cache
from imagegen_pipeline.web.gallery.stats_cache import StatsCache
from imagegen_pipeline_tests.unit.ledger.conftest import ledger, url
from imagegen_pipeline_tests.unit.ledger.ledger_rows import plan, prompt, scan, store

__all__ = ["ledger", "url"]


def test_a_change_is_counted_at_once(ledger: Ledger) -> None:
    """Whatever happens to an item is in the next count, of every filter."""
    counted = StatsCache(lambda: ledger.gallery)
    ledger.items.record(scan(prompt("a"), prompt("b")))
    assert counted.counts(Filter())["waiting"] == 2
    made = store(ledger, plan(ledger, "a"))
    assert counted.counts(Filter(state="done"))["done"] == 1
    assert counted.counts(Filter(text="nothing"))["all"] == 0
    assert counted.totals().made.all == 1
    assert counted.choices()["models"] == ["sdxl"]
    ledger.reviews.decide([made.id], Verdict.APPROVED)
    assert counted.counts(Filter())["approved"] == 1


def test_nothing_is_counted_twice_while_nothing_changes(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ask, the ledger is asked once; after a while it is asked again."""
    asked: list[str] = []
    whole = type(ledger.gallery).totals

    def totals(book: object) -> object:
        asked.append("totals")
        return whole(ledger.gallery)

    monkeypatch.setattr(type(ledger.gallery), "totals", totals)
    counted = StatsCache(lambda: ledger.gallery)
    for _ in range(3):
        counted.totals()
    assert asked == ["totals"]
    monkeypatch.setattr(stats_cache, "MAX_AGE_SECONDS", -1.0)
    counted.totals()
    assert len(asked) == 2
