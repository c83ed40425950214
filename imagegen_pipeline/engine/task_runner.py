"""One item's life: reused if it can be, collected if it was sent, made if it must be."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from imagegen_pipeline.domain.errors import (
    BadAnswerError,
    ImagegenError,
    JobExpiredError,
    LedgerError,
    NotAPictureError,
    OutcomeUnknownError,
    ProviderDownError,
    RedirectedError,
    SpendingError,
    StoppedError,
    StoreError,
)
from imagegen_pipeline.domain.parameters import file_time
from imagegen_pipeline.domain.requests import Attempt, Outcome, State, Status, draw_seed
from imagegen_pipeline.engine.context import BatchOptions, EngineContext, ImageTask, StopSignals
from imagegen_pipeline.engine.hold_policy import decision_remedy, hold_reason
from imagegen_pipeline.engine.job_session import NOT_ACCEPTED, JobSession
from imagegen_pipeline.engine.pending_attempt import PendingAttempt
from imagegen_pipeline.engine.recovery import LEFT_OPEN, Recovery
from imagegen_pipeline.engine.result_writer import ResultWriter
from imagegen_pipeline.engine.submit_limiter import SubmitLimiter
from imagegen_pipeline.ledger.attempts import NewAttempt
from imagegen_pipeline.ledger.leases import Lease
from imagegen_pipeline.providers.base import Submission
from imagegen_pipeline.storage.pictures import StoredPicture

_log = logging.getLogger(__name__)


class TaskRunner:
    """Brings one item to an outcome; its worker thread is the only one at work on it."""

    def __init__(
        self,
        context: EngineContext,
        order: BatchOptions,
        wanted: ImageTask,
        limiter: SubmitLimiter,
        stops: StopSignals,
    ) -> None:
        self._ctx = context
        self._attempts = context.ledger.attempts
        self._writer = ResultWriter(context, wanted)
        self._session = JobSession(
            lambda: context.provider(wanted.request.provider), context.clock, stops
        )
        self._recovery = Recovery(context, self._writer, self._session, stops)
        self.has_sent = False
        """Whether the service has, or may have, taken a request on from here."""
        self._order = order
        self._wanted = wanted
        self._limiter = limiter
        self._stops = stops

    @property
    def lease_names(self) -> list[str]:
        """What must be nobody else's while this item is made: itself, and its shared request."""
        names = [f"item:{self._wanted.key}"]
        if self._may_share:
            names.append(f"request:{self._wanted.request.fingerprint}")
        return names

    @property
    def _may_share(self) -> bool:
        return self._wanted.request.seed_is_fixed and not self._order.regenerate

    def reuse(self) -> Outcome | None:
        """The outcome at no cost: the current picture, or this intent's own."""
        if self._order.regenerate:
            attempt = self._attempts.of_intent(self._wanted.key, self._order.intent)
        else:
            attempt = self._attempts.current(self._wanted.key)
            if attempt is not None and not self._is_same_request(attempt):
                return None
        if attempt is None or not self._ctx.extract_picture(attempt):
            return None
        publish = self._wanted.publish
        if publish and not self._ctx.store.absolute(publish).exists():
            self._ctx.store.publish(StoredPicture.of(attempt), publish)
        return self._outcome(Status.REUSED, attempt, cost=0.0)

    def _is_same_request(self, attempt: Attempt) -> bool:
        if self._wanted.own is not None:
            return attempt.request == self._wanted.request.as_dict()
        return attempt.fingerprint == self._wanted.item_fingerprint

    def settle(self, lease: Lease) -> Outcome:
        """The outcome, whatever it takes. ``lease`` is on this item's ``lease_names``."""
        with self._noting():
            return self._settle(lease)

    def _settle(self, lease: Lease) -> Outcome:
        if self._attempts.is_untried(self._wanted.key):  # of most items of a new batch
            return self._share() or self._make(lease, self._first_seed())
        collected = self._collected(lease)
        reused = self.reuse()
        if reused is not None:
            made = {attempt.id: attempt for attempt in collected}
            attempt = made.get(reused.attempt.id) if reused.attempt else None
            return reused if attempt is None else self._made_or_shared(attempt)
        late = self._asked_for_again(collected)
        if late is not None:
            return late
        held = self._held()
        if held is not None:
            return held
        shared = self._share()
        if shared is not None:
            return shared
        seed, doubled = self._seed()
        return self._make(lease, seed, doubled=doubled)

    def _asked_for_again(self, collected: Sequence[Attempt]) -> Outcome | None:
        """A picture that came home after a newer one was made, and is what is wanted now."""
        for attempt in collected:
            if self._order.regenerate or not self._is_same_request(attempt):
                continue
            if self._wanted.publish:
                self._ctx.store.publish(StoredPicture.of(attempt), self._wanted.publish)
            self._ctx.ledger.reviews.make_current(attempt.id)
            return self._made_or_shared(attempt)
        return None

    def identical_in_flight(self) -> list[Attempt]:
        """What was sent for other items and may bring the very picture that is wanted here."""
        if not self._may_share:
            return []
        return self._attempts.unfinished_identical(
            self._wanted.key, self._wanted.request.fingerprint
        )

    def collect(self, lease: Lease) -> Outcome:
        """What was sent for this item and is ready now; nothing new is sent."""
        with self._noting():
            collected = self._collected(lease)
        if collected:
            return self._made_or_shared(collected[-1])
        held = self._held()
        if held is not None:
            return held
        last = self._last()
        if last is None:
            return Outcome(self._wanted.key, Status.SKIPPED, error="Nothing was sent for it.")
        if last.state is State.STORED:  # another process has brought it home meanwhile
            return self._outcome(Status.REUSED, last, cost=0.0)
        return Outcome(
            self._wanted.key,
            Status.FAILED,
            attempt=last,
            error_kind=last.error_kind,
            error=last.error,
            remedy=last.remedy,
        )

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """What stays open says in the table of results, too, why it could not go on."""
        try:
            yield
        except (LedgerError, StoppedError):
            raise
        except ImagegenError as error:
            with contextlib.suppress(LedgerError):
                self._attempts.note(self._wanted.key, error)
            raise

    def _collected(self, lease: Lease) -> list[Attempt]:
        """The pictures of attempts that another process left open."""
        found = []
        for attempt in self._attempts.open(self._wanted.key):
            try:
                found.append(self._recovery.recover(attempt, seized=lease.seized))
            except ImagegenError as error:
                # A picture that is asked for anew does not wait for an old one to come home.
                if not self._order.regenerate or attempt.intent == self._order.intent:
                    raise
                _log.warning("%s: attempt %s is left: %s", self._wanted.key, attempt.id, error)
        return [attempt for attempt in found if attempt is not None]

    @property
    def _intent(self) -> str | None:
        """Whose attempts count: for a regenerate those of the same intent, else all."""
        return self._order.intent if self._order.regenerate else None

    def _last(self) -> Attempt | None:
        """The newest attempt at the same thing."""
        key, fingerprint = self._wanted.key, self._wanted.item_fingerprint
        return self._attempts.last(key, fingerprint, intent=self._intent)

    def _last_that_left(self) -> Attempt | None:
        key, fingerprint = self._wanted.key, self._wanted.item_fingerprint
        return self._attempts.last_that_left(key, fingerprint, intent=self._intent)

    def _hold(self, attempt: Attempt, why: str) -> Attempt:
        error = f"{attempt.error or ''} {why}".strip()
        return self._attempts.held(attempt, error=error, remedy=decision_remedy(attempt.item_key))

    def _held(self) -> Outcome | None:
        """An unknown outcome that may not be bought again without a person's word."""
        last = self._last_that_left()
        if last is None:
            return None
        if last.state is State.UNKNOWN:
            why = hold_reason(self._ctx, last)
            if why is not None:
                last = self._hold(last, why)
        if last.state is not State.HELD:
            return None
        return Outcome(
            self._wanted.key,
            Status.HELD,
            attempt=last,
            error_kind=last.error_kind,
            error=last.error,
            remedy=last.remedy,
        )

    def _share(self) -> Outcome | None:
        """The bytes that an identical request got before, whichever item's, at no cost."""
        if not self._may_share:
            return None
        for other in self._attempts.same_picture(self._wanted.request.fingerprint):
            if not self._ctx.extract_picture(other):
                continue
            plan = self._plan(self._wanted.request.seed)
            attempt = self._attempts.plan(
                plan, on_disk=self._ctx.store.is_taken, shared_from=other.id
            )
            try:
                return self._made_or_shared(self._writer.share(attempt, other))
            except (StoreError, NotAPictureError) as error:
                self._attempts.failed(attempt, error)
                if self._ctx.has_picture(other):
                    raise  # the trouble is not that the other's file went away meanwhile
        return None

    def _make(self, lease: Lease, seed: int, *, doubled: bool = False) -> Outcome:
        with self._limiter.place() as leave:
            return self._make_here(lease, leave, seed, doubled=doubled)

    def _make_here(
        self, lease: Lease, leave: Callable[[], None], seed: int, *, doubled: bool
    ) -> Outcome:
        """Buy the picture, in a place of the batch's at the service that is left by ``leave``."""
        while True:
            draft = PendingAttempt(
                self._attempts, self._plan(seed, doubled=doubled), self._ctx.store.is_taken
            )
            try:
                return self._outcome(Status.MADE, self._buy(draft, lease, leave))
            except OutcomeUnknownError as error:
                self._attempts.unknown(draft.written(), error)
                held = self._held()
                if held is not None:
                    return replace(held, cost=None)
                doubled = True
            except LedgerError:
                raise
            except (*LEFT_OPEN, SpendingError, ProviderDownError) as error:
                self._close_if_unsent(draft.written(), error)
                raise
            except JobExpiredError as error:
                self._attempts.expired(draft.written(), error)
                raise
            except BadAnswerError as error:
                held = self._hold_unreadable(draft.written(), error)
                if held is not None:
                    return held
                raise
            except ImagegenError as error:
                self._writer.fail(draft.written(), error)
                raise

    def _hold_unreadable(self, attempt: Attempt, error: BadAnswerError) -> Outcome | None:
        """An answer to a submit that cannot be read: a picture may be billed, and the same
        request would get the same answer, so it is not sent again by itself.
        """
        kept = self._writer.quarantined(attempt, error)
        (now,) = self._attempts.get([attempt.id])
        # A redirected request was not carried out, so nothing is billed.
        if now.state is not State.SUBMITTING or isinstance(error, RedirectedError):
            self._writer.fail(attempt, error)
            return None
        why = f"{kept} The same request would get the same answer.".strip()
        self._hold(self._attempts.unknown(attempt, error), why)
        held = self._held()
        return None if held is None else replace(held, cost=None)

    def _seed(self) -> tuple[int, bool]:
        """The seed to send, and whether a picture may have been billed already.

        A drawn seed is kept by every retry of its attempt.
        """
        last = self._last()
        retried = last if last is not None and last.state is not State.STORED else None
        key, fingerprint = self._wanted.key, self._wanted.item_fingerprint
        doubled = self._attempts.may_be_billed(key, fingerprint, intent=self._intent)
        if retried is None or not self._draws:
            return self._first_seed(), doubled
        return retried.seed, doubled

    @property
    def _draws(self) -> bool:
        """Whether the seed is drawn for each picture that is made."""
        asked_again = self._order.regenerate and not self._order.seed_given
        return asked_again or not self._wanted.request.seed_is_fixed

    def _first_seed(self) -> int:
        return draw_seed() if self._draws else self._wanted.request.seed

    def _plan(self, seed: int, *, doubled: bool = False) -> NewAttempt:
        wanted = self._wanted
        return NewAttempt(
            item_key=wanted.key,
            kind=wanted.kind,
            request=wanted.request,
            asked_fingerprint=wanted.item_fingerprint,
            seed=seed,
            intent=self._order.intent,
            regenerate=self._order.regenerate,
            folder=wanted.folder,
            file_stem=f"{wanted.file_prefix}_{file_time(self._ctx.clock.now())}",
            simulated=self._ctx.simulated,
            possible_double_charge=doubled,
        )

    def _buy(self, draft: PendingAttempt, lease: Lease, leave: Callable[[], None]) -> Attempt:
        provider = self._ctx.provider(self._wanted.request.provider)
        session, request = self._session, draft.plan.sent_request

        def send() -> Submission:
            try:
                submission = provider.submit(request)
            except NOT_ACCEPTED:
                self._attempts.not_accepted(draft.written())
                raise
            except (OutcomeUnknownError, BadAnswerError):
                self.has_sent = True
                raise
            self.has_sent = True
            return submission

        submission = session.submit(lambda: self._limiter.submit(draft, lease, send))
        attempt, report = draft.written(), submission.report
        if submission.job_id is not None:
            attempt = self._writer.submitted(attempt, submission.job_id, provider.endpoint)
            report = session.await_job(submission.job_id, provider.endpoint, self._ctx.deadlines)
        leave()
        if report is None:
            raise BadAnswerError(f"{provider.name} named no job and sent no picture.")
        return self._writer.complete(attempt, report, session)

    def _close_if_unsent(self, attempt: Attempt, error: ImagegenError) -> None:
        (now,) = self._attempts.get([attempt.id])
        if now.state is State.PLANNED:
            self._attempts.failed(attempt, error)

    def _made_or_shared(self, attempt: Attempt) -> Outcome:
        if attempt.shared_from is None:
            return self._outcome(Status.MADE, attempt)
        return self._outcome(Status.SHARED, attempt, cost=0.0)

    def _outcome(self, status: Status, attempt: Attempt, *, cost: float | None = None) -> Outcome:
        path = self._wanted.publish or attempt.path or ""
        free = status in (Status.REUSED, Status.SHARED)
        return Outcome(
            self._wanted.key,
            status,
            attempt=attempt,
            path=str(self._ctx.store.absolute(path)),
            cost=cost if free else attempt.cost,
            warnings=attempt.warnings,
        )
