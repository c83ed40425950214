"""How often what nobody watches may try again: pauses that grow, then an end that a person lifts.

This binds automation, schedules and the retry of what failed. What a person asks for by hand is
made at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from imagegen_pipeline.domain.errors import (
    BadAnswerError,
    DownloadError,
    InternalFaultError,
    JobExpiredError,
    JobFailedError,
    JobTimeoutError,
    NotAPictureError,
    OutcomeUnknownError,
    RequestRefusedError,
)

RETRY_DELAYS = (3600.0, 6 * 3600.0, 24 * 3600.0)
"""Seconds after the first, second and third failure in a row; after one more it is final."""
COUNTED = frozenset(
    error.kind
    for error in (
        BadAnswerError,
        DownloadError,
        InternalFaultError,
        JobExpiredError,
        JobFailedError,
        JobTimeoutError,
        NotAPictureError,
        OutcomeUnknownError,
        RequestRefusedError,
    )
)
"""Failures that are the item's own: it may have been paid for, or will be refused again. A lost
connection, a key that is not set or a budget that was met says nothing of the item.
"""


class RetryStatus(StrEnum):
    """Whether an item may be tried again without a person's word."""

    DUE = "due"
    PAUSED = "paused"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Failures:
    """Failures of one request in a row: how many were the item's own, and when the last one
    ended (seconds since the epoch).
    """

    count: int
    last_at: float

    def standing(self, now: float) -> RetryStatus:
        """How it stands at ``now``, in seconds since the epoch."""
        if self.count > len(RETRY_DELAYS):
            return RetryStatus.FINAL
        if self.count and now < self.last_at + RETRY_DELAYS[self.count - 1]:
            return RetryStatus.PAUSED
        return RetryStatus.DUE
