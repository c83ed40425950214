"""The least that a picture takes: request, download over a kept connection, decode once, write.

No ledger, digest, metrics, preview or events: the difference to this is the pipeline's cost.
"""

from __future__ import annotations

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from PIL import Image

from benchmarks.plain_client import make_picture, prompt_texts
from benchmarks.simulated_provider import SimulatedProvider


class BareLoop:
    """Makes pictures of a size (width, height) in a folder; one session for each thread.

    ``flush``: each file is on the disk before the next picture is asked for, as a paid one should
    be.
    """

    def __init__(
        self,
        provider: SimulatedProvider,
        folder: Path,
        size: tuple[int, int],
        *,
        flush: bool = False,
    ) -> None:
        self._address = provider.url
        self._folder = folder
        self._size = size
        self._flush = flush
        self._of_thread = threading.local()

    def keep(self, number: int, text: str) -> None:
        """One picture."""
        if not hasattr(self._of_thread, "session"):
            self._of_thread.session = requests.Session()
        content = make_picture(self._of_thread.session, self._address, text, self._size)
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
        with (self._folder / f"{number}.png").open("wb") as file:
            file.write(content)
            if self._flush:
                file.flush()
                os.fsync(file.fileno())

    def one_by_one(self, count: int) -> None:
        """All, in one thread."""
        for number, text in enumerate(prompt_texts(count)):
            self.keep(number, text)

    def in_a_pool(self, count: int, threads: int) -> None:
        """All, in so many threads."""
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(self.keep, range(count), prompt_texts(count)))
