"""Stores what a provider delivers: the image whole on disk first, then in the ledger."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping

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
from imagegen_pipeline.ledger.leases import Lease
from imagegen_pipeline.providers.base import JobReport, RemoteImage
from imagegen_pipeline.storage.pictures import StoredPicture

_log = logging.getLogger(__name__)
RESULT_URL_SECONDS = 3600
"""How long a result's URL is tried: about as long as the providers keep it alive."""
_LATE = "It was collected late: the image that was generated since stays the current one."
Costs = Mapping[str, float | None]
"""``cost``, ``queue_seconds`` and ``run_seconds`` of an attempt."""


class ResultWriter:
    """Writes the results of one item's attempts."""

    def __init__(self, context: EngineContext, task: ImageTask) -> None:
        self._ctx = context
        self._attempts = context.ledger.attempts
        self._task = task

    def submitted(self, attempt: Attempt, job_id: str, endpoint: str) -> Attempt:
        """Record the provider's job; beside the images if the ledger cannot take it."""
        try:
            return self._attempts.submitted(attempt, job_id=job_id, endpoint=endpoint)
        except LedgerError as error:
            _log.critical("%s: job %s at %s was sent", attempt.item_key, job_id, endpoint)
            self._ctx.store.note_job(attempt, job_id, endpoint)
            raise type(error)(f"{error} Its job {job_id} was sent.") from error

    def fail(self, attempt: Attempt, error: ImagegenError) -> bool:
        """Record the failure unless the image may still be collected; returns whether it did."""
        (now,) = self._attempts.get([attempt.id])
        if now.state in (State.SUBMITTED, State.COMPLETED) and not self._is_final(now, error):
            return False
        self._attempts.failed(attempt, error, **self._cost_of_failure(now, error))
        return True

    def _is_final(self, attempt: Attempt, error: ImagegenError) -> bool:
        """Whether an accepted attempt can bring no image any more: only the job itself can tell
        that it failed, and bad bytes are final only when their URL has ended.
        """
        if isinstance(error, NotAPictureError):
            return attempt.result_url is None or self.age(attempt) > RESULT_URL_SECONDS
        return isinstance(error, JobFailedError)

    def age(self, attempt: Attempt) -> float:
        """Seconds since an attempt was sent."""
        return self._ctx.clock.now() - (attempt.submitted_at or attempt.created_at)

    def _cost_of_failure(self, attempt: Attempt, error: ImagegenError) -> dict[str, float | None]:
        """The known cost of a failure: nothing if refused, the job's time if it was reported."""
        if attempt.state is State.SUBMITTING and isinstance(
            error, RequestRefusedError | AccountRefusedError | RedirectedError
        ):
            return {"cost": 0.0, "submitted_at": None, "reserved": None}  # counts for no limit
        if isinstance(error, JobFailedError) and error.run_seconds is not None:
            return {"cost": self._ctx.prices.cost(attempt.sent_request, error.run_seconds)}
        if isinstance(error, NotAPictureError) and attempt.cost is None:
            return {"cost": self._ctx.prices.cost(attempt.sent_request, attempt.run_seconds)}
        return {}

    def complete(
        self,
        attempt: Attempt,
        report: JobReport,
        session: JobSession,
        *,
        release: Lease | None = None,
    ) -> Attempt:
        """Store the reported images; ``release`` as in ``AttemptRepository.stored``.

        An image inside the answer is on disk, under the name that the attempt's row has, before
        anything else is written: no provider could deliver it again. One given by URL is recorded
        as ``completed`` before its download.
        """
        first, *more = report.images
        warnings = list(report.warnings)
        if report.seed is not None and report.seed != attempt.seed:
            warnings.append(f"The service says that it used seed {report.seed}.")
        if first.data is None:
            if attempt.state is not State.COMPLETED:
                attempt = self._completed(attempt, report, first, session)
            return self.download(attempt, report.images, session, warnings, release=release)
        costs = self.costs(attempt, report)
        with self._ctx.disk_writes:
            stored = self._keep_only_copy(attempt, first.data)
            warnings += self._keep_extras(attempt, more, session)
            return self.record(attempt, stored, warnings, costs, release=release)

    def _keep_only_copy(self, attempt: Attempt, data: bytes) -> StoredPicture:
        try:
            return self._keep(attempt, data, attempt.file_stem)
        except (StoreError, NameTakenError):
            self._ctx.store.rescue(attempt, data)
            raise

    def costs(self, attempt: Attempt, report: JobReport) -> Costs:
        """The cost and times of a completed attempt."""
        return {
            "cost": self._ctx.prices.cost(attempt.sent_request, report.run_seconds),
            "queue_seconds": report.queue_seconds,
            "run_seconds": report.run_seconds,
        }

    def _completed(
        self, attempt: Attempt, report: JobReport, first: RemoteImage, session: JobSession
    ) -> Attempt:
        try:
            return self._attempts.completed(
                attempt, result_url=first.url, **self.costs(attempt, report)
            )
        except AttemptMovedError:
            raise
        except LedgerError:
            if first.url and attempt.job_id is None:
                # Nothing else knows the URL: the next run adopts the file by its name.
                self._keep(attempt, session.fetch(first, self._ctx.downloader), attempt.file_stem)
            raise

    def download(
        self,
        attempt: Attempt,
        images: tuple[RemoteImage, ...],
        session: JobSession,
        warnings: list[str],
        *,
        release: Lease | None = None,
    ) -> Attempt:
        """Download and store the images; the first one is the item's image."""
        first, *more = images
        with self._ctx.downloads:
            data = session.fetch(first, self._ctx.downloader)
            with self._ctx.disk_writes:
                stored = self._keep_fetched(attempt, first, data, session)
                warnings += self._keep_extras(attempt, more, session)
                return self.record(attempt, stored, warnings, {}, release=release)

    def _keep_fetched(
        self, attempt: Attempt, image: RemoteImage, data: bytes, session: JobSession
    ) -> StoredPicture:
        if image.url:
            about = self._about(attempt)
            with contextlib.suppress(NotAPictureError):
                return self._ctx.store.keep(data, attempt.folder, attempt.file_stem, about)
            # The transfer may have damaged it: download it once more.
            data = session.fetch(image, self._ctx.downloader)
        return self._keep(attempt, data, attempt.file_stem, by_url=image.url is not None)

    def _keep(
        self, attempt: Attempt, data: bytes, stem: str, *, by_url: bool = False
    ) -> StoredPicture:
        store = self._ctx.store
        try:
            return store.keep(data, attempt.folder, stem, self._about(attempt))
        except NotAPictureError as error:
            path = store.quarantine(data, stem, str(error))
            raise NotAPictureError(str(error), remedy=_remedy(path, by_url=by_url)) from error

    def quarantined(self, attempt: Attempt, error: BadAnswerError) -> str:
        """Keep an unreadable answer; returns a sentence that says where."""
        if not error.raw:
            return ""
        try:
            path = self._ctx.store.quarantine(error.raw, attempt.file_stem, str(error))
        except StoreError as failed:
            return f"What came could not be kept: {failed}"
        return f"What came is kept as {path}."

    def _keep_extras(
        self, attempt: Attempt, images: list[RemoteImage], session: JobSession
    ) -> list[str]:
        """Keep the images beyond the first; returns a warning for each."""
        return [
            self._keep_extra(attempt, image, number, session)
            for number, image in enumerate(images, start=2)
        ]

    def _keep_extra(
        self, attempt: Attempt, image: RemoteImage, number: int, session: JobSession
    ) -> str:
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
        """Give ``attempt`` the bytes of ``source``'s image, at no cost."""
        stored = self._ctx.store.share(
            source.path or "", attempt.folder, attempt.file_stem, self._about(attempt)
        )
        try:
            return self.record(attempt, stored, [], {})
        except AttemptMovedError:  # another process has ended it since
            (now,) = self._attempts.get([attempt.id])
            if now.state is State.STORED:
                return now
            self._ctx.store.discard(stored)  # no later process adopts the file of a failed attempt
            raise

    def record(
        self,
        attempt: Attempt,
        stored: StoredPicture,
        warnings: list[str],
        costs: Costs,
        *,
        release: Lease | None = None,
    ) -> Attempt:
        """Publish the image and record it as stored."""
        asked = attempt.sent_request
        if (stored.width, stored.height) != (asked.width, asked.height):
            warnings.append(
                f"The picture has {stored.width}x{stored.height} pixels, not {asked.size}."
            )
        if self._task.publish and not self._is_superseded(attempt):
            warnings += self._ctx.store.publish(stored, self._task.publish)
        if not costs and attempt.cost is None:
            free = attempt.shared_from is not None
            costs = {"cost": 0.0 if free else self._ctx.prices.cost(asked, attempt.run_seconds)}
        return self._attempts.stored(
            attempt,
            superseded_warning=_LATE,
            release=release,
            path=stored.path,
            digest=stored.digest,
            width=stored.width,
            height=stored.height,
            bytes=stored.bytes,
            measures=stored.measures,
            warnings=warnings,
            **costs,
        )

    def _is_superseded(self, attempt: Attempt) -> bool:
        current = self._attempts.current(attempt.item_key)
        return current is not None and current.id > attempt.id

    def _about(self, attempt: Attempt) -> dict[str, object]:
        return {
            "key": attempt.item_key,
            **self._task.about,
            "request": attempt.sent_request.as_dict(),
            "job_id": attempt.job_id,
            "simulated": attempt.simulated,
        }


def _remedy(path: str, *, by_url: bool) -> str:
    if by_url:
        return (
            f"The bytes are kept as {path}. Later runs download the image again as long as its URL "
            "lives (an hour); --regenerate buys a new one now."
        )
    return f"The bytes are kept as {path}; run again to generate it again."
