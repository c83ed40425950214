"""Runs many items at once, with bounded concurrency; yields each outcome as it finishes."""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType

from imagegen_pipeline.domain.errors import (
    BadAnswerError,
    BrokenPicturesError,
    ImagegenError,
    InternalFaultError,
    JobElsewhereError,
    JobFailedError,
    LeaseLostError,
    LedgerError,
    NotAPictureError,
    SpendingError,
    StoppedError,
    StoreError,
)
from imagegen_pipeline.domain.requests import Attempt, Outcome, Status
from imagegen_pipeline.engine.context import BatchOptions, EngineContext, ImageTask, StopSignals
from imagegen_pipeline.engine.submit_limiter import SubmitLimiter
from imagegen_pipeline.engine.task_runner import TaskRunner
from imagegen_pipeline.ledger.lease_owner import new_owner
from imagegen_pipeline.ledger.leases import LEASE_SECONDS, Lease

_log = logging.getLogger(__name__)
_MOST_WASTED = {
    (NotAPictureError.kind, BadAnswerError.kind): 3,
    (JobFailedError.kind,): 10,
}
"""How many failures in a row of these kinds, all paid for, stop the batch."""
_MOST_EXTRA_WORKERS = 64
_FIRST_LEASE_WAIT, _LONGEST_LEASE_WAIT = 0.05, 2.0


def generate(context: EngineContext, tasks: Iterable[ImageTask], options: BatchOptions) -> Batch:
    """A batch that reuses, collects or generates the image of each task when iterated over.

    The ledger must know the items. Every item gives exactly one ``Outcome``; no error of a single
    item is raised.
    """
    return Batch(context, tasks, options)


class Batch(Iterator[Outcome]):
    """A running batch: an iterator over its outcomes, in the order in which they finish.

    As a context manager it sends nothing more once an exception leaves the ``with``.

    It is not a generator: after an exception in the caller's loop (Ctrl-C, Dagster's
    *terminate*), ``stop()`` and a second loop still give the outcomes of what is in flight.
    """

    def __init__(
        self, context: EngineContext, tasks: Iterable[ImageTask], options: BatchOptions
    ) -> None:
        self._ctx = context
        self._options = options
        self._tasks = iter(_sent_ones_first(context, tasks))
        self._stops = StopSignals()
        if options.collect_only:
            self._stops.submits.set()
            self._stops.waits.set()
        self._reason: ImagegenError | None = None
        self._owner = new_owner()
        self._limiter = SubmitLimiter(context, options, self._stops)
        self._counting = threading.Lock()
        self._wasted: Counter[tuple[str, ...]] = Counter()
        self._workers = _workers(options.concurrency)
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="imagegen")
        self._pending = 0
        self._finished: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
        self._reused = 0
        self._ended = threading.Event()
        self._renewer = threading.Thread(
            target=self._renew_leases, name="imagegen-leases", daemon=True
        )

    def __iter__(self) -> Batch:
        return self

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.stop(leave_jobs=True)

    def __next__(self) -> Outcome:
        outcome = None
        while outcome is None:
            outcome = self._next_within(None)
        return outcome

    def arriving(self, seconds: float) -> Iterator[Outcome | None]:
        """The outcomes as they finish, and None whenever none has finished for so many seconds,
        so that the caller can write what it has gathered.
        """
        while True:
            try:
                yield self._next_within(seconds)
            except StopIteration:
                return

    def _next_within(self, seconds: float | None) -> Outcome | None:
        self._fill()
        if not self._pending:
            self._close()
            raise StopIteration
        try:
            future = self._finished.get(timeout=seconds)
        except queue.Empty:
            return None
        self._pending -= 1
        outcome = future.result()
        self._reused += outcome.status is Status.REUSED
        return outcome

    def stop(self, reason: ImagegenError | None = None, *, leave_jobs: bool = False) -> None:
        """Send nothing more. What was sent is waited for, unless ``leave_jobs``: then jobs are
        left at their provider, where a later run collects them.
        """
        if self._reason is None:
            self._reason = reason or StoppedError("The batch was stopped before this item.")
            self._stops.submits.set()
        if leave_jobs:
            self._stops.waits.set()

    def _fill(self) -> None:
        if self._renewer.ident is None:
            self._renewer.start()
        while self._pending < self._workers + self._options.concurrency:
            try:
                task = next(self._tasks)
            except StopIteration:
                return
            self._pending += 1
            self._pool.submit(self._run_task, task).add_done_callback(self._finished.put)

    def _close(self) -> None:
        self._ended.set()
        self._pool.shutdown()
        reused, self._reused = self._reused, 0
        if reused:
            try:
                self._ctx.ledger.reviews.count_reuse(reused)
            except LedgerError as error:  # a number in a report only
                _log.warning("imagegen: %d reused pictures were not counted: %s", reused, error)

    def _run_task(self, task: ImageTask) -> Outcome:
        runner = self._runner(task)
        outcome = self._outcome(task, runner)
        if runner.has_sent:
            self._count_wasted(outcome)
        level = logging.INFO if outcome.ok else logging.ERROR
        detail = outcome.path if outcome.ok else outcome.reason
        _log.log(level, "%s %s: %s", outcome.item_key, outcome.status, detail)
        return outcome

    def _count_wasted(self, outcome: Outcome) -> None:
        """Stop the batch when one paid request after another brings no usable image."""
        with self._counting:
            if outcome.ok:
                self._wasted.clear()
            for kinds, most in _MOST_WASTED.items():
                if outcome.error_kind in kinds:
                    self._wasted[kinds] += 1
                    if self._wasted[kinds] >= most:
                        self.stop(
                            BrokenPicturesError(
                                f"{most} pictures in a row were paid for in vain; the last: "
                                f"{outcome.error}"
                            )
                        )

    def _outcome(self, task: ImageTask, runner: TaskRunner) -> Outcome:
        if self._reason is not None:
            return _without_image(task, Status.SKIPPED, self._reason)
        try:
            return self._run(runner)
        except SpendingError as error:
            self.stop(error)
            return _without_image(task, Status.SKIPPED, error)
        except StoppedError as error:
            if not error.sent:
                return _without_image(task, Status.SKIPPED, self._reason or error)
            return _without_image(task, Status.SKIPPED, error, cost=None)
        except ImagegenError as error:
            if self._stops_batch(error):
                self.stop(error)
            cost = None if runner.has_sent else 0.0
            return _without_image(task, Status.FAILED, error, cost=cost)
        except Exception as error:  # noqa: BLE001 - one item's bug must not cost the others
            _log.exception("imagegen: a fault of this program at item %s", task.key)
            fault = InternalFaultError(
                f"A fault of this program: {type(error).__name__}.",
                remedy="Please report it with the log; the other items went on.",
            )
            return _without_image(task, Status.FAILED, fault, cost=None)

    def _stops_batch(self, error: ImagegenError) -> bool:
        if self._options.collect_only:  # other items may have another provider, key or endpoint
            return isinstance(error, StoreError | LedgerError) and error.stops_batch
        return error.stops_batch

    def _run(self, runner: TaskRunner) -> Outcome:
        if self._options.collect_only:
            with self._leased(runner.lease_names) as lease:
                return runner.collect(lease)
        reused = runner.reuse()
        if reused is not None:
            return reused
        while True:
            with self._leased(runner.lease_names) as lease:
                history = runner.history()
                if not history.identical_open:
                    try:
                        return runner.run(lease, history)
                    except LeaseLostError as error:  # nothing was sent: read the ledger again
                        _log.warning("imagegen: %s", error)
            for identical in history.identical_open:
                self._collect(identical)

    def _runner(self, task: ImageTask) -> TaskRunner:
        return TaskRunner(self._ctx, self._options, task, self._limiter, self._stops)

    def _collect(self, identical: Attempt) -> None:
        """Collect what a dead process sent for another item and an identical request."""
        task = self._ctx.as_sent(identical)
        if task is None:
            raise JobElsewhereError(
                f"Attempt {identical.id} of {identical.item_key} is of no known item."
            )
        runner = self._runner(task)
        with self._leased(runner.lease_names) as lease:
            runner.collect(lease)

    @contextmanager
    def _leased(self, names: list[str]) -> Iterator[Lease]:
        """Hold the leases of these names, exclusive among all processes."""
        owner = f"{self._owner}/{uuid.uuid4().hex[:12]}"
        leases, pause = self._ctx.ledger.leases, _FIRST_LEASE_WAIT
        while (lease := leases.acquire(names, owner)) is None:
            if self._ctx.clock.wait(self._stops.submits, pause):
                raise StoppedError("Another process is at this item; it was not waited for.")
            pause = min(pause * 2, _LONGEST_LEASE_WAIT)
        try:
            yield lease
        finally:
            try:
                if not lease.is_released:
                    leases.release(owner)
            except LedgerError as error:  # the image is stored; the lease ends by itself
                _log.warning("imagegen: a lease could not be released: %s", error)

    def _renew_leases(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / 4):
            try:
                self._ctx.ledger.leases.renew(self._owner)
            except Exception as error:  # noqa: BLE001 - the next renewal may succeed
                _log.warning("imagegen: the leases could not be renewed: %s", error)


def _workers(concurrency: int) -> int:
    """Threads for ``concurrency`` requests in flight: as many again (at most 64) download and write
    images, or are ready to send when a slot is released. A batch of one has one thread.
    """
    return concurrency + min(concurrency, _MOST_EXTRA_WORKERS) if concurrency > 1 else 1


def _sent_ones_first(context: EngineContext, tasks: Iterable[ImageTask]) -> Iterable[ImageTask]:
    """The tasks, those with open attempts first: they are collected before anything is sent."""
    unfinished = context.ledger.attempts.unfinished_keys()
    if not unfinished:
        return tasks
    return sorted(tasks, key=lambda task: task.key not in unfinished)


def _without_image(
    task: ImageTask, status: Status, error: ImagegenError, *, cost: float | None = 0.0
) -> Outcome:
    return Outcome(
        task.key,
        status,
        cost=cost,
        error_kind=error.kind,
        error=str(error),
        remedy=error.remedy,
    )
