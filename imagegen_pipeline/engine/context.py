"""The engine's inputs: an image task, its batch's options, and the context that all tasks share."""

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
from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.providers.base import ProviderClient
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline.storage.archives import extract_picture, read_picture
from imagegen_pipeline.storage.pictures import PictureStore

LEAST_RUN_SECONDS = 5.0
"""RunPod accepts no shorter time limit, so a job may always run this long."""
MOST_DOWNLOADS, MOST_DISK_WRITES = 16, 4
"""Images that a process downloads at once, which also bounds the bytes in memory, and that it
decodes and writes at once.
"""


def _semaphore(count: int) -> Callable[[], threading.BoundedSemaphore]:
    return lambda: threading.BoundedSemaphore(count)


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One item of a batch: its key, kind, request, and where its image is stored.

    ``folder`` is a path as in the ledger; the time is appended to ``file_prefix``. ``publish`` is
    the fixed path of the current image, if the item has one. ``own`` is the fingerprint of the
    source's request when ``request`` differs from it for this one image: the image then counts
    for the source's request too. ``about`` goes into the image's sidecar file.
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
        """The fingerprint that the item's next request is compared with."""
        return self.own or self.request.fingerprint


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a job may wait in the provider's queue, that it may then run, and that a
    request may wait for its answer.
    """

    queue: float = 900
    run: float = 900
    answer: float = 130


@dataclass(frozen=True, slots=True)
class EngineContext:
    """Everything that generating images needs. ``provider`` opens a client on first use, so that
    work which only reuses needs no key. ``as_sent`` gives the task of an attempt as it was sent,
    None for an unknown item. ``downloads`` and ``disk_writes`` are held while an image is
    downloaded, and while it is decoded and written.
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
    downloads: threading.BoundedSemaphore = field(default_factory=_semaphore(MOST_DOWNLOADS))
    disk_writes: threading.BoundedSemaphore = field(default_factory=_semaphore(MOST_DISK_WRITES))

    def longest_cost(self, request: GenerationRequest) -> float | None:
        """The most that a request may cost, which is reserved for it; None without a price."""
        return self.prices.reserve(request, max(self.deadlines.run, LEAST_RUN_SECONDS))

    def has_picture(self, attempt: Attempt) -> bool:
        """Whether the attempt's image is on disk as recorded, or in an archive. A simulated one
        never counts in live work.

        Raises UnreadableError when its file, or the archive that it was moved into, cannot be
        read: it may be a paid image, so nothing is bought in its place.
        """
        return self._is_on_disk(attempt) or self._archived(attempt) is not None

    def extract_picture(self, attempt: Attempt) -> bool:
        """As ``has_picture``, and extract its file from the archive if it was moved there.

        Raises NameTakenError too, when another file has its path, and StoreError.
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
        """The archive that has the image, and its digest. The attempt is read again: its image
        may have been archived since.
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
    """The options of a batch.

    ``intent`` names the caller (a run, a command's invocation): a *regenerate* is bought once
    for each item and intent. ``seed_given`` keeps the request's seed in a regenerate, which
    otherwise draws a new one. ``concurrency`` is the number of requests in flight at once.
    ``delay`` is the least time between two submits, in seconds. ``collect_only`` sends nothing
    and collects the sent requests that are ready now.
    """

    intent: str = field(default_factory=lambda: uuid.uuid4().hex)
    regenerate: bool = False
    seed_given: bool = False
    concurrency: int = 8
    delay: float = 0.0
    collect_only: bool = False


@dataclass(frozen=True, slots=True)
class StopSignals:
    """Set to end a batch early: ``submits`` sends nothing more, ``waits`` waits for no job."""

    submits: threading.Event = field(default_factory=threading.Event)
    waits: threading.Event = field(default_factory=threading.Event)
