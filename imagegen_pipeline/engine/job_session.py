"""The conversation with a service: submit with care, poll with patience, download at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
)

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
"""Seconds that a job is known at its service at least: RunPod keeps a result for half an hour,
and a job's ttl is longer.
"""
POLL_ERRORS = 10
"""Errors in a row, while polling, after which the job is left to be collected later."""
NOT_ACCEPTED = (RateLimitedError, ProviderBusyError, UnreachableError)
"""Refusals after which nothing is billed, so that the same request may be sent again."""
_T = TypeVar("_T")


class JobSession:
    """One item's talk with its service. Every wait ends when its stop is set."""

    def __init__(
        self, provider: Callable[[], ProviderClient], clock: Clock, stops: StopSignals
    ) -> None:
        self._provider = provider  # a download needs none, and so no key
        self._clock = clock
        self._stops = stops

    def submit(self, call: Callable[[], _T]) -> _T:
        """``call`` again after refusals that bill nothing: full jitter, Retry-After obeyed."""

        def pause(seconds: float) -> None:
            if self._clock.wait(self._stops.submits, seconds):
                raise StoppedError("The batch was stopped while this item waited to be sent again.")

        tried = stop_after_attempt(SUBMIT_TRIES)
        retrying = Retrying(
            retry=retry_if_exception_type(NOT_ACCEPTED),
            stop=lambda state: tried(state) or _asks_too_long(state),
            wait=_backoff,
            sleep=pause,
            reraise=True,
        )
        return retrying(call)

    def await_job(
        self, job_id: str, endpoint: str, deadlines: Deadlines, *, age: float = 0.0
    ) -> JobReport:
        """Poll until the job, sent ``age`` seconds ago, is done; raises what it failed of.

        After a deadline the job is cancelled. After too many errors in a row, a stop, or a
        cancel that has no effect, it is left at the service, where a later run collects it.
        """
        interval, errors, rest = FIRST_POLL, 0, 0.0
        queued_since = self._clock.monotonic() - age
        running_since: float | None = None
        while True:
            try:
                report = self._poll(job_id, endpoint, self._clock.monotonic() - queued_since)
                errors, rest = 0, 0.0
            except (*NOT_ACCEPTED, BadAnswerError) as error:
                errors, rest = errors + 1, _asked_to_wait(error)
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
                    return self._give_up(job_id, endpoint, f"Job {job_id} {late}")
            # The jitter only spreads the polls of many jobs.
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
            # No service forgets so soon: it may not know the job yet, or its gateway is ill.
            raise BadAnswerError(
                f"{error} It was sent {age:.0f} s ago, too lately to be given up.",
                remedy="Run again: the job is asked for again, and not bought again before "
                f"{LEAST_RETENTION / 60:.0f} minutes have passed.",
            ) from error

    def _give_up(self, job_id: str, endpoint: str, sentence: str) -> JobReport:
        """Cancel the job and ask once more: it may be done after all, or not let itself be
        cancelled. Only a job that has ended is written off.
        """
        health = self._ask_health()
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
        raise StillRunningError(f"{sentence}, and goes on although it was cancelled.{health}")

    def _ask_health(self) -> str:
        try:
            health = self._provider().health()
        except ProviderError:
            return ""
        return f" The service says: {short_line(str(health))}." if health else ""

    def fetch(self, image: RemoteImage, downloader: Downloader) -> bytes:
        """The picture's bytes, downloaded with a few tries if it is given by URL."""
        url = image.url
        if url is None:
            return image.data or b""

        def pause(seconds: float) -> None:
            if self._clock.wait(self._stops.waits, seconds):
                raise StoppedError("The picture was left at the service.", sent=True)

        tried = stop_after_attempt(DOWNLOAD_TRIES)

        retrying = Retrying(
            retry=retry_if_exception_type(DownloadError)
            & retry_if_not_exception_type(UrlRefusedError),
            stop=lambda state: tried(state) or _asks_too_long(state) or self._stops.waits.is_set(),
            wait=_backoff,
            sleep=pause,
            reraise=True,
        )
        return retrying(downloader.fetch, url)


def _lateness(
    deadlines: Deadlines, age: float, running_since: float | None, now: float
) -> str | None:
    """What to say of a job past its deadline; None for one that is in time."""
    if running_since is None:
        phase, passed, limit = "waited in the queue", age, deadlines.queue
    else:
        phase, passed, limit = "ran", now - running_since, deadlines.run
    if passed <= limit:
        return None
    return f"{phase} for {passed:.0f} s, past the {limit:g} s allowed"


def _asked_to_wait(error: BaseException | None) -> float:
    return float(getattr(error, "retry_after", None) or 0.0)


def _retry_after(state: RetryCallState) -> float:
    return _asked_to_wait(state.outcome.exception() if state.outcome else None)


def _asks_too_long(state: RetryCallState) -> bool:
    return _retry_after(state) > LONGEST_REST


def _backoff(state: RetryCallState) -> float:
    # Full jitter spreads many clients over the whole window.
    return _retry_after(state) + random.uniform(0, min(2.0**state.attempt_number, 60.0) / 2)  # noqa: S311
