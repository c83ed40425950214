"""One item's life: reused if it can be, collected if it was sent, made if it must be."""

from __future__ import annotations

import threading

from imagegen_pipeline.domain.errors import (
    BadAnswerError,
    DownloadError,
    ImagegenError,
    JobExpiredError,
    JobFailedError,
    LedgerError,
    NotAPictureError,
    OutcomeUnknownError,
    StoreError,
)
from imagegen_pipeline.domain.generation import (
    Attempt,
    Outcome,
    State,
    Status,
    draw_seed,
)
from imagegen_pipeline.domain.parameters import file_time
from imagegen_pipeline.engine.sending import (
    NOT_ACCEPTED,
    SUBMIT_TRIES,
    Conversation,
    StoppedError,
)
from imagegen_pipeline.engine.workshop import Order, Pacer, Wanted, Workshop
from imagegen_pipeline.ledger.attempts import Plan
from imagegen_pipeline.services.base import JobReport, RemoteImage
from imagegen_pipeline.store import StoredPicture

_LEFT_OPEN = (DownloadError, StoppedError, StoreError, LedgerError)
"""After these the attempt stays as it is in the ledger: a later run goes on with it."""


class ItemMaker:
    """Brings one item to an outcome; its worker thread is the only one at work on it."""

    def __init__(
        self, workshop: Workshop, order: Order, wanted: Wanted, pacer: Pacer, stop: threading.Event
    ) -> None:
        self._shop = workshop
        self._book = workshop.ledger.attempts
        self._order = order
        self._wanted = wanted
        self._pacer = pacer
        self._stop = stop

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
        if attempt is None or attempt.path is None or attempt.digest is None:
            return None
        if not self._shop.store.matches(attempt.path, attempt.digest):
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
            return reused if attempt is None else self._outcome(Status.MADE, attempt)
        held = self._held()
        if held is not None:
            return held
        return self._share() or self._make()

    def _recover(self, attempt: Attempt) -> Attempt | None:
        """Bring an attempt that another process left open to its end; None without a picture."""
        try:
            if attempt.state is State.PLANNED and attempt.shared_from is None:
                raise StoppedError("The process ended before anything was sent: nothing is billed.")
            if attempt.state is State.SUBMITTING:
                error = OutcomeUnknownError("The process ended before the service's answer came.")
                self._book.unknown(attempt, error)
                return None
            return self._finish(attempt)
        except _LEFT_OPEN as error:
            if attempt.state is State.PLANNED:
                self._book.failed(attempt, error)
                return None
            raise
        except JobExpiredError as error:
            self._book.expired(attempt, error)
        except ImagegenError as error:
            self._fail(attempt, error)
        return None

    def _finish(self, attempt: Attempt) -> Attempt:
        """From wherever a sent attempt stands to its picture on disk."""
        adopted = self._shop.store.adopt(attempt.folder, attempt.file_stem)
        if adopted is not None and attempt.state in (State.COMPLETED, State.PLANNED):
            return self._record(attempt, adopted, [])
        if attempt.state is State.PLANNED:
            raise StoppedError("The process ended before the shared picture was written.")
        if attempt.state is State.COMPLETED and attempt.result_url:
            return self._store(attempt, (RemoteImage(url=attempt.result_url),), [])
        if attempt.job_id is None:
            raise JobExpiredError(
                "The picture came inside the service's answer, and the process ended before it "
                "was on disk: it was billed and is lost.",
                job_id="",
            )
        report = self._conversation().await_job(
            attempt.job_id, attempt.endpoint or "", self._shop.deadlines
        )
        return self._complete(attempt, report)

    def _held(self) -> Outcome | None:
        """An unknown outcome that may not be bought again without a person's word."""
        last = self._book.last(self._wanted.key)
        if last is None or last.fingerprint != self._wanted.item_fingerprint:
            return None
        if self._order.regenerate and last.intent != self._order.intent:
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
            if not other.path or not other.digest:
                continue
            if not self._shop.store.matches(other.path, other.digest):
                continue
            attempt = self._plan(self._wanted.request.seed, shared_from=other.id)
            stored = self._shop.store.share(
                other.path, attempt.folder, attempt.file_stem, self._about(attempt)
            )
            attempt = self._record(attempt, stored, [], cost=0.0)
            return self._outcome(Status.SHARED, attempt, cost=0.0)
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
                    return held
                doubled = True
            except LedgerError:
                raise
            except _LEFT_OPEN as error:
                self._close_if_unsent(attempt, error)
                raise
            except JobExpiredError as error:
                self._book.expired(attempt, error)
                raise
            except ImagegenError as error:
                self._fail(attempt, error)
                raise

    def _seed(self) -> tuple[int, bool]:
        """The seed to send, and whether a picture may have been billed already.

        A drawn seed is kept by every retry of its attempt.
        """
        request, last = self._wanted.request, self._book.last(self._wanted.key)
        same = last is not None and last.fingerprint == self._wanted.item_fingerprint
        if self._order.regenerate:
            same = same and last is not None and last.intent == self._order.intent
        retried = last if same and last is not None and last.state is not State.STORED else None
        doubled = retried is not None and retried.state is State.UNKNOWN
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
        return Conversation(service, self._shop.clock, self._stop)

    def _buy(self, attempt: Attempt) -> Attempt:
        service = self._shop.service(self._wanted.request.service)
        talk = self._conversation()
        request = attempt.sent_request

        def submit() -> tuple[str | None, JobReport | None]:
            self._pacer.wait(self._stop)
            if self._stop.is_set():
                raise StoppedError("The batch was stopped before this item was sent.")
            self._book.submitting(attempt)
            try:
                submission = service.submit(request)
            except NOT_ACCEPTED:
                self._book.not_accepted(attempt)
                raise
            return submission.job_id, submission.report

        job_id, report = talk.retry(submit, NOT_ACCEPTED, SUBMIT_TRIES)
        if job_id is not None:
            attempt = self._book.submitted(attempt, job_id=job_id, endpoint=service.endpoint)
            report = talk.await_job(job_id, service.endpoint, self._shop.deadlines)
        if report is None:
            raise BadAnswerError(f"{service.name} named no job and sent no picture.")
        return self._complete(attempt, report)

    def _complete(self, attempt: Attempt, report: JobReport) -> Attempt:
        if attempt.state is not State.COMPLETED:
            attempt = self._book.completed(
                attempt,
                result_url=report.images[0].url,
                cost=self._shop.prices.cost(attempt.sent_request, report.run_seconds),
                queue_seconds=report.queue_seconds,
                run_seconds=report.run_seconds,
            )
        warnings = list(report.warnings)
        if report.seed is not None and report.seed != attempt.seed:
            warnings.append(f"The service says that it used seed {report.seed}.")
        return self._store(attempt, report.images, warnings)

    def _store(
        self, attempt: Attempt, images: tuple[RemoteImage, ...], warnings: list[str]
    ) -> Attempt:
        talk, downloader = self._conversation(), self._shop.downloader
        first, *more = [talk.fetch(image, downloader) for image in images]
        stored = self._keep(attempt, first, attempt.file_stem)
        for number, data in enumerate(more, start=2):
            # They were paid for: kept beside the first, which alone is the item's picture.
            extra = self._keep(attempt, data, f"{attempt.file_stem}.{number}")
            warnings.append(f"The service sent one more picture, kept as {extra.path}.")
        return self._record(attempt, stored, warnings)

    def _keep(self, attempt: Attempt, data: bytes, stem: str) -> StoredPicture:
        store = self._shop.store
        try:
            return store.keep(data, attempt.folder, stem, self._about(attempt))
        except NotAPictureError as error:
            kept = store.quarantine(data, stem, error.sentence)
            raise NotAPictureError(
                str(error), remedy=f"The bytes are kept as {kept}; run again to make it anew."
            ) from error

    def _record(
        self,
        attempt: Attempt,
        stored: StoredPicture,
        warnings: list[str],
        *,
        cost: float | None = None,
    ) -> Attempt:
        asked = self._wanted.request
        if (stored.width, stored.height) != (asked.width, asked.height):
            warnings.append(
                f"The picture has {stored.width}x{stored.height} pixels, not {asked.size}."
            )
        if self._wanted.publish:
            warnings += self._shop.store.publish(stored, self._wanted.publish)
        facts = {} if cost is None else {"cost": cost}
        return self._book.stored(
            attempt,
            path=stored.path,
            digest=stored.digest,
            width=stored.width,
            height=stored.height,
            bytes=stored.bytes,
            warnings=warnings,
            **facts,
        )

    def _about(self, attempt: Attempt) -> dict[str, object]:
        return {
            "key": attempt.item_key,
            **self._wanted.about,
            "request": attempt.sent_request.as_dict(),
            "job_id": attempt.job_id,
            "simulated": attempt.simulated,
        }

    def _fail(self, attempt: Attempt, error: ImagegenError) -> None:
        """Write the failure down, unless the job may still be collected."""
        (now,) = self._book.get([attempt.id])
        if now.state is State.SUBMITTED and not isinstance(error, JobFailedError):
            return  # only the job itself can say that it failed: a refused poll does not
        self._book.failed(attempt, error)

    def _close_if_unsent(self, attempt: Attempt, error: ImagegenError) -> None:
        (now,) = self._book.get([attempt.id])
        if now.state is State.PLANNED:
            self._book.failed(attempt, error)

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


def _as_stored(attempt: Attempt) -> StoredPicture:
    return StoredPicture(
        path=attempt.path or "",
        digest=attempt.digest or "",
        width=attempt.width or 0,
        height=attempt.height or 0,
        bytes=attempt.bytes or 0,
    )
