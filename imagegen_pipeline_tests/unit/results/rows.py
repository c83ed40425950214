"""Rows of the results table, written into a ledger to be counted."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, insert

from imagegen_pipeline.domain.result_columns import COLUMNS
from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.ledger.schema import attempts
from imagegen_pipeline.results.statistics import (
    Distributions,
    Statistics,
    read_distributions,
    read_statistics,
)
from imagegen_pipeline_tests.unit.ledger.ledger_rows import problem, prompt, scan

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
_COPIED = ("state", "provider", "model", "possible_double_charge", "shared_from", "cost")
_MOMENTS = ("created_at", "submitted_at", "finished_at")


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
    """A moment in the form of the rows."""
    return moment.isoformat(timespec="milliseconds")


UNREADABLE = {**dict.fromkeys(COLUMNS), "state": "unreadable", "location": "bad.json"}


def statistics(*rows: Any, now: dt.datetime = NOON) -> Statistics:
    """The statistics of a ledger with these rows."""
    with ledger_of(rows) as ledger:
        return read_statistics(ledger, now.timestamp())


def distributions(*rows: Any) -> Distributions:
    """The distributions of a ledger with these rows."""
    with ledger_of(rows) as ledger:
        return read_distributions(ledger)


@contextmanager
def ledger_of(rows: tuple[Any, ...]) -> Iterator[Ledger]:
    """A temporary ledger with these rows, all of one item."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'imagegen.db'}"
        with closing(Ledger(url)) as ledger:
            unreadable = [one for one in rows if one["state"] == "unreadable"]
            problems = tuple(problem(f"{n}.json") for n, _ in enumerate(unreadable))
            ledger.items.record(scan(prompt("a"), problems=problems))
            _insert(url, [one for one in rows if one["state"] != "unreadable"])
            yield ledger


def _insert(url: str, rows: list[Any]) -> None:
    values = [
        {
            **{name: one[name] for name in (*_COPIED, "error_kind")},
            **{name: one[name] and _seconds(one[name]) for name in _MOMENTS},
            "id": number,
            "item_key": "a",
            "kind": "prompt",
            "intent": one["run"],
            "request": {},
            "seed": "5",
            "warnings": [],
            "folder": "generated_images",
            "file_stem": f"a_{number}",
            **dict.fromkeys(("fingerprint", "sent_fingerprint"), "0" * 64),
            **dict.fromkeys(("regenerate", "simulated", "reported"), False),
        }
        for number, one in enumerate(rows, 1)
    ]
    engine = create_engine(url)
    with engine.begin() as connection:
        if values:
            connection.execute(insert(attempts), values)
    engine.dispose()


def _seconds(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()
