"""Response schemas for the OpenAPI document; the routes build the bodies as plain data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

KEY_PATTERN = "^[A-Za-z0-9_-]+$"
_UNSEEN = (
    r"\s\u0000-\u001f\u007f-\u009f\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    r"\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff\ufff9-\ufffb"
)
"""Whitespace, control and format characters, as in ``domain.prompt_text``."""
TEXT_PATTERN = rf"^[^\u0000]*[^{_UNSEEN}][^\u0000]*$"
"""A text with at least one visible character."""


class Problem(BaseModel):
    """An error."""

    status: Literal["FAILED"]
    error: str = Field(description="One or two sentences: the cause and the remedy.")
    warnings: list[str]
    filename: str | None = None


class JobResults(BaseModel):
    """Images as the provider sent them."""

    images: list[str] = Field(description="PNG in base64.")


class Output(BaseModel):
    """The provider's part of the response."""

    job_results: JobResults


class Metadata(BaseModel):
    """The parameters of the image."""

    actor_name: str
    description: str
    width: int
    height: int
    steps: int
    prompt: str = Field(description="The whole prompt.")


class BaseImage(BaseModel):
    """A base image."""

    status: Literal["COMPLETED"]
    output: Output
    localPath: str  # noqa: N815 - the users' name
    filename: str
    seed: int = Field(description="The seed that was used.")
    metadata: Metadata
    warnings: list[str]
    jobId: str | None = None  # noqa: N815
    kind: str | None = None


class Accepted(BaseModel):
    """A base image that is being generated."""

    status: Literal["IN_QUEUE", "IN_PROGRESS"]
    jobId: str  # noqa: N815
    kind: Literal["base-image"]
    job: str = Field(description="The job's address.")
    warnings: list[str]


class FailedJob(Problem):
    """A base image that could not be generated."""

    jobId: str  # noqa: N815
    kind: Literal["base-image"]


class ItemOutcome(BaseModel):
    """The outcome of one item; ``cost`` null: unknown, it may have been billed."""

    key: str
    status: Literal["made", "reused", "shared", "failed", "held", "skipped"]
    error: str | None
    remedy: str | None
    cost: float | None


class Generation(BaseModel):
    """A job of many images."""

    jobId: str  # noqa: N815
    kind: Literal["generation"]
    job: str
    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "STOPPED"]
    total: int
    made: int
    reused: int
    failed: int
    waiting: int
    cost: float | None
    outcomes: list[ItemOutcome]
    warnings: list[str]


class Card(BaseModel):
    """An item with its current image and its newest attempt. Times: seconds since the epoch."""

    key: str
    kind: Literal["prompt", "actor"]
    source: str
    location: str
    text: str
    gone: bool
    state: Literal["waiting", "running", "done", "failed", "held", "approved", "rejected"]
    change_seq: int
    verdict: Literal["approved", "rejected"] | None
    verdict_at: float | None
    attempt: int | None
    width: int | None
    height: int | None
    seed: int | None
    model: str | None
    cost: float | None
    shared: bool
    simulated: bool
    made_at: float | None
    last: int | None
    last_state: str | None
    last_at: float | None
    error_kind: str | None
    error: str | None
    remedy: str | None
    provider: str | None = Field(
        description="Of its current image, else of its last attempt; null when it has none."
    )
    picture: str | None = Field(description="The address of the original.")
    thumbnail: str | None
    page: str = Field(description="The address of its page.")


class Pictures(BaseModel):
    """A page of matching cards, and the number of items in each state."""

    total: int
    counts: dict[str, int]
    pictures: list[Card]


class AttemptSchema(BaseModel):
    """One attempt to generate an item's image."""

    id: int
    state: str
    provider: str
    model: str
    seed: int
    request: dict[str, Any]
    created_at: float
    submitted_at: float | None
    finished_at: float | None
    queue_seconds: float | None
    run_seconds: float | None
    width: int | None
    height: int | None
    bytes: int | None
    cost: float | None
    verdict: Literal["approved", "rejected"] | None
    verdict_at: float | None
    shared_from: int | None
    possible_double_charge: bool
    error_kind: str | None
    error: str | None
    remedy: str | None
    warnings: list[str]
    picture: str | None
    thumbnail: str | None


class Picture(BaseModel):
    """One item with all its attempts, newest first."""

    card: Card
    attempts: list[AttemptSchema]


class KeyWithAttempt(BaseModel):
    """A matching item with the attempt of its current image."""

    key: str
    attempt: int | None


class Keys(BaseModel):
    """All matching items, in the gallery's order."""

    pictures: list[KeyWithAttempt]


class Changed(BaseModel):
    """The number of attempts that changed."""

    changed: int


class CostEstimateSchema(BaseModel):
    """What a generation would do and cost; ``sentence`` says it in words."""

    make: int
    by_time: int
    unpriced: int
    reuse: int
    refused: int
    reasons: list[str]
    cost: float | None
    reserve: float | None
    spent_today: float
    budget_day: float | None
    budget_run: float | None
    sentence: str


class Download(BaseModel):
    """The address of a ZIP file, valid for ten minutes."""

    href: str
    pictures: int
    missing: int
    bytes: int


class CountSchema(BaseModel):
    """A count in total and of today (UTC)."""

    all: int
    today: int


class StatsSchema(BaseModel):
    """Images made and money spent."""

    made: CountSchema
    shared: CountSchema
    reused: CountSchema
    failed: CountSchema
    spent_today: float
    reserved_today: float
    unpriced_today: int


class SourceFault(BaseModel):
    """A location that cannot be read."""

    location: str
    message: str
    remedy: str


class Problems(BaseModel):
    """All problems of the sources."""

    problems: list[SourceFault]


class Health(BaseModel):
    """The server is running."""

    status: Literal["ok"]


BASE_IMAGE, ACCEPTED, FAILED_JOB, GENERATION = BaseImage, Accepted, FailedJob, Generation
_REASONS = {
    400: "The request is invalid.",
    401: "The token is missing or wrong.",
    403: "A page of another site may not do this.",
    404: "Not found.",
    405: "The address does not support that method.",
    408: "The request was not complete in time.",
    409: "The item has changed, or allows no such decision. Reload the page.",
    413: "The request is too large.",
    415: "The body is not JSON.",
    416: "The range is not within the file.",
    421: "The server is not known by that host name.",
    429: "Too many requests; `Retry-After` says when to try again.",
    500: "An internal error.",
    502: "The provider failed, or could not be reached.",
    503: "The set-up, the disk or the ledger prevents it.",
}
_ANYWHERE = (401, 403, 421, 429)


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """A route's error responses."""
    return {
        code: {"model": Problem, "description": _REASONS[code]}
        for code in sorted({*codes, *_ANYWHERE})
    }
