"""What the engine asks of any service that makes pictures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from imagegen_pipeline.domain.requests import GenerationRequest, ProviderName


class JobState(StrEnum):
    """Where a job stands, in words that fit every service."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """One picture as a service delivers it: by URL, or as the bytes themselves."""

    url: str | None = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a service says of a job. A job that failed is not reported but raised.

    ``queue_seconds`` and ``run_seconds`` are the service's own measure of its work, when it
    tells. ``raw`` is its answer without the pictures' bytes, for the users' ``data`` field.
    """

    state: JobState
    images: tuple[RemoteImage, ...] = ()
    queue_seconds: float | None = None
    run_seconds: float | None = None
    seed: int | None = None
    warnings: tuple[str, ...] = ()
    raw: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a submit: a job to be polled, or the finished picture at once."""

    job_id: str | None = None
    report: JobReport | None = None


class ProviderClient(Protocol):
    """A service that makes pictures. Every call has time-outs and raises ServiceError types."""

    @property
    def name(self) -> ProviderName:
        """Which service this is."""

    @property
    def endpoint(self) -> str:
        """Where its jobs live: kept beside every job id, for collecting later."""

    def submit(self, request: GenerationRequest) -> Submission:
        """Ask for one picture; the request's seed is resolved. Sent once: never retried here."""

    def poll(self, job_id: str, endpoint: str) -> JobReport:
        """Ask how a job stands. Safe to repeat."""

    def cancel(self, job_id: str, endpoint: str) -> None:
        """Give a job up. A job that is gone or ended already is no error."""

    def health(self) -> dict[str, Any]:
        """What the service says of its queue and workers; empty when it does not tell."""
