"""When a worker is killed: at a random moment after progress."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from imagegen_pipeline_tests.conftest import Simulator
from imagegen_pipeline_tests.fuzz.chaos.ledger_reading import progress
from imagegen_pipeline_tests.fuzz.chaos.provider_process import accepted
from imagegen_pipeline_tests.fuzz.chaos.scratch import Scratch

Mark = Literal["start", "planned", "accepted", "completed", "stored", "reported"]
_MARKS: tuple[Mark, ...] = get_args(Mark)
_WEIGHTS = (15, 15, 25, 20, 15, 10)
START_SECONDS = 0.6
"""The approximate time until a worker begins: it reads the items and recovers open attempts."""
IDLE_SECONDS = 15.0
"""Seconds without progress after which the kill happens anyway."""
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class KillPoint:
    """A delay after a mark: the start of a worker, or the first progress since then.

    ``both`` kills every worker at once, as a power cut does.
    """

    mark: Mark
    seconds: float
    both: bool


def draw_kill_point(chance: random.Random, latency: float) -> KillPoint:
    """A random kill point; marks are spread over a worker's run, most where requests are in
    flight.
    """
    (mark,) = chance.choices(_MARKS, weights=_WEIGHTS)
    longest = {"start": START_SECONDS, "planned": 2 * latency, "accepted": 3 * latency}
    seconds = chance.uniform(0, longest.get(mark, 0.05))
    return KillPoint(mark, seconds, chance.random() < 0.2)


class Watch:
    """Waits for kill points while workers run."""

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
        """Return at the kill point, or as soon as all workers have ended."""
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
