"""Runs one item of a batch: reuses its image, collects what was sent for it, or generates one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
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
from imagegen_pipeline.engine.recovery import LEFT_OPEN, Recovery
from imagegen_pipeline.engine.result_writer import ResultWriter
from imagegen_pipeline.engine.submit_limiter import SubmitLimiter
from imagegen_pipeline.ledger.attempt_queries import ItemHistory
from imagegen_pipeline.ledger.attempts import NewAttempt
from imagegen_pipeline.ledger.leases import Lease
from imagegen_pipeline.providers.base import (
    FindsJobs,
    JobReport,
    ProviderClient,
    Submission,
)
from imagegen_pipeline.storage.pictures import StoredPicture

_log = logging.getLogger(__name__)


class TaskRunner:
    """Brings one item to an outcome; used by one worker thread only."""

    def __init__(
        self,
        context: EngineContext,
        options: BatchOptions,
        task: ImageTask,
        limiter: SubmitLimiter,
        stops: StopSignals,
    ) -> None:
        self._ctx = context
        self._attempts = context.ledger.attempts
        self._writer = ResultWriter(context, task)
        self._session = JobSession(
            lambda: context.provider(task.request.provider), context.clock, stops
        )
        self._recovery = Recovery(context, self._writer, self._session, stops)
        self.has_sent = False
        """Whether the provider has, or may have, accepted a request from this runner."""
        self._sent: Attempt | None = None
        """The attempt whose request was last admitted."""
        self._options = options
        self._task = task
        self._limiter = limiter

    @property
    def lease_names(self) -> list[str]:
        """The leases that the item needs: its own, and that of a request that may be shared."""
        names = [f"item:{self._task.key}"]
        if self._may_share:
            names.append(f"request:{self._task.request.fingerprint}")
        return names

    @property
    def _may_share(self) -> bool:
        return self._task.request.seed_is_fixed and not self._options.regenerate

    def reuse(self) -> Outcome | None:
        """The outcome at no cost: the current image, or the one of this intent."""
        if self._options.regenerate:
            attempt = self._attempts.of_intent(self._task.key, self._options.intent)
        else:
            attempt = self._attempts.current(self._task.key)
            if attempt is not None and not self._is_same_request(attempt):
                return None
        if attempt is None or not self._ctx.extract_picture(attempt):
            return None
        publish = self._task.publish
        if publish and not self._ctx.store.absolute(publish).exists():
            self._ctx.store.publish(StoredPicture.of(attempt), publish)
        return self._outcome(Status.REUSED, attempt, cost=0.0)

    def _is_same_request(self, attempt: Attempt) -> bool:
        if self._task.own is not None:
            return attempt.request == self._task.request.as_dict()
        return attempt.fingerprint == self._task.item_fingerprint

    def history(self) -> ItemHistory:
        """What the ledger knows of the item and, where it may be shared, of its request."""
        shared = self._task.request.fingerprint if self._may_share else None
        return self._attempts.history(self._task.key, shared)

    def run(self, lease: Lease, history: ItemHistory) -> Outcome:
        """The item's outcome. ``lease`` is on ``lease_names``; ``history`` was read under it."""
        with self._errors_noted():
            if history.is_untried:
                return self._share(history) or self._generate(lease, self._first_seed())
            collected = self._collect_open(lease)
            reused = self.reuse()
            if reused is not None:
                by_id = {attempt.id: attempt for attempt in collected}
                attempt = by_id.get(reused.attempt.id) if reused.attempt else None
                return reused if attempt is None else self._made_or_shared(attempt)
            outcome = self._current_again(collected) or self._held() or self._share(history)
            if outcome is not None:
                return outcome
            seed, doubled = self._seed()
            return self._generate(lease, seed, doubled=doubled)

    def _current_again(self, collected: Sequence[Attempt]) -> Outcome | None:
        """An image collected after a newer one was made, and that the task asks for now."""
        for attempt in collected:
            if self._options.regenerate or not self._is_same_request(attempt):
                continue
            if self._task.publish:
                self._ctx.store.publish(StoredPicture.of(attempt), self._task.publish)
            self._ctx.ledger.reviews.make_current(attempt.id)
            return self._made_or_shared(attempt)
        return None

    def collect(self, lease: Lease) -> Outcome:
        """Collect what was sent for this item and is ready now; sends nothing."""
        with self._errors_noted():
            collected = self._collect_open(lease)
        if collected:
            return self._made_or_shared(collected[-1])
        held = self._held()
        if held is not None:
            return held
        last = self._last()
        if last is None:
            return Outcome(self._task.key, Status.SKIPPED, error="Nothing was sent for it.")
        if last.state is State.STORED:  # another process has collected it since
            return self._outcome(Status.REUSED, last, cost=0.0)
        return _ended_without_image(Status.FAILED, last)

    @contextmanager
    def _errors_noted(self) -> Iterator[None]:
        """Record on the item's open attempts why they could not be continued."""
        try:
            yield
        except (LedgerError, StoppedError):
            raise
        except ImagegenError as error:
            with contextlib.suppress(LedgerError):
                self._attempts.note(self._task.key, error)
            raise

    def _collect_open(self, lease: Lease) -> list[Attempt]:
        """The images of attempts that another process left open."""
        collected = []
        for attempt in self._attempts.open(self._task.key):
            try:
                collected.append(self._recovery.recover(attempt, seized=lease.seized))
            except ImagegenError as error:
                # A regenerate does not wait for the attempt of another intent.
                if not self._options.regenerate or attempt.intent == self._options.intent:
                    raise
                _log.warning("%s: attempt %s is left: %s", self._task.key, attempt.id, error)
        return [attempt for attempt in collected if attempt is not None]

    @property
    def _intent(self) -> str | None:
        """The intent whose attempts count: a regenerate's own, else any (None)."""
        return self._options.intent if self._options.regenerate else None

    def _last(self) -> Attempt | None:
        """The newest attempt at the same request."""
        key, fingerprint = self._task.key, self._task.item_fingerprint
        return self._attempts.last(key, fingerprint, intent=self._intent)

    def _hold(self, attempt: Attempt, reason: str) -> Attempt:
        error = f"{attempt.error or ''} {reason}".strip()
        return self._attempts.held(attempt, error=error, remedy=decision_remedy(attempt.item_key))

    def _held(self) -> Outcome | None:
        """The outcome of an unknown attempt that may not be sent again without a decision."""
        key, fingerprint = self._task.key, self._task.item_fingerprint
        last = self._attempts.last_that_left(key, fingerprint, intent=self._intent)
        if last is None:
            return None
        if last.state is State.UNKNOWN:
            reason = hold_reason(self._ctx, last)
            if reason is not None:
                last = self._hold(last, reason)
        return _ended_without_image(Status.HELD, last) if last.state is State.HELD else None

    def _share(self, history: ItemHistory) -> Outcome | None:
        """The image that an identical request brought before, for any item, at no cost."""
        for other in history.identical_stored:
            if not self._ctx.extract_picture(other):
                continue
            attempt = self._attempts.plan(
                self._new_attempt(self._task.request.seed),
                on_disk=self._ctx.store.is_taken,
                shared_from=other.id,
            )
            try:
                return self._made_or_shared(self._writer.share(attempt, other))
            except (StoreError, NotAPictureError) as error:
                self._attempts.failed(attempt, error)
                if self._ctx.has_picture(other):
                    raise  # the error is not that the other's file was removed meanwhile
        return None

    def _generate(self, lease: Lease, seed: int, *, doubled: bool = False) -> Outcome:
        """Buy the image; ``doubled`` if it may have been billed already."""
        while True:
            self._sent = None
            new = self._new_attempt(seed, doubled=doubled)
            try:
                with self._limiter.slot():
                    attempt, report = self._request(new, lease)
                stored = self._writer.complete(attempt, report, self._session, release=lease)
                return self._outcome(Status.MADE, stored)
            except OutcomeUnknownError as error:
                held = self._held_after(error)
                doubled = True
            except ImagegenError as error:
                held = self._record_failure(error)
                if held is None:
                    raise
            if held is not None:
                return held

    def _request(self, new: NewAttempt, lease: Lease) -> tuple[Attempt, JobReport]:
        """Send the request and wait until the provider has the image."""
        provider = self._ctx.provider(new.provider)
        attempt, submission = self._submit(new, lease)
        report = submission.report
        if submission.job_id is not None:
            attempt = self._writer.submitted(attempt, submission.job_id, provider.endpoint)
            report = self._session.await_job(
                submission.job_id, provider.endpoint, self._ctx.deadlines
            )
        if report is None:
            raise BadAnswerError(f"{provider.name} named no job and sent no picture.")
        return attempt, report

    def _submit(self, new: NewAttempt, lease: Lease) -> tuple[Attempt, Submission]:
        """Send the request, again after refusals that bill nothing."""
        provider = self._ctx.provider(new.provider)
        pending: NewAttempt | Attempt = new
        tries = 0
        while True:
            tries += 1
            self._sent = None
            try:
                with self._limiter.admitted(pending, lease) as attempt:
                    self._sent = attempt
                    submission = _send(provider, attempt)
            except NOT_ACCEPTED as refusal:
                pending = self._sent = self._attempts.not_accepted(attempt)
                self._session.wait_to_resubmit(refusal, tries)
            except (OutcomeUnknownError, BadAnswerError):
                self.has_sent = True
                raise
            else:
                self.has_sent = True
                return attempt, submission

    def _held_after(self, error: OutcomeUnknownError) -> Outcome | None:
        """Record that no answer came; the outcome if the request may not be sent again."""
        if self._sent is not None:
            self._attempts.unknown(self._sent, error)
        held = self._held()
        return None if held is None else replace(held, cost=None)

    def _record_failure(self, error: ImagegenError) -> Outcome | None:
        """Record why the attempt brought no image; the outcome if it is held now."""
        attempt = self._sent
        if attempt is None or isinstance(error, LedgerError):
            return None
        if isinstance(error, (*LEFT_OPEN, SpendingError, ProviderDownError)):
            if attempt.state is State.PLANNED:
                self._attempts.failed(attempt, error)
        elif isinstance(error, JobExpiredError):
            self._attempts.expired(attempt, error)
        elif isinstance(error, BadAnswerError):
            return self._hold_unreadable(attempt, error)
        else:
            self._writer.fail(attempt, error)
        return None

    def _hold_unreadable(self, attempt: Attempt, error: BadAnswerError) -> Outcome | None:
        """Hold an attempt whose answer cannot be read: an image may be billed, and the same
        request would get the same answer.
        """
        quarantined = self._writer.quarantined(attempt, error)
        (now,) = self._attempts.get([attempt.id])
        # A redirected request was not carried out, so nothing is billed.
        if now.state is not State.SUBMITTING or isinstance(error, RedirectedError):
            self._writer.fail(attempt, error)
            return None
        reason = f"{quarantined} The same request would get the same answer.".strip()
        self._hold(self._attempts.unknown(attempt, error), reason)
        held = self._held()
        return None if held is None else replace(held, cost=None)

    def _seed(self) -> tuple[int, bool]:
        """The seed to send, and whether an image may have been billed already.

        A drawn seed is kept by every retry of its attempt.
        """
        last = self._last()
        retried = last if last is not None and last.state is not State.STORED else None
        key, fingerprint = self._task.key, self._task.item_fingerprint
        doubled = self._attempts.may_be_billed(key, fingerprint, intent=self._intent)
        if retried is None or not self._draws_seed:
            return self._first_seed(), doubled
        return retried.seed, doubled

    @property
    def _draws_seed(self) -> bool:
        """Whether each new image gets a random seed."""
        new_seed = self._options.regenerate and not self._options.seed_given
        return new_seed or not self._task.request.seed_is_fixed

    def _first_seed(self) -> int:
        return draw_seed() if self._draws_seed else self._task.request.seed

    def _new_attempt(self, seed: int, *, doubled: bool = False) -> NewAttempt:
        task = self._task
        return NewAttempt(
            item_key=task.key,
            kind=task.kind,
            request=task.request,
            asked_fingerprint=task.item_fingerprint,
            seed=seed,
            intent=self._options.intent,
            regenerate=self._options.regenerate,
            folder=task.folder,
            file_stem=f"{task.file_prefix}_{file_time(self._ctx.clock.now())}",
            simulated=self._ctx.simulated,
            possible_double_charge=doubled,
        )

    def _made_or_shared(self, attempt: Attempt) -> Outcome:
        if attempt.shared_from is None:
            return self._outcome(Status.MADE, attempt)
        return self._outcome(Status.SHARED, attempt, cost=0.0)

    def _outcome(self, status: Status, attempt: Attempt, *, cost: float | None = None) -> Outcome:
        path = self._task.publish or attempt.path or ""
        free = status in (Status.REUSED, Status.SHARED)
        return Outcome(
            self._task.key,
            status,
            attempt=attempt,
            path=str(self._ctx.store.absolute(path)),
            cost=cost if free else attempt.cost,
            warnings=attempt.warnings,
        )


def _ended_without_image(status: Status, attempt: Attempt) -> Outcome:
    return Outcome(
        attempt.item_key,
        status,
        attempt=attempt,
        error_kind=attempt.error_kind,
        error=attempt.error,
        remedy=attempt.remedy,
    )


def _send(provider: ProviderClient, attempt: Attempt) -> Submission:
    """Submit the attempt, so that its job can be found without an answer if that is possible."""
    if isinstance(provider, FindsJobs):
        return provider.submit_with_reference(attempt.sent_request, attempt.reference)
    return provider.submit(attempt.sent_request)
