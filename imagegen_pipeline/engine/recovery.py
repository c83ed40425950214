"""Ends the attempts that an earlier process left open: collects, adopts or writes them off."""

from __future__ import annotations

from imagegen_pipeline.domain.errors import (
    AccountRefusedError,
    DownloadError,
    ImagegenError,
    JobElsewhereError,
    JobExpiredError,
    LedgerError,
    NameTakenError,
    OutcomeUnknownError,
    ProviderError,
    SetupError,
    StoppedError,
    StoreError,
    UnreachableError,
    UnreadableError,
)
from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.engine.context import EngineContext, StopSignals
from imagegen_pipeline.engine.job_session import JobSession
from imagegen_pipeline.engine.result_writer import RESULT_URL_SECONDS, Costs, ResultWriter
from imagegen_pipeline.providers.base import FindsJobs, RemoteImage

JOB_SECONDS = 24 * 3600
"""How long a job stays open at an endpoint that the settings no longer name."""
LEFT_OPEN = (
    DownloadError,
    StoppedError,
    StoreError,
    UnreadableError,
    NameTakenError,
    LedgerError,
)
"""After these errors the attempt stays open in the ledger, and a later run continues it."""


class Recovery:
    """Continues one item's open attempts. The caller holds the item's lease."""

    def __init__(
        self, context: EngineContext, writer: ResultWriter, session: JobSession, stops: StopSignals
    ) -> None:
        self._ctx = context
        self._attempts = context.ledger.attempts
        self._writer = writer
        self._session = session
        self._stops = stops

    def recover(self, attempt: Attempt, *, seized: bool) -> Attempt | None:
        """Bring an attempt to its end; returns None when it ended without an image.

        ``seized`` as in ``Lease``. Raises the error that keeps the attempt open, so that nothing
        is bought in its place.
        """
        try:
            if attempt.state is State.SUBMITTING and seized:
                attempt = self._after_answer_deadline(attempt)
            if attempt.state is State.PLANNED and attempt.shared_from is None:
                raise StoppedError("The process ended before anything was sent: nothing is billed.")
            return self._finish(attempt)
        except OutcomeUnknownError as error:
            self._attempts.unknown(attempt, error)
        except LEFT_OPEN as error:
            if attempt.state is not State.PLANNED:
                raise
            self._attempts.failed(attempt, error)
        except JobExpiredError as error:
            self._attempts.expired(attempt, error)
        except ImagegenError as error:
            if not self._writer.fail(attempt, error):
                raise  # it may still be collected: buying it again would pay twice
        return None

    def _finish(self, attempt: Attempt) -> Attempt:
        """Store the image of a sent attempt, whatever its state."""
        adopted = self._writer.adopt(attempt)
        if adopted is not None:
            return self._writer.record(attempt, adopted, [], self._reported_costs(attempt))
        if attempt.state is State.PLANNED:
            raise StoppedError("The process ended before the shared picture was written.")
        if attempt.state is State.SUBMITTING:
            attempt = self._with_noted_job(attempt)
        session = self._session
        if attempt.state is State.COMPLETED and attempt.result_url:
            image = RemoteImage(url=attempt.result_url)
            try:
                return self._writer.download(attempt, (image,), session, [])
            except DownloadError as error:
                is_old = self._writer.age(attempt) > RESULT_URL_SECONDS
                # A job may name another URL, and expires before its URL does.
                if not (error.is_gone and (is_old or attempt.job_id)):
                    raise
        if attempt.job_id is None:
            raise JobExpiredError(_lost(attempt), job_id="")
        try:
            report = session.await_job(
                attempt.job_id,
                attempt.endpoint or "",
                self._ctx.deadlines,
                age=self._writer.age(attempt),
            )
        except (AccountRefusedError, UnreachableError) as error:
            raise self._endpoint_error(attempt, error) from error
        return self._writer.complete(attempt, report, session)

    def _with_noted_job(self, attempt: Attempt) -> Attempt:
        """The attempt with the job that the ledger could not take when the provider named it."""
        noted = self._ctx.store.noted_job(attempt) or self._found_job(attempt)
        if noted is None:
            raise OutcomeUnknownError("The process ended before the service's answer came.")
        job_id, endpoint = noted
        return self._attempts.submitted(attempt, job_id=job_id, endpoint=endpoint)

    def _found_job(self, attempt: Attempt) -> tuple[str, str] | None:
        """The job and its endpoint, if the provider can be asked for it by the attempt."""
        try:
            provider = self._ctx.provider(attempt.provider)
        except SetupError:  # no key: the outcome stays unknown
            return None
        job_id = provider.find(attempt.reference) if isinstance(provider, FindsJobs) else None
        return None if job_id is None else (job_id, provider.endpoint)

    def _after_answer_deadline(self, attempt: Attempt) -> Attempt:
        """The attempt once its own process, which may still run, can get no answer any more."""
        left = self._ctx.deadlines.answer - self._writer.age(attempt)
        if left > 0 and self._ctx.clock.wait(self._stops.submits, left):
            raise StoppedError(
                "A process that has not renewed its lease may still be waiting for the answer "
                f"to its request; it is checked again in {left:.0f} s.",
                sent=True,
            )
        (now,) = self._attempts.get([attempt.id])
        return now

    def _reported_costs(self, attempt: Attempt) -> Costs:
        """What the job of an adopted image took, if the provider still reports it."""
        if attempt.state is not State.SUBMITTED or attempt.job_id is None:
            return {}
        try:
            provider = self._ctx.provider(attempt.provider)
            report = provider.poll(attempt.job_id, attempt.endpoint or "")
        except ImagegenError:  # the image is stored; only its cost stays unknown
            return {}
        return self._writer.costs(attempt, report) if report.images else {}

    def _endpoint_error(
        self, attempt: Attempt, error: AccountRefusedError | UnreachableError
    ) -> ProviderError:
        """The error for a job whose endpoint does not answer.

        An endpoint or key that the settings no longer name must not stop other work: until the
        job is too old for any provider to have it, only its item fails; then it has expired.
        """
        is_ours = attempt.endpoint == self._ctx.provider(attempt.provider).endpoint
        if is_ours and isinstance(error, UnreachableError):
            return error
        reason = "which refuses it to this key" if is_ours else "which is not configured now"
        job = f"Job {attempt.job_id} was sent to {attempt.endpoint}, {reason}"
        is_simulated_elsewhere = attempt.simulated and not is_ours
        if is_simulated_elsewhere or self._writer.age(attempt) > JOB_SECONDS:
            return JobExpiredError(f"{job}: {error}", job_id=attempt.job_id or "")
        return JobElsewhereError(f"{job}: {error}")


def _lost(attempt: Attempt) -> str:
    """Why an image that was billed cannot be collected any more."""
    if attempt.result_url:
        return "The picture's URL no longer delivers: it was billed and is lost."
    return (
        "The picture came inside the service's answer, and the process ended before it "
        "was on disk: it was billed and is lost."
    )
