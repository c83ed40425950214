"""Who goes first: what a service waits for comes before what has time.

When a service has made 64 pictures at once, 64 threads would download, decode and write them down
while its places stand empty. So a request that is about to leave is let pass by all the rest, and
pictures are brought home a few at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOST_DOWNLOADS = 16
"""Pictures that are brought home at once; it also bounds how many are in memory."""
MOST_KEPT = 4
"""Those of them that are decoded and written at once."""
_PATIENCE_SECONDS = 0.5
"""How long one lets others pass: nothing that is begun waits for ever."""


class IoLimiter:
    """One for everything that a process makes."""

    def __init__(self) -> None:
        self._downloads = threading.BoundedSemaphore(MOST_DOWNLOADS)
        self._keeping = threading.BoundedSemaphore(MOST_KEPT)
        self._counting = threading.Lock()
        self._about_to_send = 0
        self._calm = threading.Event()
        self._calm.set()

    @contextmanager
    def about_to_send(self) -> Iterator[None]:
        """Be let pass."""
        with self._counting:
            self._about_to_send += 1
            self._calm.clear()
        try:
            yield
        finally:
            with self._counting:
                self._about_to_send -= 1
                if not self._about_to_send:
                    self._calm.set()

    def let_pass(self) -> None:
        """Wait while somebody is about to send."""
        self._calm.wait(_PATIENCE_SECONDS)

    @contextmanager
    def coming_home(self) -> Iterator[None]:
        """A place for a picture from its download until it is written down."""
        with self._downloads:
            self.let_pass()
            yield

    @contextmanager
    def being_kept(self) -> Iterator[None]:
        """A place for a picture while it is decoded, written to disk and written down."""
        with self._keeping:
            self.let_pass()
            yield
