"""What an earlier process left open, brought to its end: collected, adopted, or written off."""

from __future__ import annotations

from collections.abc import Callable

from imagegen_pipeline.domain.errors import (
    AccountRefusedError,
    DownloadError,
    ImagegenError,
    JobElsewhereError,
    JobExpiredError,
    LedgerError,
    OutcomeUnknownError,
    ServiceError,
    StoppedError,
    StoreError,
    UnreachableError,
    UrlRefusedError,
)
from imagegen_pipeline.domain.generation import Attempt, State
from imagegen_pipeline.engine.keeping import Keeper
from imagegen_pipeline.engine.sending import Conversation
from imagegen_pipeline.engine.workshop import Workshop
from imagegen_pipeline.services.base import RemoteImage

RESULT_URL_SECONDS = 3600
"""How long a result's URL is tried again: about as long as the services keep it alive."""
JOB_SECONDS = 24 * 3600
"""How long a job at an endpoint that is not ours any more is waited for."""
LEFT_OPEN = (DownloadError, UrlRefusedError, StoppedError, StoreError, LedgerError)
"""After these the attempt stays as it is in the ledger: a later run goes on with it."""


class Recovery:
    """Goes on with one item's attempts. Called with the item's lease in hand."""

    def __init__(
        self, workshop: Workshop, keeper: Keeper, conversation: Callable[[], Conversation]
    ) -> None:
        self._shop = workshop
        self._book = workshop.ledger.attempts
        self._keeper = keeper
        self._conversation = conversation

    def recover(self, attempt: Attempt) -> Attempt | None:
        """Bring an attempt to its end; None when that is without a picture.

        Raises what keeps the attempt open, so that nothing is bought in its place.
        """
        try:
            if attempt.state is State.PLANNED and attempt.shared_from is None:
                raise StoppedError("The process ended before anything was sent: nothing is billed.")
            return self._finish(attempt)
        except OutcomeUnknownError as error:
            self._book.unknown(attempt, error)
        except LEFT_OPEN as error:
            if attempt.state is not State.PLANNED:
                raise
            self._book.failed(attempt, error)
        except JobExpiredError as error:
            self._book.expired(attempt, error)
        except ImagegenError as error:
            if not self._keeper.fail(attempt, error):
                raise  # it may still be collected: buying it again now would pay twice
        return None

    def _finish(self, attempt: Attempt) -> Attempt:
        """From wherever a sent attempt stands to its picture on disk."""
        adopted = self._keeper.adopt(attempt)
        if adopted is not None:
            return self._keeper.record(attempt, adopted, [])
        if attempt.state is State.PLANNED:
            raise StoppedError("The process ended before the shared picture was written.")
        if attempt.state is State.SUBMITTING:
            attempt = self._with_noted_job(attempt)
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

    def _with_noted_job(self, attempt: Attempt) -> Attempt:
        """The attempt with the job that could not be written down when the service named it."""
        noted = self._shop.store.noted_job(attempt)
        if noted is None:
            raise OutcomeUnknownError("The process ended before the service's answer came.")
        job_id, endpoint = noted
        return self._book.submitted(attempt, job_id=job_id, endpoint=endpoint)

    def _of_another_endpoint(
        self, attempt: Attempt, error: AccountRefusedError | UnreachableError
    ) -> ServiceError:
        """What it means that an endpoint does not answer for a job that was sent there.

        One that the settings no longer name must not stop the work of today's: the job is
        given up when no service would have it any more, and until then only its item fails.
        """
        if attempt.endpoint == self._shop.service(attempt.service).endpoint:
            return error
        job = f"Job {attempt.job_id} was sent to {attempt.endpoint}, which is not set now"
        age = self._shop.clock.now() - attempt.created_at
        if attempt.simulated or age > JOB_SECONDS:
            return JobExpiredError(f"{job}: {error}", job_id=attempt.job_id or "")
        return JobElsewhereError(f"{job}: {error}")


def _lost(attempt: Attempt) -> str:
    """What to say of a picture that was billed and cannot be had any more."""
    if attempt.result_url:
        return "The picture's URL no longer delivers: it was billed and is lost."
    return (
        "The picture came inside the service's answer, and the process ended before it "
        "was on disk: it was billed and is lost."
    )
