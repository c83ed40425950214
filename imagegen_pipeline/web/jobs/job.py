"""What was asked of the server: one base image, or pictures to be made anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from imagegen_pipeline.app.base_image import BaseImageAnswer, BaseImageParams
from imagegen_pipeline.domain.requests import Attempt, Outcome, State, Status
from imagegen_pipeline.engine import Batch

BASE_IMAGE, GENERATION = "base-image", "gallery"
"""What a job's id has before it where the ledger keeps it: ids that clients choose can so never
be those of another door's run."""


class JobStatus(StrEnum):
    """How far a job is."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


@dataclass(eq=False)
class Job:
    """A job of this process. ``done`` is set once it has ended; ``ended_at`` is on the
    monotonic clock. It is stopped from any thread.
    """

    id: str
    items: int
    status: JobStatus = JobStatus.IN_QUEUE
    stopped: bool = False
    ended_at: float | None = None
    done: Future[None] = field(default_factory=Future)
    _batches: list[Batch] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, batch: Batch) -> None:
        """A batch of this job begins; after a stop it sends nothing."""
        with self._lock:
            self._batches.append(batch)
            stopped = self.stopped
        if stopped:
            batch.stop(leave_jobs=True)

    def stop(self, *, leave_jobs: bool) -> None:
        """Send nothing more for this job."""
        with self._lock:
            self.stopped = True
            batches = list(self._batches)
        for batch in batches:
            batch.stop(leave_jobs=leave_jobs)

    def end(self, status: JobStatus) -> None:
        """The job has come to its end."""
        with self._lock:
            self._batches.clear()
            self.status = status
            self.ended_at = time.monotonic()


@dataclass(eq=False)
class BaseImageJob(Job):
    """One base image. ``answer`` is the users', without the picture itself."""

    params: BaseImageParams = field(default_factory=lambda: BaseImageParams("", ""))
    regenerate: bool = False
    answer: BaseImageAnswer | None = None

    @property
    def intent(self) -> str:
        """The job's name in the ledger."""
        return base_image_intent(self.id)


@dataclass(eq=False)
class GenerationJob(Job):
    """Pictures of many items. ``asked`` is the digest of what it was asked with, ``parts`` the
    batches that have not ended.
    """

    asked: str = ""
    parts: int = 0
    keys: set[str] = field(default_factory=set)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def intent(self) -> str:
        """The job's name in the ledger."""
        return generation_intent(self.id)

    def as_json(self) -> dict[str, Any]:
        """The job as ``GET /api/jobs/{id}`` tells it."""
        outcomes = [outcome_json(one) for one in list(self.outcomes.values())]
        return generation_json(self.id, str(self.status), self.items, outcomes)


def base_image_intent(job_id: str) -> str:
    """The name in the ledger of a job for one base image."""
    return f"{BASE_IMAGE}-{job_id}"


def base_image_job_id(intent: str) -> str | None:
    """The id of the job that an attempt at a base image belongs to; None for another door's."""
    return intent.removeprefix(f"{BASE_IMAGE}-") if intent.startswith(f"{BASE_IMAGE}-") else None


def generation_intent(job_id: str) -> str:
    """The name in the ledger of a job whose id a client made."""
    return f"{GENERATION}-{job_id}"


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """One item's outcome."""
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
    """A job of many pictures with its sums; ``cost`` None where one of them is not known."""
    counted = [one["status"] for one in outcomes]
    made = counted.count(Status.MADE)
    reused = counted.count(Status.REUSED) + counted.count(Status.SHARED)
    costs = [one["cost"] for one in outcomes]
    return {
        "jobId": job_id,
        "kind": "generation",
        "job": f"/api/jobs/{job_id}",
        "status": status,
        "total": total,
        "made": made,
        "reused": reused,
        "failed": len(counted) - made - reused,
        "waiting": max(0, total - len(counted)),
        "cost": None if None in costs else sum(costs),
        "outcomes": outcomes,
        "warnings": list(warnings),
    }


_OF_LEDGER = (
    "This server does not remember the job, so what had not been begun of it is not counted here. "
    "The same POST again makes what is missing, and buys nothing twice."
)
_OPEN = (State.PLANNED, State.SUBMITTING, State.SUBMITTED, State.COMPLETED)


def generation_of_attempts(job_id: str, attempts: Iterable[Attempt]) -> dict[str, Any]:
    """A job of an earlier process, from what the ledger has of it: the newest try of each item.
    What had not been begun when that process ended is not known, and the answer says so.
    """
    newest: Mapping[str, Attempt] = {one.item_key: one for one in attempts}
    ended = [one for one in newest.values() if one.state not in _OPEN]
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
    return generation_json(job_id, str(status), len(newest), outcomes, warnings=(_OF_LEDGER,))


def _status_of(attempt: Attempt) -> Status:
    if attempt.state is State.STORED:
        return Status.MADE if attempt.shared_from is None else Status.SHARED
    return Status.HELD if attempt.state is State.HELD else Status.FAILED
