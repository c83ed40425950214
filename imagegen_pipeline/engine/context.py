"""What the engine works with, and what is asked of it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from imagegen_pipeline.clock import Clock, SystemClock
from imagegen_pipeline.domain.limits import Budget, Limits
from imagegen_pipeline.domain.prices import Prices
from imagegen_pipeline.domain.requests import Attempt, GenerationRequest, ItemKind, ProviderName
from imagegen_pipeline.engine.io_limiter import IoLimiter
from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.providers.base import ProviderClient
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline.storage.archives import extract_picture, read_picture
from imagegen_pipeline.storage.pictures import PictureStore

LEAST_RUN_SECONDS = 5.0
"""RunPod lets no time limit be shorter, so a job may always run so long."""


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One item of a batch: its key, kind, request, and where its image is stored.

    ``folder`` is as the ledger writes paths; ``file_prefix`` gets the time behind it.
    ``publish`` is the fixed path of the current picture, where there is one. ``own`` is the
    fingerprint of what the item's source asks for, where ``request`` departs from it for
    once: the picture then counts for the source's request too.
    """

    key: str
    kind: ItemKind
    request: GenerationRequest
    folder: str
    file_prefix: str
    publish: str | None = None
    own: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def item_fingerprint(self) -> str:
        """What the ledger compares the next request of this item with."""
        return self.own or self.request.fingerprint


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a job may wait in the service's queue, and then run; and that a request
    may be without its answer.
    """

    queue: float = 900
    run: float = 900
    answer: float = 130


@dataclass(frozen=True, slots=True)
class EngineContext:
    """Everything a picture is made with. ``provider`` opens a client when one is first needed,
    so that work which only reuses needs no key. ``as_sent`` gives the item of an attempt as it
    was when that was sent.
    """

    ledger: Ledger
    store: PictureStore
    provider: Callable[[ProviderName], ProviderClient]
    downloader: Downloader
    prices: Prices = field(default_factory=lambda: Prices({}, {}))
    deadlines: Deadlines = field(default_factory=Deadlines)
    on_unknown: Literal["resubmit", "hold"] = "resubmit"
    as_sent: Callable[[Attempt], ImageTask | None] = field(default=lambda _attempt: None)
    limits: Callable[[ProviderName], Limits] = field(default=lambda _provider: Limits())
    budget: Budget = field(default_factory=Budget)
    simulated: bool = False
    clock: Clock = field(default_factory=SystemClock)
    traffic: IoLimiter = field(default_factory=IoLimiter)

    def longest_cost(self, request: GenerationRequest) -> float | None:
        """What a request may cost at most, as it is reserved; None when no price is known."""
        return self.prices.reserve(request, max(self.deadlines.run, LEAST_RUN_SECONDS))

    def has_picture(self, attempt: Attempt) -> bool:
        """Whether the attempt's picture lies on disk as recorded, or in an archive, and counts
        here: a simulated one never counts in live work.

        Raises UnreadableError when its file, or the archive that it was moved into, cannot be
        read: it may be a paid picture, so nothing is bought in its place.
        """
        return self._is_on_disk(attempt) or self._archived(attempt) is not None

    def extract_picture(self, attempt: Attempt) -> bool:
        """As ``has_picture``; its file is at its place then, taken out of its archive if need be.

        Raises NameTakenError too, when another file lies there, and StoreError.
        """
        if self._is_on_disk(attempt):
            return True
        archived = self._archived(attempt)
        if archived is None:
            return False
        archive, digest = archived
        extract_picture(archive, self.store.absolute(attempt.path or ""), digest)
        return True

    def _is_on_disk(self, attempt: Attempt) -> bool:
        if attempt.path is None or attempt.digest is None or not self._counts(attempt):
            return False
        return self.store.matches(attempt.path, attempt.digest)

    def _counts(self, attempt: Attempt) -> bool:
        return self.simulated or not attempt.simulated

    def _archived(self, attempt: Attempt) -> tuple[Path, str] | None:
        """The archive that has the picture whole, and its digest. It may have been put away since
        the attempt was read, so the ledger is asked anew.
        """
        if attempt.path is None or not self._counts(attempt):
            return None
        for now in self.ledger.attempts.get([attempt.id]):
            if now.archive is not None and now.digest is not None:
                archive = self.store.absolute(now.archive)
                read_picture(archive, now.digest)
                return archive, now.digest
        return None


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How a batch is to be made.

    ``intent`` names who asks (a run, a command's invocation): a *regenerate* is bought once
    for each item and intent. ``seed_given`` keeps the request's seed in a regenerate, which
    otherwise draws a new one. ``concurrency`` is how many requests are under way at the service
    at once. ``delay`` is the least time between two submits, in seconds.
    ``collect_only`` sends nothing: it brings home what was sent and is ready now.
    """

    intent: str = field(default_factory=lambda: uuid.uuid4().hex)
    regenerate: bool = False
    seed_given: bool = False
    concurrency: int = 8
    delay: float = 0.0
    collect_only: bool = False


@dataclass(frozen=True, slots=True)
class StopSignals:
    """What ends a batch early: no more ``submits``, and no more ``waits`` for what was sent."""

    submits: threading.Event = field(default_factory=threading.Event)
    waits: threading.Event = field(default_factory=threading.Event)
