"""All errors of the package.

```
ImagegenError                 kind                 stops     cause
├── SetupError                setup                the batch wrong usage or settings (exit 2)
│   ├── DecisionError         decision             the batch a decision on an item that is not held
│   ├── MissingKeyError       missing_key          the batch a live run without its API key
│   └── WorkflowError         workflow             the batch a ComfyUI graph that cannot be bound
├── SourceError               source               the item  a prompt or actor that cannot be read
├── ProviderError             provider             the item  a provider did not fulfil a request
│   ├── RequestRefusedError   bad_request          the item  an invalid request, never retried
│   ├── AccountRefusedError   account              the batch key, balance or model refused
│   ├── RateLimitedError      rate_limited         the item  429: not accepted, may be sent again
│   ├── ProviderBusyError     busy                 the item  503: not accepted, may be sent again
│   ├── UnreachableError      unreachable          the item  no connection: not accepted
│   ├── OutcomeUnknownError   unknown              the item  sent, no response: may be billed
│   ├── ProviderDownError     provider_down        the batch repeated failures of the provider
│   ├── BadAnswerError        bad_answer           the item  a response that cannot be parsed
│   │   └── RedirectedError   bad_answer           the item  a redirect: not carried out
│   ├── StoppedError          stopped              the item  the batch was stopped
│   ├── StillRunningError     job_timeout          the item  past its deadline, not cancelled
│   ├── JobElsewhereError     job_elsewhere        the item  a job at an endpoint not configured
│   └── JobFailedError        job_failed           the item  the job ran and failed
│       ├── JobTimeoutError   job_timeout          the item  queue or run deadline passed
│       └── JobExpiredError   job_expired          the item  the provider deleted the result
│           └── JobLostError  job_lost             the item  the provider does not know the job
├── PictureError              picture              the item  a received image that is not usable
│   ├── NotAPictureError      not_a_picture        the item  bytes that do not decode
│   ├── UnreadableError       unreadable_picture   the item  a stored image that cannot be read
│   ├── NameTakenError        name_taken           the item  another file has the image's name
│   └── DownloadError         download             the item  the image's URL did not deliver
│       └── UrlRefusedError   url_refused          the batch a URL that must not be fetched
├── BrokenPicturesError       broken_pictures      the batch several unusable images in a row
├── SpendingError             spending             the batch a limit on money or images
│   ├── BudgetReachedError    budget               the batch the next image could exceed a budget
│   ├── UnknownPriceError     unknown_price        the batch a budget, but no price
│   └── DayLimitError         day_limit            the batch the daily number of images
├── StoreError                store                the batch a disk or folder that is not writable
├── LedgerError               ledger               the batch the database of attempts
│   ├── AttemptMovedError     attempt_moved        the item  another process changed the attempt
│   └── LeaseLostError        lease_lost           the item  the lease ended while in use
└── InternalFaultError        internal             the item  a bug in this package
```

"The provider refused" and "the job failed" are two types: the second carries the job's id.
Every error has a message (``str(error)``) and a remedy, which says what to do next. Both are
written to the results table, so they never contain a key.
"""

from __future__ import annotations

from typing import ClassVar


class ImagegenError(Exception):
    """Base of all errors of this package: a message and a remedy.

    ``kind`` identifies the error in the ledger and the results. ``stops_batch``: every other item
    would fail too.
    """

    kind: ClassVar[str] = "error"
    stops_batch: ClassVar[bool] = False
    remedy: str = ""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        if remedy is not None:
            self.remedy = remedy
        if self.remedy:
            self.add_note(self.remedy)  # shown in tracebacks

    @property
    def sentence(self) -> str:
        """The message and the remedy, as one line."""
        return f"{self} {self.remedy}".strip()


class SetupError(ImagegenError):
    """Wrong usage or settings. Nothing was sent to a provider."""

    kind = "setup"
    stops_batch = True


class DecisionError(SetupError):
    """A decision on an item that is not held."""

    kind = "decision"
    remedy = "`imagegen resolve` without a key lists what is held."


class MissingKeyError(SetupError):
    """A live run without the provider's API key, which is the setting ``variable``."""

    kind = "missing_key"

    def __init__(self, variable: str) -> None:
        super().__init__(
            f"{variable} is not set.",
            remedy=f"Set {variable} (in the environment or in .env), or set "
            "IMAGEGEN_SIMULATOR=1 to use the local simulator, which costs nothing.",
        )
        self.variable = variable


class WorkflowError(SetupError):
    """A ComfyUI graph that cannot be bound. The message names the file and the node."""

    kind = "workflow"


class SourceError(ImagegenError):
    """A prompt, actor, file or database that cannot be read. The message names its location."""

    kind = "source"


class ProviderError(ImagegenError):
    """A provider did not fulfil a request. ``retry_after``: seconds, if the provider gave them."""

    kind = "provider"

    def __init__(
        self, message: str, *, remedy: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after


class RequestRefusedError(ProviderError):
    """The provider refused the request as invalid. It would refuse the same request again."""

    kind = "bad_request"
    remedy = "Change the request: the same one would be refused again."


class AccountRefusedError(ProviderError):
    """The key, the balance or the model was refused, so that every item would be."""

    kind = "account"
    stops_batch = True
    remedy = "Verify that the API key is correct and has sufficient credits."


class RateLimitedError(ProviderError):
    """The provider answered 429: the request was not accepted."""

    kind = "rate_limited"
    remedy = "Lower IMAGEGEN_CONCURRENCY, or use --delay, then run again. Images are reused."


class ProviderBusyError(ProviderError):
    """The provider is overloaded: the request was not accepted."""

    kind = "busy"
    remedy = "Try again later. Images are reused."


class UnreachableError(ProviderError):
    """The connection failed, so nothing was sent or billed."""

    kind = "unreachable"
    remedy = "Check the internet connection and the provider's base URL, then run again."


class OutcomeUnknownError(ProviderError):
    """The request was sent, but no response shows whether an image was billed."""

    kind = "unknown"
    remedy = "Check the provider's list of jobs, then decide with `imagegen resolve`."


class ProviderDownError(ProviderError):
    """The provider failed repeatedly, also after pauses. Nothing more is sent to it."""

    kind = "provider_down"
    stops_batch = True
    remedy = "Check the provider's status page, then run again. Images are reused."


class BadAnswerError(ProviderError):
    """A response that cannot be parsed. ``raw``: its bytes, if they may be a paid image."""

    kind = "bad_answer"
    remedy = "Run again. If it persists, the provider's API has changed: please report it."

    def __init__(self, message: str, *, remedy: str | None = None, raw: bytes = b"") -> None:
        super().__init__(message, remedy=remedy)
        self.raw = raw


class RedirectedError(BadAnswerError):
    """A redirect. It is not followed, since that would send the key to another address."""

    remedy = "Verify the provider's base URL, then run again."


class StoppedError(ProviderError):
    """The batch was stopped while this item was in progress. ``sent``: it may be billed."""

    kind = "stopped"
    remedy = "Run again: what was sent is collected, not bought again."

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class StillRunningError(ProviderError):
    """A job is past its deadline and could not be cancelled. It may still be billed."""

    kind = "job_timeout"
    remedy = (
        "Run again later: the job is collected then, not bought again. If it never ends, "
        "`imagegen resolve` its item with --resubmit or --give-up."
    )


class JobElsewhereError(ProviderError):
    """A job was sent to an endpoint that is no longer configured, and cannot be read."""

    kind = "job_elsewhere"
    remedy = "To collect it, restore the endpoint and key. It is given up after a day."


class JobFailedError(ProviderError):
    """The provider ran the job and failed. ``run_seconds`` of execution, if it reports them."""

    kind = "job_failed"
    remedy = "Simplify the prompt or read the provider's log of the job, then run again."

    def __init__(
        self,
        message: str,
        *,
        job_id: str,
        remedy: str | None = None,
        run_seconds: float | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.job_id = job_id
        self.run_seconds = run_seconds


class JobTimeoutError(JobFailedError):
    """The job exceeded its queue or run deadline and was cancelled."""

    kind = "job_timeout"
    remedy = "Raise IMAGEGEN_TIMEOUT_QUEUE or IMAGEGEN_TIMEOUT_RUN, or run again later."


class JobExpiredError(JobFailedError):
    """The provider deleted the job's result. It may have been billed and is lost."""

    kind = "job_expired"
    remedy = "Run again to generate it. Collect jobs within the provider's retention time."


class JobLostError(JobExpiredError):
    """The provider does not know the job: its queue was lost in a restart."""

    kind = "job_lost"


class PictureError(ImagegenError):
    """The received image is not usable."""

    kind = "picture"


class NotAPictureError(PictureError):
    """The bytes do not decode to a complete image of a known format."""

    kind = "not_a_picture"
    remedy = "The bytes are in the quarantine folder. Run again to generate the image."


class DownloadError(PictureError):
    """The image exists at the provider, but its URL did not deliver it.

    ``is_gone``: the host no longer has it (403, 404, 410). ``retry_after``: seconds, if the host
    gave them.
    """

    kind = "download"
    remedy = "Run again soon: while its URL lives, the image is downloaded again, not bought again."

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        is_gone: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.is_gone = is_gone
        self.retry_after = retry_after


class UrlRefusedError(DownloadError):
    """A provider's result URL is at an address that must not be fetched."""

    kind = "url_refused"
    stops_batch = True
    remedy = "If you trust this host, name it in IMAGEGEN_ALLOW_PRIVATE_HOSTS, then run again."


class UnreadableError(PictureError):
    """A stored image cannot be read. It is neither reused nor generated again."""

    kind = "unreadable_picture"
    remedy = "Repair the file or its permissions, or move it away to generate it again."


class NameTakenError(PictureError):
    """A file with other content has the image's name. It is not overwritten."""

    kind = "name_taken"
    remedy = "Move that file away, then run again. Nothing is overwritten."


class BrokenPicturesError(ImagegenError):
    """Several paid images in a row were not usable, so that no more are bought."""

    kind = "broken_pictures"
    stops_batch = True
    remedy = "Check the quarantine folder and the provider's own pages, then run again."


class SpendingError(ImagegenError):
    """A limit on money or images that the user has set. Nothing was sent."""

    kind = "spending"
    stops_batch = True


class BudgetReachedError(SpendingError):
    """The next image could exceed a budget."""

    kind = "budget"
    remedy = "Raise the budget, or run again in its next period. Images are reused."


class UnknownPriceError(SpendingError):
    """A budget is set, but the price of the next image is unknown."""

    kind = "unknown_price"
    remedy = 'Set its price in IMAGEGEN_PRICES, or assume one: {"assumed": {"PROVIDER": 0.05}}.'


class DayLimitError(SpendingError):
    """``IMAGEGEN_RATE_PER_DAY`` is reached. Days are UTC."""

    kind = "day_limit"
    remedy = "Run again tomorrow (UTC), or raise IMAGEGEN_RATE_PER_DAY. Images are reused."


class StoreError(ImagegenError):
    """A disk or folder is not writable."""

    kind = "store"
    stops_batch = True
    remedy = "Free space or repair the folder's permissions, then run again. Images are reused."


class LedgerError(ImagegenError):
    """The database of attempts cannot be read or written."""

    kind = "ledger"
    stops_batch = True
    remedy = "Check IMAGEGEN_LEDGER_URL and the permissions of the ledger's folder, then run again."


class AttemptMovedError(LedgerError):
    """Another process has changed the attempt's state."""

    kind = "attempt_moved"
    stops_batch = False
    remedy = "Run again to get its result."


class LeaseLostError(LedgerError):
    """This process did not renew its lease in time. Another process may have the item."""

    kind = "lease_lost"
    stops_batch = False
    remedy = "Run again: what was sent is collected, not bought again."


class InternalFaultError(ImagegenError):
    """A bug in this package. It fails one item, never the batch."""

    kind = "internal"
