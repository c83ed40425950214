"""A circuit breaker: a provider that keeps failing gets fewer requests, then none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from imagegen_pipeline.clock import Clock
from imagegen_pipeline.domain.errors import (
    BadAnswerError,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderDownError,
    ProviderError,
    RateLimitedError,
    StoppedError,
    UnreachableError,
)

FAILURES = 5
"""Failed submits in a row, of any items, after which submits pause."""
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 120.0
"""Seconds of the first and the longest pause; each pause is twice the one before."""
LONGEST_REST = 600.0
"""The longest Retry-After, in seconds, that the whole batch waits for; a longer one fails its item
only.
"""
PROBES = 5
"""Single submits that are tried, each after a pause; when all have failed, the batch stops."""
_COUNTED = (UnreachableError, ProviderBusyError, RateLimitedError, OutcomeUnknownError)
_PROBE_CHECK_SECONDS = 0.5


class Breaker:
    """Shared by all items of a batch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._failed_probes = 0
        self._probe_is_out = False
        self._closed_until = 0.0

    def enter(self, stop: threading.Event) -> bool:
        """Wait until a submit may be tried; returns whether it is a probe.

        Raises StoppedError when ``stop`` is set meanwhile, and ProviderDownError when the
        probes have failed. Each ``enter`` is followed by one ``watch`` or one ``leave``.
        """
        while True:
            with self._lock:
                pause = self._pause()
                if pause is None:
                    self._probe_is_out = self._failures >= FAILURES
                    return self._probe_is_out
            if self._clock.wait(stop, pause):
                raise StoppedError(
                    "The batch was stopped while submits to the service were paused."
                )

    def leave(self, *, probe: bool) -> None:
        """Report that the submit was not tried."""
        if probe:
            self._probe_is_out = False

    @contextmanager
    def watch(self, *, probe: bool) -> Iterator[None]:
        """Count the result of the submit within the ``with``."""
        try:
            yield
        except _COUNTED as error:
            self._failed(error, is_probe=probe)
            raise
        except (StoppedError, BadAnswerError):
            raise
        except ProviderError as error:
            self._answered(error)
            raise
        else:
            self._answered(None)
        finally:
            self.leave(probe=probe)

    def _pause(self) -> float | None:
        if self._failed_probes >= PROBES:
            raise ProviderDownError(
                f"The service failed {self._failures} times in a row, also after pauses."
            )
        left = self._closed_until - self._clock.monotonic()
        if left > 0:
            return left
        return _PROBE_CHECK_SECONDS if self._probe_is_out else None

    def _failed(self, error: ProviderError, *, is_probe: bool) -> None:
        with self._lock:
            self._failures += 1
            self._failed_probes += is_probe
            if is_probe or self._failures == FAILURES:
                self._close(min(FIRST_PAUSE * 2**self._failed_probes, LONGEST_PAUSE))
            self._rest(error)

    def _answered(self, refusal: ProviderError | None) -> None:
        with self._lock:
            self._failures = self._failed_probes = 0
            self._rest(refusal)

    def _rest(self, error: ProviderError | None) -> None:
        """Apply one item's Retry-After to the whole batch, up to ``LONGEST_REST``."""
        seconds = getattr(error, "retry_after", None) or 0.0
        if seconds <= LONGEST_REST:
            self._close(seconds)

    def _close(self, seconds: float) -> None:
        self._closed_until = max(self._closed_until, self._clock.monotonic() + seconds)
