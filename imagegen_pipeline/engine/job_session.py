"""Waits and retries around one item's calls to its provider: submit, poll, cancel, download."""

from __future__ import annotations

import random
from collections.abc import Callable

from imagegen_pipeline.clock import Clock
from imagegen_pipeline.domain.errors import (
    BadAnswerError,
    DownloadError,
    JobExpiredError,
    JobFailedError,
    JobLostError,
    JobTimeoutError,
    ProviderBusyError,
    ProviderError,
    RateLimitedError,
    StillRunningError,
    StoppedError,
    UnreachableError,
    UrlRefusedError,
)
from imagegen_pipeline.engine.breaker import LONGEST_REST
from imagegen_pipeline.engine.context import Deadlines, StopSignals
from imagegen_pipeline.providers.base import JobReport, JobState, ProviderClient, RemoteImage
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline.providers.http.response_parsing import short_line

SUBMIT_TRIES = 6
DOWNLOAD_TRIES = 4
FIRST_POLL, POLL_GROWTH, LONGEST_POLL = 0.25, 1.5, 5.0
LEAST_RETENTION = 1800.0
"""Seconds that a provider keeps a job at least: RunPod keeps a result for half an hour, and a job's
ttl is longer.
"""
POLL_ERRORS = 10
"""Poll errors in a row after which the job is left at the provider, for a later run to collect."""
NOT_ACCEPTED = (RateLimitedError, ProviderBusyError, UnreachableError)
"""Refusals that bill nothing, so that the same request may be sent again."""


class JobSession:
    """The calls of one item to its provider. Every wait ends when its stop signal is set."""

    def __init__(
        self, provider: Callable[[], ProviderClient], clock: Clock, stops: StopSignals
    ) -> None:
        self._provider = provider  # opened on demand: a download needs no client and no key
        self._clock = clock
        self._stops = stops

    def wait_to_resubmit(self, refusal: ProviderError, tries: int) -> None:
        """Wait after a refusal that billed nothing: full jitter, Retry-After obeyed.

        Raises ``refusal`` after ``SUBMIT_TRIES`` tries or when it asks for too long a wait, and
        StoppedError.
        """
        if tries >= SUBMIT_TRIES or _retry_after(refusal) > LONGEST_REST:
            raise refusal
        if self._clock.wait(self._stops.submits, _backoff(refusal, tries)):
            raise StoppedError("The batch was stopped while this item waited to be sent again.")

    def await_job(
        self, job_id: str, endpoint: str, deadlines: Deadlines, *, age: float = 0.0
    ) -> JobReport:
        """Poll until the job, sent ``age`` seconds ago, is completed; raises why it failed.

        After a deadline the job is cancelled. After too many errors in a row, a stop, or a
        cancel without effect, it is left at the provider, where a later run collects it.
        """
        interval, errors, rest = FIRST_POLL, 0, 0.0
        queued_since = self._clock.monotonic() - age
        running_since: float | None = None
        while True:
            try:
                report = self._poll(job_id, endpoint, self._clock.monotonic() - queued_since)
                errors, rest = 0, 0.0
            except (*NOT_ACCEPTED, BadAnswerError) as error:
                errors, rest = errors + 1, _retry_after(error)
                if errors >= POLL_ERRORS or rest > LONGEST_REST:
                    raise
            else:
                if report.state is JobState.COMPLETED:
                    return report
                now = self._clock.monotonic()
                if report.state is JobState.RUNNING and running_since is None:
                    running_since = now
                late = _lateness(deadlines, now - queued_since, running_since, now)
                if late is not None:
                    return self._cancel(job_id, endpoint, f"Job {job_id} {late}")
            # The jitter spreads the polls of many jobs.
            pause = rest + interval * random.uniform(0.75, 1.25)  # noqa: S311
            if self._clock.wait(self._stops.waits, pause):
                raise StoppedError(f"Job {job_id} was left at the service.", sent=True)
            interval = min(interval * POLL_GROWTH, LONGEST_POLL)

    def _poll(self, job_id: str, endpoint: str, age: float) -> JobReport:
        try:
            return self._provider().poll(job_id, endpoint)
        except JobLostError:
            raise
        except JobExpiredError as error:
            if age >= LEAST_RETENTION:
                raise
            # Within the retention time the job may not be known yet, or the gateway is faulty.
            raise BadAnswerError(
                f"{error} It was sent {age:.0f} s ago, too recently to be written off.",
                remedy="Run again: the job is polled again, and not bought again before "
                f"{LEAST_RETENTION / 60:.0f} minutes have passed.",
            ) from error

    def _cancel(self, job_id: str, endpoint: str, sentence: str) -> JobReport:
        """Cancel the job and poll once more: it may be completed after all, or still be running.
        Only a job that has ended is written off.
        """
        health = self._health()
        try:
            self._provider().cancel(job_id, endpoint)
            report = self._provider().poll(job_id, endpoint)
        except JobFailedError:
            raise JobTimeoutError(
                f"{sentence}, and was cancelled.{health}", job_id=job_id
            ) from None
        except ProviderError as error:
            raise StillRunningError(
                f"{sentence}, and could not be cancelled ({error}).{health}"
            ) from error
        if report.state is JobState.COMPLETED:
            return report
        raise StillRunningError(f"{sentence}, and is still running although cancelled.{health}")

    def _health(self) -> str:
        try:
            health = self._provider().health()
        except ProviderError:
            return ""
        return f" The service says: {short_line(str(health))}." if health else ""

    def fetch(self, image: RemoteImage, downloader: Downloader) -> bytes:
        """The image's bytes, downloaded with a few tries if it is given by URL."""
        if image.url is None:
            return image.data or b""
        tries = 0
        while True:
            tries += 1
            try:
                return downloader.fetch(image.url)
            except UrlRefusedError:
                raise
            except DownloadError as error:
                too_long = _retry_after(error) > LONGEST_REST
                if tries >= DOWNLOAD_TRIES or too_long or self._stops.waits.is_set():
                    raise
                if self._clock.wait(self._stops.waits, _backoff(error, tries)):
                    raise StoppedError("The image was left at the service.", sent=True) from error


def _lateness(
    deadlines: Deadlines, age: float, running_since: float | None, now: float
) -> str | None:
    """Which deadline a job has passed, as a phrase; None before its deadline."""
    if running_since is None:
        phase, passed, limit = "waited in the queue", age, deadlines.queue
    else:
        phase, passed, limit = "ran", now - running_since, deadlines.run
    if passed <= limit:
        return None
    return f"{phase} for {passed:.0f} s, past the {limit:g} s allowed"


def _retry_after(error: BaseException) -> float:
    return float(getattr(error, "retry_after", None) or 0.0)


def _backoff(error: BaseException, tries: int) -> float:
    # Full jitter spreads many clients over the whole window.
    return _retry_after(error) + random.uniform(0, min(2.0**tries, 60.0) / 2)  # noqa: S311
