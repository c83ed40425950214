"""Checks after the run with the fault, and after the next run without it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from PIL import Image

from imagegen_pipeline.domain.requests import OPEN_STATES, Outcome
from imagegen_pipeline_tests.integration.fault_matrix.four_items import HIT, NAMES, Run, without_hit
from imagegen_pipeline_tests.integration.fault_matrix.rows import End, Row

AFTER = slice(HIT + 1, None)
LONGEST_WAIT = 900
"""Seconds: no wait is longer, whatever a provider asks for."""


def check_first_run(row: Row, run: Run, *, first: str = "made") -> None:
    """Check the item, the batch and the bill of the run with the fault.

    ``first`` is the status of the first item, which may have an image from before.
    """
    end = row.fate.now
    _check_ledger(end, run)
    if row.batch in ("never begins", "dies"):
        assert not run.outcomes
        assert without_hit(run.ledger_counts.bills) == [1, 0, 0]
        _check_nothing_was_sent_after(run)
        if row.batch == "never begins":
            assert run.refused is not None
            assert run.refused.kind == end.kind
            assert row.text in run.refused.sentence
            assert run.refused.remedy
        return
    assert run.refused is None
    _check_outcome(end, run.hit)
    assert row.text in f"{run.hit.reason} {' '.join(run.hit.warnings)}"
    if row.batch == "goes on":
        assert run.statuses == [first, "made", "made"]
        assert without_hit(run.ledger_counts.bills) == [1, 1, 1]
    else:
        assert run.statuses == [first, "skipped", "skipped"]
        assert without_hit(run.ledger_counts.bills) == [1, 0, 0]
        _check_nothing_was_sent_after(run)
        _check_others_say_why(run)
    for outcome in run.outcomes:
        if outcome.status == "made":
            _check_picture(row, outcome)
    assert row.waits <= max(run.waits, default=0) <= LONGEST_WAIT


def check_next_run(row: Row, run: Run) -> None:
    """The next run without the fault completes what it can, and buys nothing twice."""
    _check_ledger(row.fate.then, run)
    assert run.refused is None
    _check_outcome(row.fate.then, run.hit)
    others = ["reused"] * 3 if row.batch == "goes on" else ["reused", "made", "made"]
    assert run.statuses == others
    assert without_hit(run.ledger_counts.bills) == [1, 1, 1]


def check_pictures(run: Run) -> None:
    """Every item has its complete image."""
    for outcome in run.outcomes:
        _format(Path(str(outcome.path)))


def check_results(run: Run) -> None:
    """The results table has the same fields for the item as its outcome."""
    row = run.ledger_counts.results[HIT][-1]
    shown = (row["error_kind"], row["error"], row["remedy"])
    if run.hit.ok:
        assert shown == (None, None, None)
    else:
        assert shown == (run.hit.error_kind, run.hit.error, run.hit.remedy)


def _format(path: Path) -> str | None:
    """The format of an image that decodes to its last pixel."""
    with Image.open(path) as picture:
        picture.load()
        return picture.format


def _check_outcome(end: End, outcome: Outcome) -> None:
    assert (outcome.status, outcome.error_kind) == (end.status, end.kind), outcome.reason
    if not outcome.ok:
        assert outcome.error
        assert outcome.remedy


def _check_ledger(end: End, run: Run) -> None:
    attempts = run.ledger_counts.attempts[HIT]
    why = run.outcomes[HIT].reason if run.outcomes else run.refused
    assert tuple(str(attempt.state) for attempt in attempts) == end.states, why
    assert run.ledger_counts.bills[HIT] == end.bill
    for attempt in attempts:
        if attempt.state not in (*OPEN_STATES, "stored"):
            assert attempt.error_kind
            assert attempt.error
            assert attempt.remedy
    for before, after in pairwise(attempts):
        doubled = before.state == "unknown" or before.possible_double_charge
        assert after.possible_double_charge is doubled


def _check_nothing_was_sent_after(run: Run) -> None:
    assert run.ledger_counts.accepted[AFTER] == [0, 0]
    assert run.ledger_counts.attempts[AFTER] == [[], []]


def _check_others_say_why(run: Run) -> None:
    for skipped in run.outcomes[AFTER]:
        assert skipped.error_kind == run.hit.error_kind
        assert skipped.error
        assert skipped.remedy


def _check_picture(row: Row, outcome: Outcome) -> None:
    published = Path(str(outcome.path))
    form = _format(published)
    assert outcome.attempt is not None
    stored = Path(str(outcome.attempt.path))
    suffix = row.suffix if NAMES[HIT] in outcome.item_key else ".png"
    assert stored.suffix == suffix
    if row.provider.startswith("runpod"):
        assert form == "PNG"
        assert published.name.endswith("_base.png")
        assert stored.parent.name == "history"
