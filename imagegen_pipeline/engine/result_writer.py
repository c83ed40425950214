"""From a service's answer to a picture on disk that the ledger calls stored."""

from __future__ import annotations

import contextlib
import logging

from imagegen_pipeline.domain.errors import (
    AccountRefusedError,
    AttemptMovedError,
    BadAnswerError,
    ImagegenError,
    JobFailedError,
    LedgerError,
    NameTakenError,
    NotAPictureError,
    PictureError,
    RedirectedError,
    RequestRefusedError,
    StoreError,
)
from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.engine.context import EngineContext, ImageTask
from imagegen_pipeline.engine.job_session import JobSession
from imagegen_pipeline.providers.base import JobReport, RemoteImage
from imagegen_pipeline.storage.pictures import StoredPicture

_log = logging.getLogger(__name__)
RESULT_URL_SECONDS = 3600
"""How long a result's URL is tried again: about as long as the services keep it alive."""


class ResultWriter:
    """Brings one item's pictures home: whole on disk first, then in the ledger."""

    def __init__(self, context: EngineContext, wanted: ImageTask) -> None:
        self._ctx = context
        self._attempts = context.ledger.attempts
        self._wanted = wanted

    def submitted(self, attempt: Attempt, job_id: str, endpoint: str) -> Attempt:
        """Write down the job that the service named, beside the pictures if it must be."""
        try:
            return self._attempts.submitted(attempt, job_id=job_id, endpoint=endpoint)
        except LedgerError as error:
            _log.critical("%s: job %s at %s was sent", attempt.item_key, job_id, endpoint)
            self._ctx.store.note_job(attempt, job_id, endpoint)
            raise type(error)(f"{error} Its job {job_id} was sent.") from error

    def fail(self, attempt: Attempt, error: ImagegenError) -> bool:
        """Write the failure down, unless the picture may still be collected; returns whether."""
        (now,) = self._attempts.get([attempt.id])
        if now.state in (State.SUBMITTED, State.COMPLETED) and not self._is_the_end(now, error):
            return False
        self._attempts.failed(attempt, error, **self._cost_of_failure(now, error))
        return True

    def _is_the_end(self, attempt: Attempt, error: ImagegenError) -> bool:
        """Whether nothing can come any more of an attempt that the service has taken on: only
        the job itself can say that it failed, and only a URL's end that its bytes stay bad.
        """
        if isinstance(error, NotAPictureError):
            return attempt.result_url is None or self.age(attempt) > RESULT_URL_SECONDS
        return isinstance(error, JobFailedError)

    def age(self, attempt: Attempt) -> float:
        """Seconds since an attempt was sent."""
        return self._ctx.clock.now() - (attempt.submitted_at or attempt.created_at)

    def _cost_of_failure(self, attempt: Attempt, error: ImagegenError) -> dict[str, float | None]:
        """What a failure is known to have cost: nothing if refused, its time if that was said."""
        if attempt.state is State.SUBMITTING and isinstance(
            error, RequestRefusedError | AccountRefusedError | RedirectedError
        ):
            return {"cost": 0.0, "submitted_at": None, "reserved": None}  # it used nothing up
        if isinstance(error, JobFailedError) and error.run_seconds is not None:
            return {"cost": self._ctx.prices.cost(attempt.sent_request, error.run_seconds)}
        if isinstance(error, NotAPictureError) and attempt.cost is None:
            return {"cost": self._ctx.prices.cost(attempt.sent_request, attempt.run_seconds)}
        return {}

    def complete(self, attempt: Attempt, report: JobReport, session: JobSession) -> Attempt:
        """Write down that the service has the picture, then fetch and store it.

        One that came inside the answer is on disk first: nothing else could bring it back.
        """
        first = report.images[0]
        stored = None
        if first.data is not None:
            stored = self._keep_only_copy(attempt, first.data)
        if attempt.state is not State.COMPLETED:
            attempt = self._completed(attempt, report, first, session)
        warnings = list(report.warnings)
        if report.seed is not None and report.seed != attempt.seed:
            warnings.append(f"The service says that it used seed {report.seed}.")
        return self.store(attempt, report.images, session, warnings, stored=stored)

    def _keep_only_copy(self, attempt: Attempt, data: bytes) -> StoredPicture:
        try:
            return self._keep(attempt, data, attempt.file_stem)
        except (StoreError, NameTakenError):
            self._ctx.store.rescue(attempt, data)
            raise

    def completed(self, attempt: Attempt, report: JobReport) -> Attempt:
        """Write down that the service has made the picture, and what it took."""
        return self._attempts.completed(
            attempt,
            result_url=report.images[0].url,
            cost=self._ctx.prices.cost(attempt.sent_request, report.run_seconds),
            queue_seconds=report.queue_seconds,
            run_seconds=report.run_seconds,
        )

    def _completed(
        self, attempt: Attempt, report: JobReport, first: RemoteImage, session: JobSession
    ) -> Attempt:
        try:
            return self.completed(attempt, report)
        except AttemptMovedError:
            raise
        except LedgerError:
            if first.url and attempt.job_id is None:
                # Nothing else knows the URL: the next run adopts the file by its name.
                self._keep(attempt, session.fetch(first, self._ctx.downloader), attempt.file_stem)
            raise

    def store(
        self,
        attempt: Attempt,
        images: tuple[RemoteImage, ...],
        session: JobSession,
        warnings: list[str],
        *,
        stored: StoredPicture | None = None,
    ) -> Attempt:
        """Fetch and store; the first image is the item's picture, unless it is ``stored``."""
        first, *more = images
        with self._ctx.traffic.coming_home():
            data = session.fetch(first, self._ctx.downloader) if stored is None else b""
            with self._ctx.traffic.being_kept():
                if stored is None:
                    stored = self._keep_fetched(attempt, first, data, session)
                for number, image in enumerate(more, start=2):
                    warnings.append(self._keep_extra(attempt, image, number, session))
                return self.record(attempt, stored, warnings)

    def _keep_fetched(
        self, attempt: Attempt, image: RemoteImage, data: bytes, session: JobSession
    ) -> StoredPicture:
        if image.url:
            about = self._about(attempt)
            with contextlib.suppress(NotAPictureError):
                return self._ctx.store.keep(data, attempt.folder, attempt.file_stem, about)
            # The way here may have spoilt it: the picture is asked for once more.
            data = session.fetch(image, self._ctx.downloader)
        return self._keep(attempt, data, attempt.file_stem, by_url=image.url is not None)

    def _keep(
        self, attempt: Attempt, data: bytes, stem: str, *, by_url: bool = False
    ) -> StoredPicture:
        store = self._ctx.store
        try:
            return store.keep(data, attempt.folder, stem, self._about(attempt))
        except NotAPictureError as error:
            kept = store.quarantine(data, stem, str(error))
            raise NotAPictureError(str(error), remedy=_remedy(kept, by_url=by_url)) from error

    def quarantined(self, attempt: Attempt, error: BadAnswerError) -> str:
        """Keep what came in place of a picture; returns a sentence that says where."""
        if not error.raw:
            return ""
        try:
            kept = self._ctx.store.quarantine(error.raw, attempt.file_stem, str(error))
        except StoreError as failed:
            return f"What came could not be kept: {failed}"
        return f"What came is kept as {kept}."

    def _keep_extra(
        self, attempt: Attempt, image: RemoteImage, number: int, session: JobSession
    ) -> str:
        """Keep what was paid for beside the item's picture; its faults cost no more than it."""
        try:
            data = session.fetch(image, self._ctx.downloader)
            extra = self._keep(attempt, data, f"{attempt.file_stem}.{number}")
        except PictureError as error:
            return f"The service sent one more picture, which could not be kept: {error}"
        return f"The service sent one more picture, kept as {extra.path}."

    def adopt(self, attempt: Attempt) -> StoredPicture | None:
        """The attempt's own file, if an earlier process wrote it whole."""
        store, about = self._ctx.store, self._about(attempt)
        adopted = store.adopt(attempt.folder, attempt.file_stem, about)
        if adopted is None and (data := store.rescued(attempt)) is not None:
            return self._keep(attempt, data, attempt.file_stem)
        return adopted

    def share(self, attempt: Attempt, source: Attempt) -> Attempt:
        """Give ``attempt`` the bytes of ``source``'s picture, at no cost."""
        stored = self._ctx.store.share(
            source.path or "", attempt.folder, attempt.file_stem, self._about(attempt)
        )
        try:
            return self.record(attempt, stored, [])
        except AttemptMovedError:  # another process has ended it while this one slept
            (now,) = self._attempts.get([attempt.id])
            if now.state is State.STORED:
                return now
            self._ctx.store.discard(stored)  # no later process adopts what has failed
            raise

    def record(self, attempt: Attempt, stored: StoredPicture, warnings: list[str]) -> Attempt:
        """Publish the picture and write down that it is stored."""
        asked = attempt.sent_request
        if (stored.width, stored.height) != (asked.width, asked.height):
            warnings.append(
                f"The picture has {stored.width}x{stored.height} pixels, not {asked.size}."
            )
        current = self._attempts.current(attempt.item_key)
        if current is not None and current.id > attempt.id:
            warnings.append(
                "It came home late: the picture that was made since stays the current one."
            )
        elif self._wanted.publish:
            warnings += self._ctx.store.publish(stored, self._wanted.publish)
        facts = {} if attempt.cost is not None else {"cost": self._cost(attempt)}
        return self._attempts.stored(
            attempt,
            path=stored.path,
            digest=stored.digest,
            width=stored.width,
            height=stored.height,
            bytes=stored.bytes,
            measures=stored.measures,
            warnings=warnings,
            **facts,
        )

    def _cost(self, attempt: Attempt) -> float | None:
        if attempt.shared_from is not None:
            return 0.0
        return self._ctx.prices.cost(attempt.sent_request, attempt.run_seconds)

    def _about(self, attempt: Attempt) -> dict[str, object]:
        return {
            "key": attempt.item_key,
            **self._wanted.about,
            "request": attempt.sent_request.as_dict(),
            "job_id": attempt.job_id,
            "simulated": attempt.simulated,
        }


def _remedy(kept: str, *, by_url: bool) -> str:
    if by_url:
        return (
            f"The bytes are kept as {kept}. Later runs fetch the picture again as long as its URL "
            "lives (an hour); --regenerate buys a new one now."
        )
    return f"The bytes are kept as {kept}; run again to make it anew."
