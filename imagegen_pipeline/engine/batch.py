"""Many items at once, with bounded concurrency: one outcome each, as it finishes."""

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
_MOST_IN_VAIN = {
    (NotAPictureError.kind, BadAnswerError.kind): 3,
    (JobFailedError.kind,): 10,
}
"""So many in a row that were paid for and brought no picture stop the batch, by kind."""
_MOST_SPARE = 64
_FIRST_LOOK, _LONGEST_LOOK = 0.05, 2.0


def generate(context: EngineContext, wanted: Iterable[ImageTask], order: BatchOptions) -> Batch:
    """Get every wanted picture: reuse, collect or make it. Iterate over the batch to run it.

    The ledger must know the items. Every item gives exactly one ``Outcome``; nothing is
    raised for a single item's sake.
    """
    return Batch(context, wanted, order)


class Batch(Iterator[Outcome]):
    """A batch under way. As a ``with`` it sends nothing more once an exception leaves it.

    Outcomes come in the order in which they finish.

    It is no generator, on purpose: after an exception that the caller's thread was sent
    (Ctrl-C, Dagster's *terminate*), ``stop()`` and a further loop still bring the outcomes
    of what is in flight.
    """

    def __init__(
        self, context: EngineContext, wanted: Iterable[ImageTask], order: BatchOptions
    ) -> None:
        self._ctx = context
        self._order = order
        self._feed = iter(_sent_ones_first(context, wanted))
        self._stops = StopSignals()
        if order.collect_only:
            self._stops.submits.set()
            self._stops.waits.set()
        self._reason: ImagegenError | None = None
        self._owner = new_owner()
        self._limiter = SubmitLimiter(context, order, self._stops)
        self._watching = threading.Lock()
        self._in_vain: Counter[tuple[str, ...]] = Counter()
        self._workers = _workers(order.concurrency)
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="imagegen")
        self._pending = 0
        self._finished: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
        self._reused = 0
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="imagegen-heart", daemon=True)

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
        """The outcomes as they come; None whenever none has come for so many seconds, so that
        the caller can finish what it gathers.
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
        left at their service, where a later run collects them.
        """
        if self._reason is None:
            self._reason = reason or StoppedError("The batch was stopped before this item.")
            self._stops.submits.set()
        if leave_jobs:
            self._stops.waits.set()

    def _fill(self) -> None:
        if self._heart.ident is None:
            self._heart.start()
        while self._pending < self._workers + self._order.concurrency:
            try:
                wanted = next(self._feed)
            except StopIteration:
                return
            self._pending += 1
            self._pool.submit(self._one, wanted).add_done_callback(self._finished.put)

    def _close(self) -> None:
        self._ended.set()
        self._pool.shutdown()
        reused, self._reused = self._reused, 0
        if reused:
            try:
                self._ctx.ledger.reviews.count_reuse(reused)
            except LedgerError as error:  # a number in a report, no picture
                _log.warning("imagegen: %d reused pictures were not counted: %s", reused, error)

    def _one(self, wanted: ImageTask) -> Outcome:
        self._ctx.traffic.let_pass()
        maker = self._maker(wanted)
        outcome = self._outcome(wanted, maker)
        if maker.has_sent:
            self._watch(outcome)
        level = logging.INFO if outcome.ok else logging.ERROR
        what = outcome.path if outcome.ok else outcome.reason
        _log.log(level, "%s %s: %s", outcome.item_key, outcome.status, what)
        return outcome

    def _watch(self, outcome: Outcome) -> None:
        """Stop when what this batch pays for cannot be used, one after another."""
        with self._watching:
            if outcome.ok:
                self._in_vain.clear()
            for kinds, most in _MOST_IN_VAIN.items():
                if outcome.error_kind in kinds:
                    self._in_vain[kinds] += 1
                    if self._in_vain[kinds] >= most:
                        self.stop(
                            BrokenPicturesError(
                                f"{most} pictures in a row were paid for in vain; the last: "
                                f"{outcome.error}"
                            )
                        )

    def _outcome(self, wanted: ImageTask, maker: TaskRunner) -> Outcome:
        if self._reason is not None:
            return _without_picture(wanted, Status.SKIPPED, self._reason)
        try:
            return self._settle(maker)
        except SpendingError as error:
            self.stop(error)
            return _without_picture(wanted, Status.SKIPPED, error)
        except StoppedError as error:
            if not error.sent:
                return _without_picture(wanted, Status.SKIPPED, self._reason or error)
            return _without_picture(wanted, Status.SKIPPED, error, cost=None)
        except ImagegenError as error:
            if self._stops_all(error):
                self.stop(error)
            cost = None if maker.has_sent else 0.0
            return _without_picture(wanted, Status.FAILED, error, cost=cost)
        except Exception as error:  # noqa: BLE001 - one item's bug must not cost the others
            _log.exception("imagegen: a fault of this program at item %s", wanted.key)
            fault = InternalFaultError(
                f"A fault of this program: {type(error).__name__}.",
                remedy="Please report it with the log; the other items went on.",
            )
            return _without_picture(wanted, Status.FAILED, fault, cost=None)

    def _stops_all(self, error: ImagegenError) -> bool:
        if self._order.collect_only:  # another item's service, key or address may be in order
            return isinstance(error, StoreError | LedgerError) and error.stops_batch
        return error.stops_batch

    def _settle(self, maker: TaskRunner) -> Outcome:
        if self._order.collect_only:
            with self._leased(maker.lease_names) as lease:
                return maker.collect(lease)
        reused = maker.reuse()
        if reused is not None:
            return reused
        while True:
            with self._leased(maker.lease_names) as lease:
                identical_in_flight = maker.identical_in_flight()
                if not identical_in_flight:
                    try:
                        return maker.settle(lease)
                    except LeaseLostError as error:  # nothing was sent: see what others made of it
                        _log.warning("imagegen: %s", error)
            for identical in identical_in_flight:
                self._collect(identical)

    def _maker(self, wanted: ImageTask) -> TaskRunner:
        return TaskRunner(self._ctx, self._order, wanted, self._limiter, self._stops)

    def _collect(self, identical: Attempt) -> None:
        """Collect what a dead process sent for another item and an identical request."""
        wanted = self._ctx.as_sent(identical)
        if wanted is None:
            raise JobElsewhereError(
                f"Attempt {identical.id} of {identical.item_key} is of no known item."
            )
        maker = self._maker(wanted)
        with self._leased(maker.lease_names) as lease:
            maker.collect(lease)

    @contextmanager
    def _leased(self, names: list[str]) -> Iterator[Lease]:
        """Be the only one at work on these names, in this process and all others."""
        owner = f"{self._owner}/{uuid.uuid4().hex[:12]}"
        book, pause = self._ctx.ledger.leases, _FIRST_LOOK
        while (lease := book.acquire(names, owner)) is None:
            if self._ctx.clock.wait(self._stops.submits, pause):
                raise StoppedError("Another process is at this item; it was not waited for.")
            pause = min(pause * 2, _LONGEST_LOOK)
        try:
            yield lease
        finally:
            try:
                book.release(owner)
            except LedgerError as error:  # the picture stands; the lease ends by itself
                _log.warning("imagegen: a lease could not be given back: %s", error)

    def _beat(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / 4):
            try:
                self._ctx.ledger.leases.renew(self._owner)
            except Exception as error:  # noqa: BLE001 - the heart beats on, whatever ails it
                _log.warning("imagegen: the leases could not be renewed: %s", error)


def _workers(concurrency: int) -> int:
    """Threads for so many requests under way: as many more (to 64) bring home what has been made,
    or stand ready, so that a place at the service is taken as soon as it is left. A batch that
    does one thing at a time does so to the end.
    """
    return concurrency + min(concurrency, _MOST_SPARE) if concurrency > 1 else 1


def _sent_ones_first(context: EngineContext, wanted: Iterable[ImageTask]) -> Iterable[ImageTask]:
    """What was sent before comes home before anything new is sent."""
    unfinished = context.ledger.attempts.unfinished_keys()
    if not unfinished:
        return wanted
    return sorted(wanted, key=lambda item: item.key not in unfinished)


def _without_picture(
    wanted: ImageTask, status: Status, error: ImagegenError | None, *, cost: float | None = 0.0
) -> Outcome:
    return Outcome(
        wanted.key,
        status,
        cost=cost,
        error_kind=error.kind if error else None,
        error=str(error) if error else None,
        remedy=error.remedy if error else None,
    )
