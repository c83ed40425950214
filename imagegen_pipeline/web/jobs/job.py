"""Jobs of the server: one base image, or a generation of many images."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from imagegen_pipeline.app.base_image import BaseImageAnswer, BaseImageParams
from imagegen_pipeline.domain.requests import OPEN_STATES, Attempt, Outcome, State, Status
from imagegen_pipeline.engine import Batch

BASE_IMAGE, GENERATION = "base-image", "gallery"
"""Prefixes of job ids in the ledger, so that an id chosen by a client cannot equal the id of a
Dagster run or a command."""


class JobStatus(StrEnum):
    """The state of a job, as the API shows it."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


@dataclass(eq=False)
class Job:
    """A job of this process. ``done`` resolves when it has ended; ``ended_at`` is on the
    monotonic clock. Any thread may stop it.
    """

    id: str
    items: int
    status: JobStatus = JobStatus.IN_QUEUE
    stopped: bool = False
    ended_at: float | None = None
    done: Future[None] = field(default_factory=Future)
    _batches: list[Batch] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_batch(self, batch: Batch) -> None:
        """Register a batch that starts; if the job was stopped, the batch sends nothing."""
        with self._lock:
            self._batches.append(batch)
            stopped = self.stopped
        if stopped:
            batch.stop(leave_jobs=True)

    def stop(self, *, leave_jobs: bool) -> None:
        """Send nothing more; with ``leave_jobs`` do not wait for what was sent either."""
        with self._lock:
            self.stopped = True
            batches = list(self._batches)
        for batch in batches:
            batch.stop(leave_jobs=leave_jobs)

    def end(self, status: JobStatus) -> None:
        """Record that the job has ended."""
        with self._lock:
            self._batches.clear()
            self.status = status
            self.ended_at = time.monotonic()


@dataclass(eq=False)
class BaseImageJob(Job):
    """One base image. ``answer`` is the guide's response without the image data."""

    params: BaseImageParams = field(default_factory=lambda: BaseImageParams("", ""))
    regenerate: bool = False
    answer: BaseImageAnswer | None = None

    @property
    def intent(self) -> str:
        """The job's intent in the ledger."""
        return base_image_intent(self.id)


@dataclass(eq=False)
class GenerationJob(Job):
    """Images of many items. ``body_digest`` is of the request body, ``open_batches`` the number
    of batches that have not ended.
    """

    body_digest: str = ""
    open_batches: int = 0
    keys: set[str] = field(default_factory=set)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def intent(self) -> str:
        """The job's intent in the ledger."""
        return generation_intent(self.id)

    def as_json(self) -> dict[str, Any]:
        """The body of ``GET /api/jobs/{id}``."""
        outcomes = [outcome_json(one) for one in list(self.outcomes.values())]
        return generation_json(self.id, str(self.status), self.items, outcomes)


def base_image_intent(job_id: str) -> str:
    """The ledger's intent of a base image job."""
    return f"{BASE_IMAGE}-{job_id}"


def base_image_job_id(intent: str) -> str | None:
    """The id of the base image job with this intent; None if it is no such job's."""
    return intent.removeprefix(f"{BASE_IMAGE}-") if intent.startswith(f"{BASE_IMAGE}-") else None


def generation_intent(job_id: str) -> str:
    """The ledger's intent of a generation job."""
    return f"{GENERATION}-{job_id}"


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """One item's outcome as JSON."""
    return {
        "key": outcome.item_key,
        "status": str(outcome.status),
        "error": outcome.error,
        "remedy": outcome.remedy,
        "cost": outcome.cost,
    }


def generation_json(
    job_id: str,
    status: str,
    total: int,
    outcomes: list[dict[str, Any]],
    *,
    warnings: Iterable[str] = (),
) -> dict[str, Any]:
    """A generation job with its totals; ``cost`` is None when one image's cost is unknown."""
    statuses = [one["status"] for one in outcomes]
    made = statuses.count(Status.MADE)
    reused = statuses.count(Status.REUSED) + statuses.count(Status.SHARED)
    costs = [one["cost"] for one in outcomes]
    return {
        "jobId": job_id,
        "kind": "generation",
        "job": f"/api/jobs/{job_id}",
        "status": status,
        "total": total,
        "made": made,
        "reused": reused,
        "failed": len(statuses) - made - reused,
        "waiting": max(0, total - len(statuses)),
        "cost": None if None in costs else sum(costs),
        "outcomes": outcomes,
        "warnings": list(warnings),
    }


_PARTIAL_WARNING = (
    "This job is from an earlier server process: items that it had not started are not counted. "
    "Send the same POST again to generate what is missing; nothing is bought twice."
)


def generation_of_attempts(job_id: str, attempts: Iterable[Attempt]) -> dict[str, Any]:
    """A job of an earlier process, from its newest attempt of each item in the ledger. Items
    without an attempt are not known; the warning says so.
    """
    newest: Mapping[str, Attempt] = {one.item_key: one for one in attempts}
    ended = [one for one in newest.values() if one.state not in OPEN_STATES]
    outcomes = [
        {
            "key": one.item_key,
            "status": str(_status_of(one)),
            "error": one.error,
            "remedy": one.remedy,
            "cost": one.cost,
        }
        for one in ended
    ]
    if len(ended) < len(newest):
        status = JobStatus.IN_PROGRESS
    elif all(one.state is State.STORED for one in ended):
        status = JobStatus.COMPLETED
    else:
        status = JobStatus.FAILED
    return generation_json(job_id, str(status), len(newest), outcomes, warnings=(_PARTIAL_WARNING,))


def _status_of(attempt: Attempt) -> Status:
    if attempt.state is State.STORED:
        return Status.MADE if attempt.shared_from is None else Status.SHARED
    return Status.HELD if attempt.state is State.HELD else Status.FAILED
