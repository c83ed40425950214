"""Decides when a request may be sent: free slots, breaker, disk space, limits and budgets."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from imagegen_pipeline.domain.errors import (
    ImagegenError,
    LedgerError,
    ProviderDownError,
    SpendingError,
    StoppedError,
    StoreError,
)
from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.engine.breaker import Breaker
from imagegen_pipeline.engine.context import BatchOptions, EngineContext, StopSignals
from imagegen_pipeline.ledger.admission import AdmissionRules, Deferred
from imagegen_pipeline.ledger.attempts import NewAttempt
from imagegen_pipeline.ledger.leases import Lease

_log = logging.getLogger(__name__)
_STOP_CHECK_SECONDS = 0.5
"""How often a thread that waits for a slot checks whether the batch was stopped."""


class SubmitLimiter:
    """Shared by all items of a batch."""

    def __init__(self, context: EngineContext, options: BatchOptions, stops: StopSignals) -> None:
        self._ctx = context
        self._stops = stops
        self._slots = threading.BoundedSemaphore(options.concurrency)
        self._breaker = Breaker(context.clock)
        self._deferred = threading.Lock()
        self._logged = ""
        self._delay = options.delay
        self._turns = threading.Lock()
        self._next_time = 0.0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """One of the batch's ``concurrency`` slots at the provider. Hold it from before the submit
        until the provider has answered; downloading, decoding and writing need none.

        Raises StoppedError.
        """
        while not self._slots.acquire(timeout=_STOP_CHECK_SECONDS):
            self._check_stopped()
        try:
            self._check_stopped()
            yield
        finally:
            self._slots.release()

    def _check_stopped(self) -> None:
        if self._stops.submits.is_set():
            raise StoppedError("The batch was stopped before this item was sent.")

    @contextmanager
    def admitted(self, attempt: NewAttempt | Attempt, lease: Lease) -> Iterator[Attempt]:
        """Wait until the request may be sent, record it as ``submitting``, and let the breaker
        learn from the submit within the ``with``.

        Raises, before anything is sent, StoppedError, ProviderDownError, StoreError, SpendingError
        (the attempt is then recorded as failed) and LedgerError, such as LeaseLostError.
        """
        started, probe = self._start(attempt, lease)
        with self._breaker.watch(probe=probe):
            yield started

    def _start(self, attempt: NewAttempt | Attempt, lease: Lease) -> tuple[Attempt, bool]:
        """The attempt as ``submitting``, and whether it is a probe of the breaker."""
        ledger, on_disk = self._ctx.ledger.attempts, self._ctx.store.is_taken
        rules = self._rules(attempt, lease)
        try:
            self._wait_for_turn()
            started = self._try(attempt, rules)
            if not isinstance(started, Deferred):
                return started
            if isinstance(attempt, NewAttempt):  # it is visible while it waits
                attempt = ledger.plan(attempt, on_disk=on_disk)
            # One thread asks the ledger for all that wait.
            with self._deferred:
                while isinstance(started := self._try(attempt, rules), Deferred):
                    self._wait(f"{attempt.provider}: {started.reason}", started.seconds)
                return started
        except LedgerError:
            raise
        except (StoppedError, ProviderDownError, StoreError, SpendingError) as error:
            self._record_unsent(attempt, error)
            raise

    def _rules(self, attempt: NewAttempt | Attempt, lease: Lease) -> AdmissionRules:
        context = self._ctx
        return AdmissionRules(
            lease=lease,
            limits=context.limits(attempt.provider),
            budget=context.budget,
            reserve=context.longest_cost(attempt.sent_request),
            answer_seconds=context.deadlines.answer,
            job_seconds=context.deadlines.queue + context.deadlines.run,
        )

    def _wait_for_turn(self) -> None:
        """Keep at least ``delay`` seconds between two submits of the batch."""
        if self._delay <= 0:
            return
        with self._turns:
            now = self._ctx.clock.monotonic()
            slot_time = max(now, self._next_time)
            self._next_time = slot_time + self._delay
        if slot_time > now:
            self._ctx.clock.wait(self._stops.submits, slot_time - now)

    def _try(
        self, attempt: NewAttempt | Attempt, rules: AdmissionRules
    ) -> tuple[Attempt, bool] | Deferred:
        probe = self._breaker.enter(self._stops.submits)
        started: Attempt | Deferred | None = None
        try:
            self._check_stopped()
            store = self._ctx.store
            store.check_free_space(attempt.folder)
            started = self._ctx.ledger.attempts.start(attempt, rules, on_disk=store.is_taken)
        finally:
            if not isinstance(started, Attempt):
                self._breaker.leave(probe=probe)
        return started if isinstance(started, Deferred) else (started, probe)

    def _wait(self, reason: str, seconds: float) -> None:
        if reason != self._logged:
            self._logged = reason
            _log.warning("Waiting: %s.", reason)
        if self._ctx.clock.wait(self._stops.submits, seconds):
            raise StoppedError("The batch was stopped while this item waited to be sent.")

    def _record_unsent(self, attempt: NewAttempt | Attempt, error: ImagegenError) -> None:
        ledger = self._ctx.ledger.attempts
        if isinstance(attempt, NewAttempt):
            ledger.not_sent(attempt, error, on_disk=self._ctx.store.is_taken)
        else:
            ledger.failed(attempt, error)
