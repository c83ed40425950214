"""A provider that follows a script and records every request and every bill."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from PIL import Image

from imagegen_pipeline.domain.errors import (
    AccountRefusedError,
    BadAnswerError,
    DownloadError,
    JobExpiredError,
    JobFailedError,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    RateLimitedError,
    RequestRefusedError,
    UnreachableError,
)
from imagegen_pipeline.providers.base import JobReport, JobState, RemoteImage, Submission

ENDPOINT = "https://service.example/v1"
PRICE = 1.0
SIDE = 8
"""Width and height of an image in pixels."""
STUCK = 1000
"""Polls that find a job still running: far past the run deadline."""
REFUSALS: dict[str, Callable[[], ProviderError]] = {
    "limited": lambda: RateLimitedError("429", retry_after=2.0),
    "busy": lambda: ProviderBusyError("503"),
    "unreachable": lambda: UnreachableError("no connection"),
    "refuses": lambda: RequestRefusedError("400"),
    "no credit": lambda: AccountRefusedError("402"),
}
"""Refusals that state that nothing is billed."""
SILENCES = ("billed, no answer", "no answer")
UNREADABLE = "billed, unreadable"


@dataclass(frozen=True, repr=False)
class Answer:
    """What the provider does with one request, from submit to delivery.

    ``submit``: ``job`` or ``picture`` (at once), or one of REFUSALS, SILENCES or UNREADABLE.
    ``polls`` are the errors of the first polls, then the job runs for ``runs`` polls; ``ends`` is
    ``done`` or ``fails``; ``can_cancel`` is whether it obeys a cancel. ``by_url`` is how the
    image is delivered, after the errors in ``downloads``: ``fails``, ``broken`` (damaged in
    transit) or ``gone`` (final). ``whole`` is whether the image decodes.
    """

    submit: str = "job"
    by_url: bool = True
    whole: bool = True
    runs: int = 0
    polls: tuple[str, ...] = ()
    ends: str = "done"
    can_cancel: bool = True
    downloads: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shown = [
            f"{part.name}={getattr(self, part.name)!r}"
            for part in dataclasses.fields(self)
            if getattr(self, part.name) != part.default
        ]
        return f"Answer({', '.join(shown)})"


@dataclass
class Request:
    """A request that reached the provider, and its state there."""

    number: int
    attempt: int
    process: str
    answer: Answer
    tick: int
    intent: str
    left_at: float
    """When the ledger recorded the submit (seconds since the epoch)."""
    billed: bool = False
    runs: int = 0
    polls: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    is_over: bool = False
    has_failed: bool = False
    is_forgotten: bool = False

    @property
    def may_be_billed(self) -> bool:
        """Whether no answer stated that nothing is billed."""
        return self.answer.submit not in REFUSALS

    @property
    def job_id(self) -> str | None:
        """The job's id, if there is one."""
        return f"job-{self.number}" if self.answer.submit == "job" else None

    @property
    def url(self) -> str:
        """The URL of its image."""
        return f"https://files.example/{self.number}.png"

    @property
    def data(self) -> bytes:
        """Its image; no two have the same bytes."""
        whole = _picture(self.number)
        return whole if self.answer.whole else whole[: len(whole) // 2]

    @property
    def digest(self) -> str:
        """SHA-256 of the image."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def cannot_be_had(self) -> bool:
        """Whether the provider has deleted the image."""
        return self.is_forgotten or self.downloads[:1] == ["gone"]

    def __str__(self) -> str:
        return f"request {self.number} of {self.process} for attempt {self.attempt} {self.answer}"


class SimulatedProvider:
    """The provider's own records, which outlive every process."""

    name = "duomi"
    endpoint = ENDPOINT

    def __init__(self) -> None:
        self.requests: list[Request] = []

    @property
    def bills(self) -> list[Request]:
        """Billed requests, oldest first."""
        return [request for request in self.requests if request.billed]

    @property
    def in_flight(self) -> list[Request]:
        """Jobs that are queued or running."""
        return [r for r in self.requests if r.job_id and not r.is_over and not r.is_forgotten]

    def submit(self, request: Request) -> Submission:
        """Process a request as scripted."""
        self.requests.append(request)
        answer = request.answer
        if answer.submit in REFUSALS:
            raise REFUSALS[answer.submit]()
        request.billed = answer.submit != "no answer"
        request.runs, request.polls = answer.runs, list(answer.polls)
        request.downloads = list(answer.downloads)
        if answer.submit in SILENCES:
            raise OutcomeUnknownError("no answer came")
        if answer.submit == UNREADABLE:
            raise BadAnswerError("200 without a picture")
        if request.job_id is not None:
            return Submission(job_id=request.job_id)
        return Submission(report=self._report(request))

    def poll(self, job_id: str, endpoint: str) -> JobReport:
        """See ``ProviderClient.poll``."""
        assert endpoint == ENDPOINT
        job = next(r for r in self.requests if r.job_id == job_id)
        if job.is_forgotten:
            raise JobExpiredError("404", job_id=job_id)
        if job.polls:
            trouble = job.polls.pop(0)
            raise BadAnswerError("???") if trouble == "unreadable" else REFUSALS[trouble]()
        if job.runs > 0:
            job.runs -= 1
            return JobReport(JobState.RUNNING)
        job.is_over = True
        if job.has_failed or job.answer.ends == "fails":
            self._cancel_job(job)
            raise JobFailedError("it failed", job_id=job_id)
        return self._report(job)

    def cancel(self, job_id: str, endpoint: str) -> None:
        """See ``ProviderClient.cancel``."""
        assert endpoint == ENDPOINT
        job = next(r for r in self.requests if r.job_id == job_id)
        if job.answer.can_cancel and job.runs > 0:
            job.runs = 0
            self._cancel_job(job)

    def _cancel_job(self, job: Request) -> None:
        job.has_failed, job.billed = True, False

    def health(self) -> dict[str, Any]:
        """See ``ProviderClient.health``."""
        return {}

    def fetch(self, url: str) -> bytes:
        """The bytes behind a URL, for the downloader."""
        request = next(r for r in self.requests if r.url == url)
        if request.cannot_be_had:
            raise DownloadError("404", is_gone=True)
        trouble = request.downloads.pop(0) if request.downloads else ""
        if trouble == "fails":
            raise DownloadError("503")
        return request.data[:-20] if trouble == "broken" else request.data

    def end_retention(self) -> None:
        """End the retention time: delete all present jobs and files."""
        for request in self.requests:
            request.is_forgotten = True

    def repair(self) -> None:
        """End all faults; deleted images stay deleted."""
        for request in self.requests:
            request.is_forgotten |= request.cannot_be_had
            request.polls, request.downloads, request.runs = [], [], 0

    def _report(self, request: Request) -> JobReport:
        given = {"url": request.url} if request.answer.by_url else {"data": request.data}
        return JobReport(JobState.COMPLETED, images=(RemoteImage(**given),), run_seconds=1.0)


@cache
def _picture(number: int) -> bytes:
    colour = (number % 256, number // 256 % 256, 128)
    out = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(out, format="PNG")
    return out.getvalue()
