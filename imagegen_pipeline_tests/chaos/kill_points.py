"""When a worker is killed: at random, and where work is going on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from imagegen_pipeline_tests.chaos.ledger_reading import progress
from imagegen_pipeline_tests.chaos.provider_process import accepted
from imagegen_pipeline_tests.chaos.scratch import Scratch
from imagegen_pipeline_tests.conftest import Simulator

Mark = Literal["start", "planned", "accepted", "completed", "stored", "reported"]
_MARKS: tuple[Mark, ...] = get_args(Mark)
_WEIGHTS = (15, 15, 25, 20, 15, 10)
START_SECONDS = 0.6
"""About what a life needs until it works: to read the items, recover what is open, and begin."""
IDLE_SECONDS = 15.0
"""Seconds after which the kill falls although nothing went on."""
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class KillPoint:
    """So many seconds after a mark: the start of a life, or the first progress since then.

    ``both`` kills every worker at once, as a power cut would.
    """

    mark: Mark
    seconds: float
    both: bool


def draw_kill_point(chance: random.Random, latency: float) -> KillPoint:
    """A moment; the marks are spread over a life, with more where requests are under way."""
    (mark,) = chance.choices(_MARKS, weights=_WEIGHTS)
    longest = {"start": START_SECONDS, "planned": 2 * latency, "accepted": 3 * latency}
    seconds = chance.uniform(0, longest.get(mark, 0.05))
    return KillPoint(mark, seconds, chance.random() < 0.2)


class Watch:
    """Waits for moments in lives that go on."""

    def __init__(self, scratch: Scratch, simulator: Simulator) -> None:
        self._scratch = scratch
        self._simulator = simulator
        self._begun = 0.0
        self._seen: dict[Mark, int] = {}

    def worker_started(self) -> None:
        """Count progress from here."""
        self._begun = time.monotonic()
        self._seen = {mark: self._count(mark) for mark in _MARKS if mark != "start"}

    def wait_for(self, kill_point: KillPoint, all_ended: Callable[[], bool]) -> None:
        """Return at the moment, or as soon as there is nobody left to kill."""
        if kill_point.mark == "start":
            self._sleep(self._begun + kill_point.seconds, all_ended)
            return
        deadline = time.monotonic() + IDLE_SECONDS
        while self._count(kill_point.mark) <= self._seen[kill_point.mark]:
            if all_ended() or time.monotonic() > deadline:
                return
            time.sleep(_POLL_SECONDS)
        self._sleep(time.monotonic() + kill_point.seconds, all_ended)

    def _count(self, mark: Mark) -> int:
        if mark == "accepted":
            return accepted(self._simulator, self._scratch.variant)
        return int(getattr(progress(self._scratch.ledger), mark))

    def _sleep(self, end: float, all_ended: Callable[[], bool]) -> None:
        while (left := end - time.monotonic()) > 0 and not all_ended():
            time.sleep(min(left, _POLL_SECONDS))
