"""The rules detect violations: each fault, put into correct evidence, breaks its rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from imagegen_pipeline_tests.fuzz.chaos.evidence import Evidence, File, Finish
from imagegen_pipeline_tests.fuzz.chaos.ledger_reading import Item, Row
from imagegen_pipeline_tests.fuzz.chaos.rules import violations
from imagegen_pipeline_tests.fuzz.chaos.scratch import SourceItem

MADE = Row(
    id=1,
    item_key="boat",
    state="stored",
    prompt="a red boat 1-1.",
    job_id="job-1",
    path="generated_images/boat.png",
    digest="d1",
    shared_from=None,
    error_kind=None,
    submitted_at=1.0,
    possible_double_charge=False,
    reported=True,
)
UNKNOWN = replace(MADE, id=2, item_key="ship", state="unknown", job_id=None, path=None, digest=None)
AGAIN = replace(MADE, id=3, item_key="ship", job_id="job-3", possible_double_charge=True)
AGAIN = replace(AGAIN, path="generated_images/ship.png", digest="d3")
HELD = replace(UNKNOWN, id=4, item_key="raft", state="held")
SOUND = Evidence(
    finish=Finish(
        source_items=tuple(
            SourceItem(f"{name}.json", f"boat 1-{number}.")
            for number, name in enumerate(("boat", "ship", "raft"), start=1)
        ),
        in_flight=frozenset({2, 4}),
        incomplete=(),
        worker_errors=(),
    ),
    items={
        "boat.json": Item("boat", "boat.json", 1),
        "ship.json": Item("ship", "ship.json", 3),
        "raft.json": Item("raft", "raft.json", None),
    },
    rows=[MADE, UNKNOWN, AGAIN, HELD],
    billed=Counter({"boat 1-1.": 1, "boat 1-2.": 2, "boat 1-3.": 1}),
    accepted=Counter({"boat 1-1.": 1, "boat 1-2.": 2, "boat 1-3.": 1}),
    files={
        "generated_images/boat.png": File("d1", None),
        "generated_images/ship.png": File("d3", None),
    },
    leftovers=0,
    events=frozenset({("boat", "d1", 1), ("ship", "d3", 3)}),
)


def with_row(old: Row, **changes: Any) -> Evidence:
    """Correct evidence with one attempt changed."""
    rows = [replace(row, **changes) if row is old else row for row in SOUND.rows]
    return replace(SOUND, rows=rows)


def with_file(path: str, file: File) -> Evidence:
    """Correct evidence with one file added or replaced."""
    return replace(SOUND, files={**SOUND.files, path: file})


def without_item(location: str) -> Evidence:
    """Correct evidence in which the ledger lacks an item."""
    return replace(SOUND, items={k: v for k, v in SOUND.items.items() if k != location})


def with_finish(**changes: Any) -> Evidence:
    """Correct evidence with another finish."""
    return replace(SOUND, finish=replace(SOUND.finish, **changes))


FAULTS = {
    "an item without a picture": ("settled", with_row(HELD, state="failed")),
    "an item that never was": ("settled", without_item("raft.json")),
    "a job that was given up": ("lost", with_row(HELD, state="expired", job_id="job-4")),
    "a job that failed": ("lost", with_row(UNKNOWN, job_id="job-2", state="failed")),
    "an attempt left open": ("lost", with_row(UNKNOWN, state="submitting")),
    "a picture of nobody": ("lost", with_file("generated_images/x.png", File("dx", None))),
    "half a picture": ("corrupt", with_file("generated_images/boat.png", File("d1", "cut"))),
    "half a picture after a kill": ("corrupt", with_finish(incomplete=("boat.png was not whole",))),
    "other bytes": ("corrupt", with_file("generated_images/boat.png", File("d9", None))),
    "a file that is gone": ("corrupt", with_row(MADE, path="generated_images/gone.png")),
    "an event with other bytes": (
        "events",
        replace(SOUND, events=frozenset({("boat", "d9", 1), ("ship", "d3", 3)})),
    ),
    "a picture that is not noted": ("events", with_row(MADE, reported=False)),
    "a broken Dagster": ("events", replace(SOUND, dagster_fault="no table")),
    "a second charge": (
        "billed twice",
        replace(SOUND, billed=SOUND.billed + Counter({"boat 1-1.": 1})),
    ),
    "a charge too many for one unknown": (
        "billed twice",
        replace(SOUND, billed=SOUND.billed + Counter({"boat 1-2.": 1})),
    ),
    "an unknown attempt that hides as failed": (
        "billed twice",
        with_row(UNKNOWN, state="failed", error_kind="stopped"),
    ),
    "a charge that the ledger does not know": (
        "billed twice",
        replace(SOUND, accepted=SOUND.accepted + Counter({"a boat from elsewhere": 1})),
    ),
    "a second attempt without a mark": (
        "sent again",
        with_row(AGAIN, possible_double_charge=False),
    ),
    "a third attempt": (
        "sent again",
        replace(SOUND, rows=[*SOUND.rows, replace(UNKNOWN, id=5), replace(UNKNOWN, id=6)]),
    ),
    "an unknown attempt without a kill": ("unknown", with_finish(in_flight=frozenset({4}))),
    "a worker that failed": ("workers", with_finish(worker_errors=("0001.log exited 70",))),
}


def test_sound_books_break_no_rule() -> None:
    """An image, one sent again after an unknown attempt, and a held item break no rule."""
    assert not any(violations(SOUND).values())


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_breaks_its_rule(name: str) -> None:
    """The rule for the fault names it."""
    rule, evidence = FAULTS[name]
    assert violations(evidence)[rule]
