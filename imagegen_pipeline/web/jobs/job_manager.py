"""Accepts, deduplicates, runs, stops and finds jobs. Jobs outlive the clients that asked.

A waiting job holds no thread; a running one has a thread for each batch. The engine keeps the
promises (nothing lost, nothing paid twice); the job manager only limits how much runs at once
and gives equal requests one job.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

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
MAX_KEPT_JOBS, MAX_KEPT_ITEMS, KEPT_SECONDS = 1000, 100_000, 3600.0
"""How many ended jobs, with how many items, stay in memory, and how long; older ones are read
from the ledger.
"""


class TooManyJobsError(ImagegenError):
    """More items wait than ``--max-waiting`` allows; ``retry_after`` in seconds."""

    kind = "too_many_jobs"
    remedy = "Try again later, or start the server with a larger --max-waiting."
    retry_after = 30


class ServerStoppingError(ImagegenError):
    """The server is shutting down."""

    kind = "server_stopping"
    remedy = "Ask again after its restart: what was sent is collected, not bought again."


class OtherJobError(DecisionError):
    """The id of a job was used again for another request."""

    remedy = "Send a new id with a new request."


class JobManager:
    """The jobs of this process. Safe from many threads."""

    def __init__(self, pipeline: Pipeline, report_queue: ReportQueue, *, max_waiting: int) -> None:
        self._pipeline = pipeline
        self._report_queue = report_queue
        self._max_waiting = max_waiting
        self._slot_pools: dict[ProviderName, SlotPool] = {}
        self._lock = threading.RLock()
        self._open: dict[str, Job] = {}
        self._ended: dict[str, Job] = {}
        self._reservations: dict[Job, list[tuple[SlotPool, Reservation]]] = {}
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def submit_base_image(
        self, params: BaseImageParams, *, regenerate: bool = False
    ) -> BaseImageJob:
        """A job for this request: the open one with equal parameters, or a new one.

        Raises TooManyJobsError, ServerStoppingError and LedgerError.
        """
        left_id = self._unfinished_job_id(params) if regenerate else None
        with self._lock:
            for job in self._open.values():
                if isinstance(job, BaseImageJob) and (job.params, job.regenerate) == (
                    params,
                    regenerate,
                ):
                    return job
            self._check_room(1)
            new = BaseImageJob(left_id or uuid.uuid4().hex, 1, params=params, regenerate=regenerate)
            self._open_job(new)
            provider = self._pipeline.settings.actor_provider
            self._queue(new, provider, 1, lambda slots: self._run_base_image(new, slots))
        return new

    def _unfinished_job_id(self, params: BaseImageParams) -> str | None:
        """The id of an earlier process's job that is not done with this same regenerate."""
        for attempt in self._pipeline.ledger.attempts.open(params.actor_name):
            job_id = base_image_job_id(attempt.intent)
            requested = replace(params_from(attempt), seed=attempt.request["seed"])
            if job_id is not None and attempt.regenerate and requested == params:
                return job_id
        return None

    def submit_generation(
        self, job_id: str, body_digest: str, plan: Callable[[str], RegeneratePlan]
    ) -> GenerationJob:
        """A job of many images; for a known id, that job.

        ``body_digest`` is of the request body; ``plan`` turns the job's intent into the work to
        do. Raises TooManyJobsError, ServerStoppingError, OtherJobError, and what ``plan`` raises.
        """
        known = self._known_generation(job_id, body_digest)
        if known is not None:
            return known
        job = GenerationJob(job_id, 0, body_digest=body_digest)
        planned = plan(job.intent)
        with self._lock:
            known = self._known_generation(job_id, body_digest)  # an equal request was faster
            if known is not None:
                return known
            self._check_room(planned.size)
            settled = (*planned.refused, *planned.collected)
            job.items = planned.size + len(settled)
            job.open_batches = len(planned.batches)
            job.outcomes = {outcome.item_key: outcome for outcome in settled}
            self._open_job(job)
            for batch in planned.batches:
                self._queue_batch(job, batch)
            if not planned.batches:
                self._end_generation(job)
        return job

    def _known_generation(self, job_id: str, body_digest: str) -> GenerationJob | None:
        job = self.get(job_id)
        if job is None:
            return None
        if not isinstance(job, GenerationJob) or job.body_digest != body_digest:
            raise OtherJobError(f"The job {job_id} was sent with another request.")
        return job

    def get(self, job_id: str) -> Job | None:
        """An open job, or one that ended recently."""
        with self._lock:
            self._forget_old_jobs()
            return self._open.get(job_id) or self._ended.get(job_id)

    def find_base_image(self, actor_name: str) -> BaseImageJob | None:
        """The newest open job for an actor's base image."""
        with self._lock:
            jobs = [job for job in self._open.values() if isinstance(job, BaseImageJob)]
        return next((job for job in reversed(jobs) if job.params.actor_name == actor_name), None)

    def active_keys(self) -> set[str]:
        """The keys of the items that open jobs are working on."""
        with self._lock:
            jobs = list(self._open.values())
        actors = {job.params.actor_name for job in jobs if isinstance(job, BaseImageJob)}
        return actors.union(*(job.keys for job in jobs if isinstance(job, GenerationJob)))

    def stop(self, job: Job, *, leave_jobs: bool = False) -> None:
        """Send nothing more for a job; wait for what was sent, unless ``leave_jobs``."""
        job.stop(leave_jobs=leave_jobs)
        with self._lock:
            reservations = self._reservations.get(job, [])
        for pool, reservation in reservations:
            if pool.withdraw(reservation):
                reservation.start(0)

    def close(self) -> None:
        """Accept and send nothing more; running jobs stay at their providers."""
        with self._lock:
            self._closed = True
            jobs = list(self._open.values())
        for job in jobs:
            self.stop(job, leave_jobs=True)

    def join(self) -> None:
        """Wait for the threads of running jobs."""
        while True:
            with self._lock:
                thread = next(iter(self._threads), None)
            if thread is None:
                return
            thread.join()

    @property
    def waiting_items(self) -> int:
        """The number of items in jobs that have not started."""
        return sum(pool.waiting_items for pool in list(self._slot_pools.values()))

    def _check_room(self, items: int) -> None:
        if self._closed:
            raise ServerStoppingError("The server is stopping and accepts no more jobs.")
        waiting = self.waiting_items
        # A job larger than the limit is accepted when nothing else waits: it never fits.
        if waiting and waiting + items > self._max_waiting:
            raise TooManyJobsError(
                f"{waiting} images are waiting and {self._max_waiting} may wait; "
                f"{items} more were refused."
            )

    def _open_job(self, job: Job) -> None:
        self._open[job.id] = job
        self._reservations[job] = []

    def _queue_batch(self, job: GenerationJob, batch: BatchRequest) -> None:
        job.keys |= {task.key for task in batch.tasks}
        self._queue(
            job,
            batch.provider,
            len(batch.tasks),
            lambda slots: self._run_batch(job, batch, slots),
        )

    def _queue(
        self, job: Job, provider: ProviderName, items: int, work: Callable[[int], None]
    ) -> None:
        """Run ``work`` in a thread once it has slots; 0 slots: the job was stopped before."""
        pool = self._slot_pools.setdefault(provider, SlotPool(self._pipeline.settings.concurrency))

        def start(slots: int) -> None:
            if slots == 0:
                run(0)
                return
            thread = threading.Thread(target=run, args=(slots,), name=f"imagegen-job-{job.id[:8]}")
            thread.daemon = True  # the second signal ends the process at once
            with self._lock:  # so that join() sees only threads that have started
                self._threads.add(thread)
                thread.start()

        def run(slots: int) -> None:
            try:
                if slots:
                    job.status = JobStatus.IN_PROGRESS
                work(slots)
            finally:
                pool.release(reservation)
                with self._lock:
                    self._threads.discard(threading.current_thread())

        reservation = Reservation(items, start)
        self._reservations[job].append((pool, reservation))
        pool.reserve(reservation)

    def _run_base_image(self, job: BaseImageJob, slots: int) -> None:
        answer = self._base_image_answer(job, slots)
        if answer.outcome is not None:
            self._report_queue.add(answer.outcome)
        answer.body.pop("output", None)  # a thousand images would not fit into memory
        job.answer = answer
        self._finish(job, JobStatus(answer.body["status"]))

    def _base_image_answer(self, job: BaseImageJob, slots: int) -> BaseImageAnswer:
        params = job.params
        if not slots or job.stopped:
            error: ImagegenError = StoppedError("It was stopped before it was sent.")
            return self._not_sent(params, error)
        options = self._pipeline.order(
            intent=job.intent,
            regenerate=job.regenerate,
            seed_given=job.regenerate and params.seed >= 0,
            concurrency=1,
        )
        try:
            return generate_base_image(
                self._pipeline, params, options=options, on_start=job.add_batch
            )
        except RequestRefusedError as error:
            return failed(400, params, error.sentence)
        except MissingKeyError as error:
            return self._not_sent(params, error)
        except ImagegenError as error:
            return failed(503, params, f"Generation failed: {error.sentence}")
        except Exception as error:  # noqa: BLE001 - clients that wait for the job get an answer
            return failed(500, params, _internal_fault(error).sentence)

    def _not_sent(self, params: BaseImageParams, error: ImagegenError) -> BaseImageAnswer:
        outcome = _failed_outcome(params.actor_name, error)
        return failed(502, params, failure_text(self._pipeline, outcome))

    def _run_batch(self, job: GenerationJob, request: BatchRequest, slots: int) -> None:
        try:
            if slots and not job.stopped:
                options = replace(request.options, concurrency=slots)
                batch = self._pipeline.make(request.kind, request.provider, request.tasks, options)
                job.add_batch(batch)
                for outcome in batch:
                    job.outcomes[outcome.item_key] = outcome
                    self._report_queue.add(outcome)
            error: ImagegenError = StoppedError("It was stopped before it was sent.")
        except ImagegenError as caught:
            error = caught
        except Exception as caught:  # noqa: BLE001 - the job shows the error
            error = _internal_fault(caught)
        for task in request.tasks:
            job.outcomes.setdefault(task.key, _failed_outcome(task.key, error))
        with self._lock:
            job.open_batches -= 1
            if job.open_batches == 0:
                self._end_generation(job)

    def _end_generation(self, job: GenerationJob) -> None:
        outcomes = list(job.outcomes.values())
        if all(outcome.ok for outcome in outcomes):
            status = JobStatus.COMPLETED
        else:
            status = JobStatus.STOPPED if job.stopped else JobStatus.FAILED
        self._finish(job, status)

    def _finish(self, job: Job, status: JobStatus) -> None:
        job.end(status)
        with self._lock:
            self._open.pop(job.id, None)
            self._reservations.pop(job, None)
            self._ended.pop(job.id, None)  # so that the newest job stands last
            self._ended[job.id] = job
            self._forget_old_jobs()
        job.done.set_result(None)

    def _forget_old_jobs(self) -> None:
        """Drop ended jobs, oldest first, until the limits hold."""
        horizon = time.monotonic() - KEPT_SECONDS
        items = sum(job.items for job in self._ended.values())
        while self._ended:
            oldest = next(iter(self._ended.values()))
            is_full = len(self._ended) > MAX_KEPT_JOBS or items > MAX_KEPT_ITEMS
            if not is_full and (oldest.ended_at or math.inf) > horizon:
                return
            items -= oldest.items
            del self._ended[oldest.id]


def _failed_outcome(key: str, error: ImagegenError) -> Outcome:
    status = Status.SKIPPED if isinstance(error, StoppedError) else Status.FAILED
    return Outcome(key, status, error_kind=error.kind, error=str(error), remedy=error.remedy)


def _internal_fault(error: Exception) -> InternalFaultError:
    _log.exception("imagegen: internal error in a job")
    return InternalFaultError(
        f"Internal error: {type(error).__name__}.",
        remedy="Please report it with the log; what was sent is collected, not bought again.",
    )
