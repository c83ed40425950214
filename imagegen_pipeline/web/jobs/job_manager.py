"""Where jobs are taken on, joined, run, stopped and looked up. They outlive their clients.

A job that waits holds no thread; one that runs has a thread for each of its batches. The
engine holds what is promised (nothing lost, nothing paid twice); the desk only bounds how much
is under way, and gives one answer to all who ask for the same.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from imagegen_pipeline.app.base_image import (
    BaseImageAnswer,
    BaseImageParams,
    failed,
    failure_text,
    generate_base_image,
    params_from,
)
from imagegen_pipeline.app.regenerate import BatchRequest, RegeneratePlan
from imagegen_pipeline.domain.errors import (
    DecisionError,
    ImagegenError,
    InternalFaultError,
    MissingKeyError,
    RequestRefusedError,
    StoppedError,
)
from imagegen_pipeline.domain.requests import Outcome, ProviderName, Status
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web.jobs.job import (
    BaseImageJob,
    GenerationJob,
    Job,
    JobStatus,
    base_image_job_id,
)
from imagegen_pipeline.web.jobs.report_queue import ReportQueue
from imagegen_pipeline.web.jobs.slot_pool import Reservation, SlotPool

_log = logging.getLogger(__name__)
MOST_KEPT, MOST_ITEMS_KEPT, KEPT_SECONDS = 1000, 100_000, 3600.0
"""Jobs that have ended are remembered so many, with so many items, and so long; then they are
asked of the ledger.
"""
_J = TypeVar("_J", bound=Job)


class TooManyJobsError(ImagegenError):
    """More waits than the server was told to take on; ``retry_after`` in seconds."""

    kind = "desk_full"
    remedy = "Try again later, or start the server with a larger --max-waiting."
    retry_after = 30


class ServerStoppingError(ImagegenError):
    """The server is about to end."""

    kind = "desk_closed"
    remedy = "Ask again when it has started anew: what was sent is collected, not bought again."


class OtherJobError(DecisionError):
    """A job's id was used again for something else."""

    remedy = "Send a new id with what is new."


class JobManager:
    """The jobs of this process."""

    def __init__(self, pipeline: Pipeline, news: ReportQueue, *, max_waiting: int) -> None:
        self._pipeline = pipeline
        self._news = news
        self._max_waiting = max_waiting
        self._places: dict[ProviderName, SlotPool] = {}
        self._lock = threading.RLock()
        self._open: dict[str, Job] = {}
        self._ended: dict[str, Job] = {}
        self._tickets: dict[Job, list[tuple[SlotPool, Reservation]]] = {}
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def base_image(self, params: BaseImageParams, *, regenerate: bool = False) -> BaseImageJob:
        """A job for this wish: the one that is under way for the same, or a new one.

        Raises DeskFullError, DeskClosedError and LedgerError.
        """
        left = self._left_by_others(params) if regenerate else None
        with self._lock:
            for job in self._open.values():
                if isinstance(job, BaseImageJob) and (job.params, job.regenerate) == (
                    params,
                    regenerate,
                ):
                    return job
            self._check_room(1)
            made = BaseImageJob(left or uuid.uuid4().hex, 1, params=params, regenerate=regenerate)
            self._take_on(made)
            provider = self._pipeline.settings.actor_provider
            self._queue(made, provider, 1, lambda places: self._make_base_image(made, places))
        return made

    def _left_by_others(self, params: BaseImageParams) -> str | None:
        """The job that an earlier process, or another one, is at for this very regenerate."""
        for attempt in self._pipeline.ledger.attempts.open(params.actor_name):
            job_id = base_image_job_id(attempt.intent)
            asked = replace(params_from(attempt), seed=attempt.request["seed"])
            if job_id is not None and attempt.regenerate and asked == params:
                return job_id
        return None

    def generation(
        self, job_id: str, asked: str, plan: Callable[[str], RegeneratePlan]
    ) -> GenerationJob:
        """A job of many pictures; with an id that is known, that job.

        ``asked`` is a digest of what it is asked with; ``plan`` makes of its intent what the
        engine is to do. Raises DeskFullError, DeskClosedError, OtherJobError, and what ``plan``
        raises.
        """
        known = self._known(job_id, asked)
        if known is not None:
            return known
        job = GenerationJob(job_id, 0, asked=asked)
        remaking = plan(job.intent)
        with self._lock:
            known = self._known(job_id, asked)  # another request may have come meanwhile
            if known is not None:
                return known
            self._check_room(remaking.size)
            settled = (*remaking.refused, *remaking.had)
            job.items = remaking.size + len(settled)
            job.parts = len(remaking.parts)
            job.outcomes = {one.item_key: one for one in settled}
            self._take_on(job)
            for part in remaking.parts:
                self._queue_part(job, part)
            if not remaking.parts:
                self._end_generation(job)
        return job

    def _known(self, job_id: str, asked: str) -> GenerationJob | None:
        job = self.get(job_id)
        if job is None:
            return None
        if not isinstance(job, GenerationJob) or job.asked != asked:
            raise OtherJobError(f"The job {job_id} was asked for something else.")
        return job

    def get(self, job_id: str) -> Job | None:
        """A job of this process that is under way, or ended not long ago."""
        with self._lock:
            self._forget()
            return self._open.get(job_id) or self._ended.get(job_id)

    def of_actor(self, name: str) -> BaseImageJob | None:
        """The newest job under way for an actor's base image."""
        with self._lock:
            jobs = [one for one in self._open.values() if isinstance(one, BaseImageJob)]
        return next((one for one in reversed(jobs) if one.params.actor_name == name), None)

    def keys_under_way(self) -> set[str]:
        """The items that jobs of this process are at."""
        with self._lock:
            jobs = list(self._open.values())
        actors = {one.params.actor_name for one in jobs if isinstance(one, BaseImageJob)}
        return actors.union(*(one.keys for one in jobs if isinstance(one, GenerationJob)))

    def stop(self, job: Job, *, leave_jobs: bool = False) -> None:
        """Send nothing more for a job; what was sent is waited for, unless ``leave_jobs``."""
        job.stop(leave_jobs=leave_jobs)
        with self._lock:
            tickets = self._tickets.get(job, [])
        for places, ticket in tickets:
            if places.withdraw(ticket):
                ticket.start(0)

    def close(self) -> None:
        """Take nothing more on, and send nothing more; jobs are left at their services."""
        with self._lock:
            self._closed = True
            jobs = list(self._open.values())
        for job in jobs:
            self.stop(job, leave_jobs=True)

    def join(self) -> None:
        """Wait for the answers that are under way."""
        while True:
            with self._lock:
                thread = next(iter(self._threads), None)
            if thread is None:
                return
            thread.join()

    @property
    def waiting_items(self) -> int:
        """How many items wait for their turn."""
        return sum(places.waiting_items for places in self._places.values())

    def _check_room(self, items: int) -> None:
        if self._closed:
            raise ServerStoppingError("The server is stopping and takes nothing more on.")
        waiting = self.waiting_items
        # A job larger than the limit could never be taken on: one is, when nothing else waits.
        if waiting and waiting + items > self._max_waiting:
            raise TooManyJobsError(
                f"{waiting} pictures wait already, and {self._max_waiting} may; "
                f"{items} more were not taken on."
            )

    def _take_on(self, job: Job) -> None:
        self._open[job.id] = job
        self._tickets[job] = []

    def _queue_part(self, job: GenerationJob, part: BatchRequest) -> None:
        job.keys |= {wanted.key for wanted in part.wanted}
        self._queue(
            job, part.provider, len(part.wanted), lambda places: self._make_part(job, part, places)
        )

    def _queue(
        self, job: Job, provider: ProviderName, items: int, work: Callable[[int], None]
    ) -> None:
        """Let ``work`` run in a thread once it has places; 0 places: it was stopped before."""
        places = self._pool(provider)

        def start(count: int) -> None:
            if count == 0:
                run(0)
                return
            thread = threading.Thread(target=run, args=(count,), name=f"imagegen-job-{job.id[:8]}")
            thread.daemon = True  # the second signal leaves at once
            with self._lock:  # who joins the threads finds none that has not begun
                self._threads.add(thread)
                thread.start()

        def run(count: int) -> None:
            try:
                if count:
                    job.status = JobStatus.IN_PROGRESS
                work(count)
            finally:
                places.give_back(ticket)
                with self._lock:
                    self._threads.discard(threading.current_thread())

        ticket = Reservation(items, start)
        self._tickets[job].append((places, ticket))
        places.ask(ticket)

    def _pool(self, provider: ProviderName) -> SlotPool:
        with self._lock:
            if provider not in self._places:
                self._places[provider] = SlotPool(self._pipeline.settings.concurrency)
            return self._places[provider]

    def _make_base_image(self, job: BaseImageJob, places: int) -> None:
        answer = self._answer(job, places)
        if answer.outcome is not None:
            self._news.add(answer.outcome)
        answer.body.pop("output", None)  # a thousand pictures would not fit into the memory
        job.answer = answer
        self._finish(job, JobStatus(answer.body["status"]))

    def _answer(self, job: BaseImageJob, places: int) -> BaseImageAnswer:
        params = job.params
        if not places or job.stopped:
            error: ImagegenError = StoppedError("It was stopped before it was sent.")
            return failed(
                502, params, failure_text(self._pipeline, _lost(params.actor_name, error))
            )
        order = self._pipeline.order(
            intent=job.intent,
            regenerate=job.regenerate,
            seed_given=job.regenerate and params.seed >= 0,
            concurrency=1,
        )
        try:
            return generate_base_image(self._pipeline, params, order=order, begun=job.begin)
        except RequestRefusedError as error:
            return failed(400, params, error.sentence)
        except ImagegenError as error:
            if isinstance(error, MissingKeyError):
                return failed(
                    502, params, failure_text(self._pipeline, _lost(params.actor_name, error))
                )
            return failed(503, params, f"Generation failed: {error.sentence}")
        except Exception as error:  # noqa: BLE001 - whoever waits for the job gets an answer
            return failed(500, params, _fault(error).sentence)

    def _not_sent(self, params: BaseImageParams, error: ImagegenError) -> BaseImageAnswer:
        outcome = _lost(params.actor_name, error)
        return failed(502, params, failure_text(self._pipeline, outcome))

    def _make_part(self, job: GenerationJob, part: BatchRequest, places: int) -> None:
        try:
            if places and not job.stopped:
                order = replace(part.order, concurrency=places)
                batch = self._pipeline.make(part.kind, part.provider, part.wanted, order)
                job.begin(batch)
                for outcome in batch:
                    job.outcomes[outcome.item_key] = outcome
                    self._news.add(outcome)
            lost: ImagegenError = StoppedError("It was stopped before it was sent.")
        except ImagegenError as error:
            lost = error
        except Exception as error:  # noqa: BLE001 - whoever looks at the job gets an answer
            lost = _fault(error)
        for wanted in part.wanted:
            job.outcomes.setdefault(wanted.key, _lost(wanted.key, lost))
        with self._lock:
            job.parts -= 1
            if job.parts == 0:
                self._end_generation(job)

    def _end_generation(self, job: GenerationJob) -> None:
        outcomes = list(job.outcomes.values())
        if all(one.ok for one in outcomes):
            status = JobStatus.COMPLETED
        else:
            status = JobStatus.STOPPED if job.stopped else JobStatus.FAILED
        self._finish(job, status)

    def _finish(self, job: Job, status: JobStatus) -> None:
        job.end(status)
        with self._lock:
            self._open.pop(job.id, None)
            self._tickets.pop(job, None)
            self._ended.pop(job.id, None)  # the newest stand last
            self._ended[job.id] = job
            self._forget()
        job.done.set_result(None)

    def _forget(self) -> None:
        """The oldest stand first: they were put there as they ended."""
        horizon = time.monotonic() - KEPT_SECONDS
        items = sum(job.items for job in self._ended.values())
        while self._ended:
            oldest = next(iter(self._ended.values()))
            is_full = len(self._ended) > MOST_KEPT or items > MOST_ITEMS_KEPT
            if not is_full and (oldest.ended_at or math.inf) > horizon:
                return
            items -= oldest.items
            del self._ended[oldest.id]


def _lost(key: str, error: ImagegenError) -> Outcome:
    status = Status.SKIPPED if isinstance(error, StoppedError) else Status.FAILED
    return Outcome(key, status, error_kind=error.kind, error=str(error), remedy=error.remedy)


def _fault(error: Exception) -> InternalFaultError:
    _log.exception("imagegen: a fault of this program in a job")
    return InternalFaultError(
        f"A fault of this program: {type(error).__name__}.",
        remedy="Please report it with the log; what was sent is collected, not bought again.",
    )
