"""Requests to a provider, attempts to fulfil them, and their outcomes."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Literal

ProviderName = str
"""The name under which a provider is registered."""
ItemKind = Literal["prompt", "actor"]
"""What an item, an attempt or an image is for; independent of the provider."""
DEFAULT_PROVIDERS: dict[ItemKind, ProviderName] = {"prompt": "duomi", "actor": "runpod"}
"""The provider of each kind of item when no setting chooses another one."""
RANDOM_SEED = -1
LARGEST_DRAWN_SEED = 2**32 - 1
"""Accepted by Duomi (seeds to 9,999,999,999) and by ComfyUI (to 2**64-1)."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """The request for one image: size in pixels, the seed as requested (-1 stays -1 here)."""

    provider: ProviderName
    model: str
    prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    negative_prompt: str = ""
    workflow_digest: str = ""

    @property
    def fingerprint(self) -> str:
        """The request's digest: equal requests, equal fingerprints (SHA-256, hexadecimal)."""
        text = json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def size(self) -> str:
        """``WIDTHxHEIGHT``, as Duomi writes it."""
        return f"{self.width}x{self.height}"

    @property
    def seed_is_fixed(self) -> bool:
        """Whether equal requests give the same image."""
        return self.seed != RANDOM_SEED

    def with_seed(self, seed: int) -> GenerationRequest:
        """The same request with its seed resolved."""
        return replace(self, seed=seed)

    def as_dict(self) -> dict[str, Any]:
        """The request as plain data, for the ledger and sidecars."""
        return {name: getattr(self, name) for name in _FIELDS}


_FIELDS = tuple(field.name for field in fields(GenerationRequest))
"""Read a dozen times for each image, and ``asdict`` would copy every value."""


def draw_seed() -> int:
    """A random seed."""
    return random.SystemRandom().randint(0, LARGEST_DRAWN_SEED)


class State(StrEnum):
    """The states of an attempt; each is durable before the next begins."""

    PLANNED = "planned"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    STORED = "stored"
    FAILED = "failed"
    UNKNOWN = "unknown"
    HELD = "held"
    EXPIRED = "expired"


OPEN_STATES = (State.PLANNED, State.SUBMITTING, State.SUBMITTED, State.COMPLETED)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to get one image for one item: a row of the ledger.

    ``kind`` is what the image is for, ``provider`` who was asked for it. ``fingerprint`` is that of
    the item's request; ``sent_fingerprint`` that of the sent one, its seed resolved. Times are
    seconds since the epoch (UTC), durations seconds, money in the currency of the price table;
    ``cost`` None means unknown, and ``reserved`` was set aside when it was sent under a budget.
    ``verdict`` (approved, rejected) is a person's review of this image. ``measures`` are the values
    that its checks use (None if an older program stored it). ``archive`` is the archive that its
    file was moved into.
    """

    id: int
    item_key: str
    kind: ItemKind
    provider: ProviderName
    model: str
    fingerprint: str
    sent_fingerprint: str
    request: dict[str, Any]
    seed: int
    state: State
    intent: str
    regenerate: bool
    folder: str
    file_stem: str
    simulated: bool
    created_at: float
    submitted_at: float | None = None
    job_id: str | None = None
    endpoint: str | None = None
    result_url: str | None = None
    path: str | None = None
    digest: str | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    cost: float | None = None
    reserved: float | None = None
    queue_seconds: float | None = None
    run_seconds: float | None = None
    finished_at: float | None = None
    error_kind: str | None = None
    error: str | None = None
    remedy: str | None = None
    warnings: tuple[str, ...] = ()
    shared_from: int | None = None
    possible_double_charge: bool = False
    reported: bool = False
    verdict: str | None = None
    verdict_at: float | None = None
    measures: dict[str, Any] | None = None
    archive: str | None = None

    @property
    def seconds(self) -> float | None:
        """Seconds from its creation to its end."""
        return None if self.finished_at is None else self.finished_at - self.created_at

    @property
    def reference(self) -> str:
        """A text that identifies this attempt to a provider; no other ledger has the same."""
        return f"{self.intent}:{self.id}"

    @property
    def sent_request(self) -> GenerationRequest:
        """The request to send, its seed resolved."""
        return GenerationRequest(**{**self.request, "seed": self.seed})


class Status(StrEnum):
    """The result of an item in a batch."""

    MADE = "made"
    REUSED = "reused"
    SHARED = "shared"
    FAILED = "failed"
    HELD = "held"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one item: exactly one for each item of a batch.

    ``skipped``: the batch was stopped before the item had its image; a job that was sent is
    collected by the next run. ``path`` is the image's absolute path; ``cost`` is the cost of this
    outcome (0 if reused or shared).
    """

    item_key: str
    status: Status
    attempt: Attempt | None = None
    path: str | None = None
    cost: float | None = 0.0
    error_kind: str | None = None
    error: str | None = None
    remedy: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the item has its image."""
        return self.status in (Status.MADE, Status.REUSED, Status.SHARED)

    @property
    def reason(self) -> str:
        """The error's sentence and remedy."""
        return f"{self.error or ''} {self.remedy or ''}".strip()
