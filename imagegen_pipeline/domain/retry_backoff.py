"""Backoff of retries by unattended jobs: growing delays, then a final failure.

It applies to automation, schedules and the retry job. A person's own request is not delayed, and a
person can allow retries of a final failure.
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
"""Kinds of failure that count: the attempt may have been paid for, or will be refused again. A lost
connection, a missing key or an exhausted budget is not caused by the item.
"""


class RetryStatus(StrEnum):
    """Whether unattended jobs may retry an item."""

    DUE = "due"
    PAUSED = "paused"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Failures:
    """Consecutive failures of one request that count, and when the last one ended (seconds since
    the epoch).
    """

    count: int
    last_at: float

    def status(self, now: float) -> RetryStatus:
        """The status at ``now``, in seconds since the epoch."""
        if self.count > len(RETRY_DELAYS):
            return RetryStatus.FINAL
        if self.count and now < self.last_at + RETRY_DELAYS[self.count - 1]:
            return RetryStatus.PAUSED
        return RetryStatus.DUE
