"""Where every submit of a batch passes: service, disk, limits and money must allow it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from imagegen_pipeline.clock import Clock
from imagegen_pipeline.domain.errors import StoppedError
from imagegen_pipeline.engine.breaker import Breaker
from imagegen_pipeline.engine.context import BatchOptions, EngineContext, StopSignals
from imagegen_pipeline.engine.pending_attempt import PendingAttempt
from imagegen_pipeline.ledger.admission import AdmissionRules, Deferred
from imagegen_pipeline.ledger.attempts import NewAttempt
from imagegen_pipeline.ledger.leases import Lease

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_LOOK_SECONDS = 0.5
"""How often whoever waits for a place looks whether the batch was stopped."""


class SubmitLimiter:
    """One for each batch."""

    def __init__(self, context: EngineContext, order: BatchOptions, stops: StopSignals) -> None:
        self._ctx = context
        self._stops = stops
        self._places = threading.BoundedSemaphore(order.concurrency)
        self._breaker = Breaker(context.clock)
        self._pacer = Throttle(order.delay, context.clock)
        self._door = threading.Lock()
        self._said = ""

    @contextmanager
    def place(self) -> Iterator[Callable[[], None]]:
        """One of the places that the batch has at the service, from before the request leaves
        until there is an answer; gives what leaves it. As many as the order's concurrency.

        What comes after the answer is no business of the service's: while one picture is
        downloaded, decoded and written down, the next request has its place. Raises
        StoppedError.
        """
        while not self._places.acquire(timeout=_LOOK_SECONDS):
            self._check_stopped()
        leave = ExitStack()
        leave.callback(self._places.release)
        with leave:
            self._check_stopped()
            yield leave.close

    def _check_stopped(self) -> None:
        if self._stops.submits.is_set():
            raise StoppedError("The batch was stopped before this item was sent.")

    def submit(self, draft: PendingAttempt, lease: Lease, call: Callable[[], _T]) -> _T:
        """``call`` the service once all agree, the ledger having said that the request leaves.

        It does not leave, and ``call`` is not made, when one of these is raised: StoppedError,
        ServiceDownError, StoreError, SpendingError, LeaseLostError.
        """
        self._pacer.wait(self._stops.submits, before_a_wait=draft.written)
        probe = self._admitted(draft, self._terms(draft.plan, lease))
        with self._breaker.watch(probe=probe):
            return call()

    def _terms(self, plan: NewAttempt, lease: Lease) -> AdmissionRules:
        shop = self._ctx
        return AdmissionRules(
            lease=lease,
            limits=shop.limits(plan.provider),
            budget=shop.budget,
            reserve=shop.longest_cost(plan.sent_request),
            answer_seconds=shop.deadlines.answer,
            job_seconds=shop.deadlines.queue + shop.deadlines.run,
        )

    def _admitted(self, draft: PendingAttempt, terms: AdmissionRules) -> bool:
        """Wait until the request may leave; returns whether it is a probe of the breaker's."""
        answer = self._try(draft, terms)
        if not isinstance(answer, Deferred):
            return answer
        draft.written()
        # One asks for all that wait: hundreds that ask the ledger would only hold each other up.
        with self._door:
            while isinstance(answer := self._try(draft, terms), Deferred):
                self._say(f"{draft.plan.provider}: {answer.reason}")
                if self._ctx.clock.wait(self._stops.submits, answer.seconds):
                    raise StoppedError("The batch was stopped while this item waited for its turn.")
            return answer

    def _try(self, draft: PendingAttempt, terms: AdmissionRules) -> bool | Deferred:
        probe = self._breaker.enter(self._stops.submits, before_a_wait=draft.written)
        admitted = False
        try:
            self._check_stopped()
            with self._ctx.traffic.about_to_send():
                self._ctx.store.check_room(draft.plan.folder)
                refusal = draft.leave(terms)
            admitted = refusal is None
            return refusal or probe
        finally:
            if not admitted:
                self._breaker.leave(probe=probe)

    def _say(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            _log.warning("Waiting: %s.", reason)


class Throttle:
    """Lets submits pass with at least ``delay`` seconds between them."""

    def __init__(self, delay: float, clock: Clock) -> None:
        self._delay = delay
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self, stop: threading.Event, *, before_a_wait: Callable[[], object]) -> None:
        """Wait for a turn, or for ``stop``."""
        if self._delay <= 0:
            return
        with self._lock:
            now = self._clock.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._delay
        if turn > now:
            before_a_wait()
            self._clock.wait(stop, turn - now)
