"""From a service's answer to a picture on disk that the ledger calls stored."""

from __future__ import annotations

import contextlib
import logging

from imagegen_pipeline.domain.errors import (
    AccountRefusedError,
    AttemptMovedError,
    ImagegenError,
    JobFailedError,
    LedgerError,
    NotAPictureError,
    PictureError,
    RequestRefusedError,
    ServiceError,
)
from imagegen_pipeline.domain.generation import Attempt, State
from imagegen_pipeline.engine.sending import Conversation
from imagegen_pipeline.engine.workshop import Wanted, Workshop
from imagegen_pipeline.services.base import JobReport, RemoteImage
from imagegen_pipeline.store import StoredPicture

_log = logging.getLogger(__name__)


class Keeper:
    """Brings one item's pictures home: whole on disk first, then in the ledger."""

    def __init__(self, workshop: Workshop, wanted: Wanted) -> None:
        self._shop = workshop
        self._book = workshop.ledger.attempts
        self._wanted = wanted

    def submitted(self, attempt: Attempt, job_id: str, endpoint: str) -> Attempt:
        """Write down the job that the service named, beside the pictures if it must be."""
        try:
            return self._book.submitted(attempt, job_id=job_id, endpoint=endpoint)
        except AttemptMovedError:
            raise
        except LedgerError:
            _log.critical("%s: job %s at %s was sent", attempt.item_key, job_id, endpoint)
            self._shop.store.note_job(attempt, job_id, endpoint)
            raise

    def fail(self, attempt: Attempt, error: ImagegenError) -> bool:
        """Write the failure down, unless the job may still be collected; returns whether."""
        (now,) = self._book.get([attempt.id])
        is_refused_poll = isinstance(error, ServiceError) and not isinstance(error, JobFailedError)
        if now.job_id is not None and is_refused_poll:
            return False  # only the job itself can say that it failed
        cost = self._cost_of_failure(now, error)
        self._book.failed(attempt, error, **({} if cost is None else {"cost": cost}))
        return True

    def _cost_of_failure(self, attempt: Attempt, error: ImagegenError) -> float | None:
        """What a failure is known to have cost: nothing if refused, its time if that was said."""
        if attempt.state is State.SUBMITTING and isinstance(
            error, RequestRefusedError | AccountRefusedError
        ):
            return 0.0
        if isinstance(error, JobFailedError) and error.run_seconds is not None:
            return self._shop.prices.cost(attempt.sent_request, error.run_seconds)
        return None

    def complete(self, attempt: Attempt, report: JobReport, talk: Conversation) -> Attempt:
        """Write down that the service has the picture, then fetch and store it.

        One that came inside the answer is on disk first: nothing else could bring it back.
        """
        first = report.images[0]
        stored = None
        if first.data is not None:
            stored = self._keep(attempt, first.data, attempt.file_stem)
        if attempt.state is not State.COMPLETED:
            attempt = self._completed(attempt, report, first, talk)
        warnings = list(report.warnings)
        if report.seed is not None and report.seed != attempt.seed:
            warnings.append(f"The service says that it used seed {report.seed}.")
        return self.store(attempt, report.images, talk, warnings, stored=stored)

    def _completed(
        self, attempt: Attempt, report: JobReport, first: RemoteImage, talk: Conversation
    ) -> Attempt:
        try:
            return self._book.completed(
                attempt,
                result_url=first.url,
                cost=self._shop.prices.cost(attempt.sent_request, report.run_seconds),
                queue_seconds=report.queue_seconds,
                run_seconds=report.run_seconds,
            )
        except AttemptMovedError:
            raise
        except LedgerError:
            if first.url and attempt.job_id is None:
                # Nothing else knows the URL: the next run adopts the file by its name.
                self._keep(attempt, talk.fetch(first, self._shop.downloader), attempt.file_stem)
            raise

    def store(
        self,
        attempt: Attempt,
        images: tuple[RemoteImage, ...],
        talk: Conversation,
        warnings: list[str],
        *,
        stored: StoredPicture | None = None,
    ) -> Attempt:
        """Fetch and store; the first image is the item's picture, unless it is ``stored``."""
        first, *more = images
        if stored is None:
            stored = self._fetch_and_keep(attempt, first, talk)
        for number, image in enumerate(more, start=2):
            warnings.append(self._keep_extra(attempt, image, number, talk))
        return self.record(attempt, stored, warnings)

    def _fetch_and_keep(
        self, attempt: Attempt, image: RemoteImage, talk: Conversation
    ) -> StoredPicture:
        data = talk.fetch(image, self._shop.downloader)
        if image.url:
            about = self._about(attempt)
            with contextlib.suppress(NotAPictureError):
                return self._shop.store.keep(data, attempt.folder, attempt.file_stem, about)
            # The way here may have spoilt it: the picture is asked for once more.
            data = talk.fetch(image, self._shop.downloader)
        return self._keep(attempt, data, attempt.file_stem)

    def _keep(self, attempt: Attempt, data: bytes, stem: str) -> StoredPicture:
        store = self._shop.store
        try:
            return store.keep(data, attempt.folder, stem, self._about(attempt))
        except NotAPictureError as error:
            kept = store.quarantine(data, stem, error.sentence)
            raise NotAPictureError(
                str(error), remedy=f"The bytes are kept as {kept}; run again to make it anew."
            ) from error

    def _keep_extra(
        self, attempt: Attempt, image: RemoteImage, number: int, talk: Conversation
    ) -> str:
        """Keep what was paid for beside the item's picture; its faults cost no more than it."""
        try:
            data = talk.fetch(image, self._shop.downloader)
            extra = self._keep(attempt, data, f"{attempt.file_stem}.{number}")
        except PictureError as error:
            return f"The service sent one more picture, which could not be kept: {error}"
        return f"The service sent one more picture, kept as {extra.path}."

    def adopt(self, attempt: Attempt) -> StoredPicture | None:
        """The attempt's own file, if an earlier process wrote it whole."""
        about = self._about(attempt)
        return self._shop.store.adopt(attempt.folder, attempt.file_stem, about)

    def share(self, attempt: Attempt, source: Attempt) -> Attempt:
        """Give ``attempt`` the bytes of ``source``'s picture, at no cost."""
        stored = self._shop.store.share(
            source.path or "", attempt.folder, attempt.file_stem, self._about(attempt)
        )
        return self.record(attempt, stored, [])

    def record(self, attempt: Attempt, stored: StoredPicture, warnings: list[str]) -> Attempt:
        """Publish the picture and write down that it is stored."""
        asked = attempt.sent_request
        if (stored.width, stored.height) != (asked.width, asked.height):
            warnings.append(
                f"The picture has {stored.width}x{stored.height} pixels, not {asked.size}."
            )
        if self._wanted.publish:
            warnings += self._shop.store.publish(stored, self._wanted.publish)
        facts = {} if attempt.shared_from is None else {"cost": 0.0}
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
