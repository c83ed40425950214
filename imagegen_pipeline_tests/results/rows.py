"""Rows of the table of results, as the ledger would have them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from imagegen_pipeline.results import COLUMNS
from imagegen_pipeline.results.parquet import table_of_rows
from imagegen_pipeline.results.part_sums import sums_of
from imagegen_pipeline.results.statistics import Statistics, statistics_of

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def row(state: str = "stored", *, seconds: float = 4.0, ago: float = 0.0, **facts: Any) -> Any:
    """An attempt that ended ``ago`` seconds before noon."""
    ended = NOON - dt.timedelta(seconds=ago)
    sent = ended - dt.timedelta(seconds=seconds)
    is_open = state in ("planned", "submitting", "submitted", "completed")
    return {
        **dict.fromkeys(COLUMNS),
        **dict.fromkeys(("created_at", "submitted_at"), iso(sent)),
        "attempt": 1,
        "run": "one",
        "state": state,
        "provider": "duomi",
        "model": "sdxl",
        "possible_double_charge": False,
        "seconds": None if is_open else seconds,
        "finished_at": None if is_open else iso(ended),
        **facts,
    }


def iso(moment: dt.datetime) -> str:
    """A moment as the rows have it."""
    return moment.isoformat(timespec="milliseconds")


UNREADABLE = {**dict.fromkeys(COLUMNS), "state": "unreadable", "location": "bad.json"}


def statistics(*rows: Any) -> Statistics:
    """The numbers of these rows, at noon, read as two parts."""
    half = len(rows) // 2
    this_day = int(NOON.timestamp() // 86_400)
    parts = [sums_of(table_of_rows(part), this_day) for part in (rows[:half], rows[half:])]
    return statistics_of(parts, this_day)
