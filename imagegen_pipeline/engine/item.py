"""One item's life: reused if it can be, collected if it was sent, made if it must be."""

from __future__ import annotations

import logging
from dataclasses import replace

from imagegen_pipeline.domain.errors import (
    AccountRefusedError,
    BadAnswerError,
    DownloadError,
    ImagegenError,
    JobElsewhereError,
    JobExpiredError,
    JobFailedError,
    LedgerError,
    NotAPictureError,
    OutcomeUnknownError,
    ServiceError,
    StoppedError,
    StoreError,
    UnreachableError,
    UrlRefusedError,
)
from imagegen_pipeline.domain.generation import (
    Attempt,
    Outcome,
    State,
    Status,
    draw_seed,
)
from imagegen_pipeline.domain.parameters import file_time
from imagegen_pipeline.engine.keeping import Keeper
from imagegen_pipeline.engine.sending import (
    NOT_ACCEPTED,
    Conversation,
)
from imagegen_pipeline.engine.workshop import Order, Pacer, Stops, Wanted, Workshop
from imagegen_pipeline.ledger.attempts import Plan
from imagegen_pipeline.services.base import JobReport, RemoteImage
from imagegen_pipeline.store import StoredPicture

_log = logging.getLogger(__name__)
RESULT_URL_SECONDS = 3600
"""How long a result's URL is tried again: about as long as the services keep it alive."""
JOB_SECONDS = 24 * 3600
"""How long a job at an endpoint that is not ours any more is waited for."""
_LEFT_OPEN = (DownloadError, UrlRefusedError, StoppedError, StoreError, LedgerError)
"""After these the attempt stays as it is in the ledger: a later run goes on with it."""


class ItemMaker:
    """Brings one item to an outcome; its worker thread is the only one at work on it."""

    def __init__(
        self, workshop: Workshop, order: Order, wanted: Wanted, pacer: Pacer, stops: Stops
    ) -> None:
        self._shop = workshop
        self._book = workshop.ledger.attempts
        self._keeper = Keeper(workshop, wanted)
        self._order = order
        self._wanted = wanted
        self._pacer = pacer
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
            attempt = self._book.of_intent(self._wanted.key, self._order.intent)
        else:
            attempt = self._book.current(self._wanted.key)
            if attempt is not None and not self._is_same_request(attempt):
                return None
        if attempt is None or not self._shop.has_picture(attempt):
            return None
        publish = self._wanted.publish
        if publish and not self._shop.store.absolute(publish).exists():
            self._shop.store.publish(_as_stored(attempt), publish)
        return self._outcome(Status.REUSED, attempt, cost=0.0)

    def _is_same_request(self, attempt: Attempt) -> bool:
        if self._wanted.own is not None:
            return attempt.request == self._wanted.request.as_dict()
        return attempt.fingerprint == self._wanted.item_fingerprint

    def settle(self) -> Outcome:
        """The outcome, whatever it takes. Called with the leases in hand."""
        collected = [self._recover(attempt) for attempt in self._book.open(self._wanted.key)]
        reused = self.reuse()
        if reused is not None:
            made = {attempt.id: attempt for attempt in collected if attempt is not None}
            attempt = made.get(reused.attempt.id) if reused.attempt else None
            return reused if attempt is None else self._made_or_shared(attempt)
        held = self._held()
        if held is not None:
            return held
        return self._share() or self._make()

    def _recover(self, attempt: Attempt) -> Attempt | None:
        """Bring an attempt that another process left open to its end; None without a picture."""
        try:
            if attempt.state is State.PLANNED and attempt.shared_from is None:
                raise StoppedError("The process ended before anything was sent: nothing is billed.")
            return self._finish(attempt)
        except OutcomeUnknownError as error:
            self._book.unknown(attempt, error)
        except _LEFT_OPEN as error:
            if attempt.state is not State.PLANNED:
                raise
            self._book.failed(attempt, error)
        except JobExpiredError as error:
            self._book.expired(attempt, error)
        except ImagegenError as error:
            if not self._fail(attempt, error):
                raise  # it may still be collected: buying it again now would pay twice
        return None

    def _finish(self, attempt: Attempt) -> Attempt:
        """From wherever a sent attempt stands to its picture on disk."""
        adopted = self._shop.store.adopt(attempt.folder, attempt.file_stem)
        if adopted is not None:
            return self._keeper.record(attempt, adopted, [])
        if attempt.state is State.SUBMITTING:
            raise OutcomeUnknownError("The process ended before the service's answer came.")
        if attempt.state is State.PLANNED:
            raise StoppedError("The process ended before the shared picture was written.")
        talk = self._conversation()
        if attempt.state is State.COMPLETED and attempt.result_url:
            image = RemoteImage(url=attempt.result_url)
            try:
                return self._keeper.store(attempt, (image,), talk, [])
            except DownloadError as error:
                is_old = self._shop.clock.now() - attempt.created_at > RESULT_URL_SECONDS
                if not (is_old and error.is_gone):
                    raise
        if attempt.job_id is None:
            raise JobExpiredError(_lost(attempt), job_id="")
        try:
            report = talk.await_job(attempt.job_id, attempt.endpoint or "", self._shop.deadlines)
        except (AccountRefusedError, UnreachableError) as error:
            raise self._of_another_endpoint(attempt, error) from error
        return self._keeper.complete(attempt, report, talk)

    def _of_another_endpoint(
        self, attempt: Attempt, error: AccountRefusedError | UnreachableError
    ) -> ServiceError:
        """What it means that an endpoint does not answer for a job that was sent there.

        One that the settings no longer name must not stop the work of today's: the job is
        given up when no service would have it any more, and until then only its item fails.
        """
        service = self._shop.service(self._wanted.request.service)
        if attempt.endpoint == service.endpoint:
            return error
        job = f"Job {attempt.job_id} was sent to {attempt.endpoint}, which is not set now"
        age = self._shop.clock.now() - attempt.created_at
        if attempt.simulated or age > JOB_SECONDS:
            return JobExpiredError(f"{job}: {error}", job_id=attempt.job_id or "")
        return JobElsewhereError(f"{job}: {error}")

    def _last(self) -> Attempt | None:
        """The newest attempt at the same thing; for a regenerate, of the same intent."""
        intent = self._order.intent if self._order.regenerate else None
        return self._book.last(self._wanted.key, self._wanted.item_fingerprint, intent=intent)

    def _held(self) -> Outcome | None:
        """An unknown outcome that may not be bought again without a person's word."""
        last = self._last()
        if last is None:
            return None
        if last.state is State.UNKNOWN and (
            last.possible_double_charge or self._shop.on_unknown == "hold"
        ):
            last = self._book.held(last)
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
        for other in self._book.same_picture(self._wanted.request.fingerprint):
            if not self._shop.has_picture(other):
                continue
            attempt = self._plan(self._wanted.request.seed, shared_from=other.id)
            try:
                return self._made_or_shared(self._keeper.share(attempt, other))
            except (StoreError, NotAPictureError) as error:
                self._book.failed(attempt, error)
                if self._shop.has_picture(other):
                    raise  # the trouble is not that the other's file went away meanwhile
        return None

    def _make(self) -> Outcome:
        seed, doubled = self._seed()
        while True:
            attempt = self._plan(seed, doubled=doubled)
            try:
                return self._outcome(Status.MADE, self._buy(attempt))
            except OutcomeUnknownError as error:
                self._book.unknown(attempt, error)
                held = self._held()
                if held is not None:
                    return replace(held, cost=None)
                doubled = True
            except LedgerError:
                raise
            except _LEFT_OPEN as error:
                self._close_if_unsent(attempt, error)
                raise
            except JobExpiredError as error:
                self._book.expired(attempt, error)
                raise
            except BadAnswerError as error:
                held = self._hold_unreadable(attempt, error)
                if held is not None:
                    return held
                raise
            except ImagegenError as error:
                self._fail(attempt, error)
                raise

    def _hold_unreadable(self, attempt: Attempt, error: BadAnswerError) -> Outcome | None:
        """An answer to a submit that cannot be read: a picture may be billed, and the same
        request would get the same answer, so it is not sent again by itself.
        """
        (now,) = self._book.get([attempt.id])
        if now.state is not State.SUBMITTING:
            self._fail(attempt, error)
            return None
        self._book.held(self._book.unknown(attempt, OutcomeUnknownError(str(error))))
        held = self._held()
        return None if held is None else replace(held, cost=None)

    def _seed(self) -> tuple[int, bool]:
        """The seed to send, and whether a picture may have been billed already.

        A drawn seed is kept by every retry of its attempt.
        """
        request, last = self._wanted.request, self._last()
        retried = last if last is not None and last.state is not State.STORED else None
        doubled = retried is not None and (
            retried.state is State.UNKNOWN or retried.possible_double_charge
        )
        draws = not request.seed_is_fixed or (self._order.regenerate and not self._order.seed_given)
        if not draws:
            return request.seed, doubled
        return (retried.seed if retried else draw_seed()), doubled

    def _plan(self, seed: int, *, doubled: bool = False, shared_from: int | None = None) -> Attempt:
        wanted = self._wanted
        plan = Plan(
            item_key=wanted.key,
            request=wanted.request,
            asked_fingerprint=wanted.item_fingerprint,
            seed=seed,
            intent=self._order.intent,
            regenerate=self._order.regenerate,
            folder=wanted.folder,
            file_stem=f"{wanted.file_prefix}_{file_time(self._shop.clock.now())}",
            simulated=self._shop.simulated,
            possible_double_charge=doubled,
        )
        return self._book.plan(plan, on_disk=self._shop.store.is_taken, shared_from=shared_from)

    def _conversation(self) -> Conversation:
        service = self._shop.service(self._wanted.request.service)
        return Conversation(service, self._shop.clock, self._stops)

    def _buy(self, attempt: Attempt) -> Attempt:
        service = self._shop.service(self._wanted.request.service)
        talk = self._conversation()
        request = attempt.sent_request

        def submit() -> tuple[str | None, JobReport | None]:
            self._pacer.wait(self._stops.submits)
            if self._stops.submits.is_set():
                raise StoppedError("The batch was stopped before this item was sent.")
            self._book.submitting(attempt)
            try:
                submission = service.submit(request)
            except NOT_ACCEPTED:
                self._book.not_accepted(attempt)
                raise
            return submission.job_id, submission.report

        job_id, report = talk.submit(submit)
        if job_id is not None:
            attempt = self._submitted(attempt, job_id, service.endpoint)
            report = talk.await_job(job_id, service.endpoint, self._shop.deadlines)
        if report is None:
            raise BadAnswerError(f"{service.name} named no job and sent no picture.")
        return self._keeper.complete(attempt, report, talk)

    def _submitted(self, attempt: Attempt, job_id: str, endpoint: str) -> Attempt:
        try:
            return self._book.submitted(attempt, job_id=job_id, endpoint=endpoint)
        except LedgerError:
            # The only other place where the job's name can still be found.
            _log.critical("%s: job %s at %s was sent", attempt.item_key, job_id, endpoint)
            raise

    def _fail(self, attempt: Attempt, error: ImagegenError) -> bool:
        """Write the failure down, unless the job may still be collected; returns whether."""
        (now,) = self._book.get([attempt.id])
        is_refused_poll = isinstance(error, ServiceError) and not isinstance(error, JobFailedError)
        if now.job_id is not None and is_refused_poll:
            return False  # only the job itself can say that it failed
        self._book.failed(attempt, error)
        return True

    def _close_if_unsent(self, attempt: Attempt, error: ImagegenError) -> None:
        (now,) = self._book.get([attempt.id])
        if now.state is State.PLANNED:
            self._book.failed(attempt, error)

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
            path=str(self._shop.store.absolute(path)),
            cost=cost if free else attempt.cost,
            warnings=attempt.warnings,
        )


def _lost(attempt: Attempt) -> str:
    """What to say of a picture that was billed and cannot be had any more."""
    if attempt.result_url:
        return "The picture's URL no longer delivers: it was billed and is lost."
    return (
        "The picture came inside the service's answer, and the process ended before it "
        "was on disk: it was billed and is lost."
    )


def _as_stored(attempt: Attempt) -> StoredPicture:
    return StoredPicture(
        path=attempt.path or "",
        digest=attempt.digest or "",
        width=attempt.width or 0,
        height=attempt.height or 0,
        bytes=attempt.bytes or 0,
    )
