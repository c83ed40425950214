"""Jobs of a simulated provider: queued, run by the real clock, ended, deleted."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Literal

from imagegen_pipeline.simulator.billing import Billing, Ending, Provider
from imagegen_pipeline.simulator.faults import Fault
from imagegen_pipeline.simulator.pictures import Recipe
from imagegen_pipeline.simulator.simulation import Simulation

State = Literal["queued", "running", "completed", "failed", "cancelled", "timed_out"]

_SCRIPTED_ENDS: dict[str, State] = {
    "job_failed": "failed",
    "job_cancelled": "cancelled",
    "job_timed_out": "timed_out",
}
_ENDINGS: dict[State, Ending] = {
    "completed": "completed",
    "failed": "failed",
    "timed_out": "failed",
    "cancelled": "cancelled",
}


@dataclass(slots=True, eq=False)
class Job:
    """One request for pictures. It keeps their recipes, never their bytes; times in seconds."""

    id: str
    prompt: str
    recipes: tuple[Recipe, ...]
    retention: float
    refusal: str | None = None
    fault: Fault | None = None
    execution_timeout: float | None = None
    state: State = "queued"
    queued_at: float = field(default_factory=time.monotonic)
    started_at: float | None = None
    ended_at: float | None = None
    retries: int = 0
    billing: Billing = field(default_factory=Billing, repr=False)
    task: asyncio.Task[None] | None = None
    forgetting: asyncio.TimerHandle | None = None
    expiry: asyncio.TimerHandle | None = None

    @property
    def active(self) -> bool:
        """Whether the job waits or runs."""
        return self.state in ("queued", "running")

    @property
    def delay_ms(self) -> int:
        """How long the job has waited for a worker."""
        return round(1000 * ((self.started_at or time.monotonic()) - self.queued_at))

    @property
    def execution_ms(self) -> int:
        """How long a worker has run the job."""
        if self.started_at is None:
            return 0
        return round(1000 * ((self.ended_at or time.monotonic()) - self.started_at))


class WorkerPool:
    """The workers of one provider and the jobs they know."""

    def __init__(
        self,
        sim: Simulation,
        provider: Provider,
        *,
        cold_start: float = 0.0,
        capacity: int | None = None,
    ) -> None:
        """Start cold; ``cold_start`` seconds pass from the first job to the first worker.

        ``capacity`` jobs run at once, the options' number unless given.
        """
        self._sim = sim
        self._provider: Provider = provider
        self._slots = asyncio.Semaphore(capacity or sim.options.capacity)
        self._cold_start = cold_start
        self._warm_at: float | None = None
        self.jobs: dict[str, Job] = {}

    @property
    def warm(self) -> bool:
        """Whether a worker is up."""
        return self._warm_at is not None and time.monotonic() >= self._warm_at

    def submit(self, job: Job, *, ttl: float | None = None) -> None:
        """Accept the job; ``ttl`` seconds later it is deleted, whatever its state."""
        self.jobs[job.id] = job
        self._queue(job)
        if ttl is not None:
            job.expiry = asyncio.get_running_loop().call_later(ttl, self._delete, job)

    def retry(self, job: Job) -> None:
        """Queue an ended job again, under the same id; a scripted end does not repeat."""
        if job.forgetting is not None:
            job.forgetting.cancel()
        job.state, job.fault = "queued", None
        job.started_at = job.ended_at = None
        job.retries += 1
        job.queued_at = time.monotonic()
        self._queue(job)

    def cancel(self, job: Job) -> None:
        """Stop the job unless it has ended."""
        if not job.active:
            return
        if job.task is not None:
            job.task.cancel()
        self._end(job, "cancelled")

    async def wait(self, job: Job, seconds: float | None = None) -> None:
        """Return when the job has ended, or after so many seconds."""
        if job.task is not None:
            await asyncio.wait({job.task}, timeout=seconds)

    def clear(self) -> None:
        """Delete every job and go cold; the counters are left to the caller."""
        for job in list(self.jobs.values()):
            if job.task is not None:
                job.task.cancel()
            self._forget(job)
        self._warm_at = None

    def _queue(self, job: Job) -> None:
        if self._warm_at is None:
            self._warm_at = time.monotonic() + self._cold_start
        job.billing = self._sim.billing
        job.billing.accept(self._provider, job.prompt)
        job.task = asyncio.create_task(self._run(job))

    async def _run(self, job: Job) -> None:
        if job.fault is not None and job.fault.name == "stuck_in_queue":
            await asyncio.Event().wait()
        await asyncio.sleep((self._warm_at or 0) - time.monotonic())
        async with self._slots:
            job.state, job.started_at = "running", time.monotonic()
            job.billing.start(self._provider)
            try:
                state = await self._make(job)
            finally:
                job.billing.leave(self._provider)
            self._end(job, state)

    async def _make(self, job: Job) -> State:
        """Wait as long as the job's pictures take; they are drawn when they are requested."""
        if job.refusal is not None:
            return "failed"
        needed = self._sim.options.latency * len(job.recipes)
        if job.execution_timeout is not None and needed > job.execution_timeout:
            await asyncio.sleep(job.execution_timeout)
            return "timed_out"
        await asyncio.sleep(needed)
        return _SCRIPTED_ENDS.get(job.fault.name if job.fault else "", "completed")

    def _end(self, job: Job, state: State) -> None:
        job.state, job.ended_at = state, time.monotonic()
        pictures = len(job.recipes) if state == "completed" else 0
        job.billing.end(self._provider, job.prompt, _ENDINGS[state], pictures=pictures)
        if job.fault is not None and job.fault.name == "expired":
            self._forget(job)
            return
        loop = asyncio.get_running_loop()
        job.forgetting = loop.call_later(job.retention, self._forget, job)

    def _delete(self, job: Job) -> None:
        self.cancel(job)
        self._forget(job)

    def _forget(self, job: Job) -> None:
        """Delete the job and the timers that would keep it in memory."""
        self.jobs.pop(job.id, None)
        for timer in (job.forgetting, job.expiry):
            if timer is not None:
                timer.cancel()
