"""Everything that can go wrong, by name.

```
ImagegenError                 kind                 stops     what happened
├── SetupError                setup                the batch wrong usage or settings (exit 2)
│   ├── DecisionError         decision             the batch a decision on what is not held
│   ├── MissingKeyError       missing_key          the batch a live run without its key
│   └── WorkflowError         workflow             the batch a ComfyUI graph that cannot be bound
├── SourceError               source               the item  a prompt or actor that cannot be read
├── ServiceError              service              the item  a service did not do what was asked
│   ├── RequestRefusedError   bad_request          the item  our request is wrong; never retried
│   ├── AccountRefusedError   account              the batch key, balance or model disabled
│   ├── RateLimitedError      rate_limited         the item  429: not accepted, may be sent again
│   ├── ServiceBusyError      busy                 the item  503: not accepted, may be sent again
│   ├── UnreachableError      unreachable          the item  never connected: not accepted
│   ├── OutcomeUnknownError   unknown              the item  sent, no answer: maybe billed
│   ├── ServiceDownError      service_down         the batch it failed again and again
│   ├── BadAnswerError        bad_answer           the item  an answer that cannot be understood
│   │   └── RedirectedError   bad_answer           the item  a wrong address: not carried out
│   ├── StoppedError          stopped              the item  the batch was stopped meanwhile
│   ├── StillRunningError     job_timeout          the item  past its deadline, not cancelled
│   ├── JobElsewhereError     job_elsewhere        the item  a job at an endpoint not ours now
│   ├── JobFailedError        job_failed           the item  the job ran and failed
│   ├── JobTimeoutError       job_timeout          the item  queue or run deadline passed
│   └── JobExpiredError       job_expired          the item  the service no longer has the result
│       └── JobLostError      job_lost             the item  the provider forgot the job: certain
├── PictureError              picture              the item  what arrived is not a usable picture
│   ├── NotAPictureError      not_a_picture        the item  bytes that do not decode
│   ├── UnreadableError       unreadable_picture   the item  a file of ours that cannot be read
│   ├── NameTakenError        name_taken           the item  another file has the settled name
│   └── DownloadError         download             the item  the picture's URL did not deliver
│       └── UrlRefusedError   url_refused          the batch an address that we do not fetch from
├── BrokenPicturesError       broken_pictures      the batch paid answers, none of them usable
├── SpendingError             spending             the batch a limit on money or pictures was met
│   ├── BudgetReachedError    budget               the batch the next picture would cross a budget
│   ├── UnknownPriceError     unknown_price        the batch a budget, and no price to hold it
│   └── DayLimitError         day_limit            the batch the day's pictures are made
├── StoreError                store                the batch a disk or folder that cannot be written
├── InternalFaultError        internal             the item  a fault of this program
└── LedgerError               ledger               the batch the database of attempts
    ├── AttemptMovedError     attempt_moved        the item  another process went on with it
    └── LeaseLostError        lease_lost           the item  this process slept; begun anew
```

"The service refused" and "the job failed" are two types: the second carries the job.
Every error has a sentence (``str(error)``) and a remedy: what to do next. Both reach the
results table, so neither ever holds a key.
"""

from __future__ import annotations

from typing import ClassVar


class ImagegenError(Exception):
    """Base of all errors of this package: a sentence and a remedy."""

    kind: ClassVar[str] = "error"
    stops_batch: ClassVar[bool] = False
    remedy: str = ""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        if remedy is not None:
            self.remedy = remedy
        if self.remedy:
            self.add_note(self.remedy)  # so that a traceback shows it too

    @property
    def sentence(self) -> str:
        """What happened and what to do, as one line."""
        return f"{self} {self.remedy}".strip()


class SetupError(ImagegenError):
    """Wrong usage or settings: nothing was sent to a service."""

    kind = "setup"
    stops_batch = True


class DecisionError(SetupError):
    """A person decided of an item that does not wait for that decision."""

    kind = "decision"
    remedy = "`imagegen resolve` without a key lists what is held."


class MissingKeyError(SetupError):
    """A live run was asked for and its key is not set."""

    kind = "missing_key"

    def __init__(self, variable: str) -> None:
        super().__init__(
            f"{variable} is not set.",
            remedy=f"Set {variable} (in the environment or in .env), or set "
            "IMAGEGEN_SIMULATOR=1 to work on the local simulator, which costs nothing.",
        )
        self.variable = variable


class WorkflowError(SetupError):
    """A ComfyUI graph that cannot be bound; names the file and the node."""

    kind = "workflow"


class SourceError(ImagegenError):
    """One prompt, actor, file or database that cannot be read; names where."""

    kind = "source"


class ProviderError(ImagegenError):
    """A provider did not do what was asked of it. ``retry_after`` in seconds, if it said so."""

    kind = "provider"

    def __init__(
        self, message: str, *, remedy: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after


class RequestRefusedError(ProviderError):
    """The service says that the request is wrong. The same request would be refused again."""

    kind = "bad_request"
    remedy = "Change the request: the same one would be refused again."


class AccountRefusedError(ProviderError):
    """Key, balance or model: every other item would be refused too."""

    kind = "account"
    stops_batch = True
    remedy = "Verify that the API key is correct and has sufficient credits."


class RateLimitedError(ProviderError):
    """429: the request was not accepted."""

    kind = "rate_limited"
    remedy = "Lower IMAGEGEN_CONCURRENCY, or use --delay, and run again: what is made is reused."


class ProviderBusyError(ProviderError):
    """The service is overloaded and said so: the request was not accepted."""

    kind = "busy"
    remedy = "Try again later: what is made is reused."


class UnreachableError(ProviderError):
    """No connection was made, so nothing was sent and nothing billed."""

    kind = "unreachable"
    remedy = "Check the internet connection and the service's base URL, then run again."


class OutcomeUnknownError(ProviderError):
    """The request left, and no answer came that says whether a picture was billed."""

    kind = "unknown"
    remedy = "Look at the service's own list of jobs, then say what is to be done with it."


class ProviderDownError(ProviderError):
    """The service failed again and again, also after pauses: nothing more is sent to it."""

    kind = "provider_down"
    stops_batch = True
    remedy = "Look at the service's status page, then run again: what is made is reused."


class BadAnswerError(ProviderError):
    """An answer that cannot be understood. ``raw`` holds it where it may be a paid image."""

    kind = "bad_answer"
    remedy = "Run again; if it stays, the service's API has changed: please report it."

    def __init__(self, message: str, *, remedy: str | None = None, raw: bytes = b"") -> None:
        super().__init__(message, remedy=remedy)
        self.raw = raw


class RedirectedError(BadAnswerError):
    """The address redirects: the request was not carried out, and a key is not sent on."""

    remedy = "Verify the service's base URL, then run again."


class StoppedError(ProviderError):
    """The batch was stopped, or the process ended, while this item was under way.

    ``sent`` says that a job is at the service, so that a picture may be billed.
    """

    kind = "stopped"
    remedy = "Run again: what was sent is collected, not bought again."

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class StillRunningError(ProviderError):
    """A job is past its deadline and could not be cancelled: it may yet be billed."""

    kind = "job_timeout"
    remedy = (
        "Run again later: the job is collected then, not bought again. If it never ends, "
        "`imagegen resolve` its item with --resubmit or --give-up."
    )


class JobElsewhereError(ProviderError):
    """A job was sent to an endpoint that the settings no longer name, and does not answer."""

    kind = "job_elsewhere"
    remedy = "Set the endpoint and key as they were to collect it; it is given up after a day."


class JobFailedError(ProviderError):
    """The service accepted the job, ran it and failed. Carries the job's id, and the seconds
    that the service says it worked on it.
    """

    kind = "job_failed"
    remedy = "Simplify the prompt or look at the service's own log of the job, then run again."

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
    """The job waited in the queue, or ran, past its deadline; it was cancelled."""

    kind = "job_timeout"
    remedy = "Raise IMAGEGEN_TIMEOUT_QUEUE or IMAGEGEN_TIMEOUT_RUN, or try again later."


class JobExpiredError(JobFailedError):
    """The service has deleted the job's result: it may have been billed and is lost."""

    kind = "job_expired"
    remedy = "Run again to make it anew; collect jobs within the service's retention time."


class JobLostError(JobExpiredError):
    """The provider says with certainty that it does not know the job any more, however lately
    it was sent: a server that keeps its queue in memory has restarted.
    """

    kind = "job_lost"


class PictureError(ImagegenError):
    """What arrived cannot be used as the picture."""

    kind = "picture"


class NotAPictureError(PictureError):
    """The bytes do not decode to a whole picture of a known format."""

    kind = "not_a_picture"
    remedy = "The bytes are kept in the quarantine folder; run again to make the picture anew."


class DownloadError(PictureError):
    """The picture exists at the service, but its URL did not deliver it.

    ``is_gone``: the host says that it has it no more (403, 404, 410). ``retry_after`` in
    seconds, when the host said.
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
    """A service delivers from an address that this program does not fetch from."""

    kind = "url_refused"
    stops_batch = True
    remedy = "If you trust this host, name it in IMAGEGEN_ALLOW_PRIVATE_HOSTS, then run again."


class UnreadableError(PictureError):
    """A picture file that is there and cannot be read: it is neither reused nor made anew."""

    kind = "unreadable_picture"
    remedy = "Repair the file or its permissions, or move it away to have it made anew."


class BrokenPicturesError(ImagegenError):
    """One after another, what was paid for could not be used: more of it would be waste."""

    kind = "broken_pictures"
    stops_batch = True
    remedy = "Look at the quarantine folder and at the service's own pages before going on."


class SpendingError(ImagegenError):
    """A limit that the user has set on money or pictures: nothing was sent."""

    kind = "spending"
    stops_batch = True


class BudgetReachedError(SpendingError):
    """The next picture could cross a budget."""

    kind = "budget"
    remedy = "Raise the budget, or run again when it is a new one: what is made is reused."


class UnknownPriceError(SpendingError):
    """A budget is set, and nobody said what the next picture costs."""

    kind = "unknown_price"
    remedy = 'Set its price in IMAGEGEN_PRICES, or assume one: {"assumed": {"PROVIDER": 0.05}}.'


class DayLimitError(SpendingError):
    """The day's pictures of a service are made (``IMAGEGEN_RATE_PER_DAY``; days are UTC)."""

    kind = "day_limit"
    remedy = "Run again tomorrow (UTC), or raise IMAGEGEN_RATE_PER_DAY: what is made is reused."


class NameTakenError(PictureError):
    """A file with other content lies where a picture was to be written: it is left alone."""

    kind = "name_taken"
    remedy = "Move that file away, then run again: nothing is overwritten."


class StoreError(ImagegenError):
    """The disk or a folder cannot be written."""

    kind = "store"
    stops_batch = True
    remedy = "Free space or repair the folder's permissions, then run again: images are reused."


class LedgerError(ImagegenError):
    """The database of attempts cannot be read or written."""

    kind = "ledger"
    stops_batch = True
    remedy = "Check IMAGEGEN_LEDGER_URL and the permissions of the ledger's folder, then run again."


class AttemptMovedError(LedgerError):
    """Another process has brought the attempt to another state meanwhile."""

    kind = "attempt_moved"
    stops_batch = False
    remedy = "Run again to see what came of it."


class LeaseLostError(LedgerError):
    """This process slept past the end of its lease, and another may be at the item now."""

    kind = "lease_lost"
    stops_batch = False
    remedy = "Run again: what was sent is collected, not bought again."


class InternalFaultError(ImagegenError):
    """A fault of this program: it costs one item, never the batch."""

    kind = "internal"
