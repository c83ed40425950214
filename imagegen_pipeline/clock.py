"""A clock that tests can replace."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """The time, and a wait that a stop event ends."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Wait until ``seconds`` have passed or ``stop`` is set; returns whether it is set."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """See ``Clock.now``."""
        return time.time()

    def monotonic(self) -> float:
        """See ``Clock.monotonic``."""
        return time.monotonic()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """See ``Clock.wait``."""
        return stop.wait(seconds)


class TimeBudget:
    """A time limit for a piece of work, which starts now."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end = clock.monotonic() + seconds

    @property
    def is_spent(self) -> bool:
        """Whether the seconds have passed."""
        return self._clock.monotonic() >= self._end
