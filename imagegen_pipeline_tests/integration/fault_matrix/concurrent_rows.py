"""Faults that hit item after item: the batch stops paying for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagegen_pipeline_tests.integration.fault_matrix.rows import ALL, FOREVER, slug

FOUR = tuple(f"item-{number}" for number in range(1, 5))
TWELVE = tuple(f"item-{number:02}" for number in range(1, 13))


@dataclass(frozen=True)
class ConcurrentCase:
    """A fault that hits every item's submit, one after the other.

    With ``once`` it is scripted once for each item, else once for all. ``statuses`` and ``bills``
    are the items' after the run with the fault, ``then`` and ``then_bills`` after the next one
    without it. ``submits`` counts the requests of the first run. ``kind`` is the error kind of the
    skipped items.
    """

    name: str
    provider: str
    fault: Mapping[str, Any]
    statuses: tuple[str, ...]
    bills: tuple[int, ...]
    then: tuple[str, ...]
    then_bills: tuple[int, ...]
    submits: int
    kind: str = ""
    once: bool = False
    names: tuple[str, ...] = FOUR

    @property
    def id(self) -> str:
        """The row's id in pytest."""
        return slug(f"{self.provider} {self.name}")


def concurrent_rows() -> list[ConcurrentCase]:
    """All rows of this module."""
    lost = {"fault": "reset_after_work"}
    broken = {"fault": "truncated_picture", "times": FOREVER}
    page = {"fault": "html_200", "work": True, "times": FOREVER}
    busy = {"fault": "status", "status": 503, "times": FOREVER}
    gateway = {"fault": "status", "status": 504, "work": True, "times": FOREVER}
    found: list[ConcurrentCase] = []
    for provider in ALL:
        inside = provider == "runpod"  # nothing is left to fetch, so the next run buys it anew
        found += [
            ConcurrentCase(
                "From the third lost answer in ten minutes on, nothing is sent twice.",
                provider,
                lost,
                statuses=("made", "made", "held", "held"),
                bills=(2, 2, 1, 1),
                then=("reused", "reused", "held", "held"),
                then_bills=(2, 2, 1, 1),
                submits=6,
                once=True,
            ),
            ConcurrentCase(
                "Three truncated pictures in a row stop the batch.",
                provider,
                broken,
                statuses=("failed", "failed", "failed", "skipped"),
                bills=(1, 1, 1, 0),
                then=("made",) * 4 if inside else ("failed", "failed", "failed", "made"),
                then_bills=(2, 2, 2, 1) if inside else (1, 1, 1, 1),
                submits=3,
                kind="broken_pictures",
            ),
            ConcurrentCase(
                "503 every time: after five failures and five probes the batch stops.",
                provider,
                busy,
                statuses=("failed", "failed", *("skipped",) * 10),
                bills=(0,) * 12,
                then=("made",) * 12,
                then_bills=(1,) * 12,
                submits=10,
                kind="provider_down",
                names=TWELVE,
            ),
            ConcurrentCase(
                "503 seven times: the service is given a rest, and the batch goes on.",
                provider,
                {**busy, "times": 7},
                statuses=("failed", *("made",) * 3),
                bills=(0, 1, 1, 1),
                then=("made", "reused", "reused", "reused"),
                then_bills=(1, 1, 1, 1),
                submits=10,
            ),
        ]
    return [
        *found,
        ConcurrentCase(
            "Three unreadable answers in a row stop the batch.",
            "duomi",
            page,
            statuses=("held", "held", "held", "skipped"),
            bills=(1, 1, 1, 0),
            then=("held", "held", "held", "made"),
            then_bills=(1, 1, 1, 1),
            submits=3,
            kind="broken_pictures",
        ),
        ConcurrentCase(
            "Three jobs in a row have an empty list of pictures.",
            "duomi-async",
            {"fault": "empty_images", "times": FOREVER},
            statuses=("failed", "failed", "failed", "skipped"),
            bills=(1, 1, 1, 0),
            then=("failed", "failed", "failed", "made"),
            then_bills=(1, 1, 1, 1),
            submits=3,
            kind="broken_pictures",
        ),
        ConcurrentCase(
            "Ten jobs in a row fail.",
            "runpod",
            {"fault": "job_failed", "times": FOREVER},
            statuses=(*("failed",) * 10, "skipped", "skipped"),
            bills=(0,) * 12,
            then=("made",) * 12,
            then_bills=(1,) * 12,
            submits=10,
            kind="broken_pictures",
            names=TWELVE,
        ),
        ConcurrentCase(
            "504 every time, after the work: after five failures and five probes the batch stops.",
            "duomi",
            gateway,
            statuses=(*("held",) * 9, "failed", "skipped", "skipped"),
            bills=(2, *(1,) * 8, 0, 0, 0),
            then=(*("held",) * 9, *("made",) * 3),
            then_bills=(2, *(1,) * 11),
            submits=10,
            kind="provider_down",
            names=TWELVE,
        ),
    ]
