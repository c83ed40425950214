"""Messages on Ctrl-C and SIGTERM; the second signal ends the process at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from imagegen_pipeline.signals import StopRequest

STOPPING = (
    "\nStopping: nothing more is sent. Requests in flight are completed, and the next run collects "
    "jobs that are still running. Press again to exit at once: an image in flight may then be "
    "billed and lost.\n"
)
LEFT = "\nExited at once. The next run, or `imagegen collect`, collects what was sent.\n"


def interruptible(stop: Callable[[], None]) -> StopRequest:
    """Within the ``with``: the first signal calls ``stop``, the second ends the process."""

    def first() -> None:
        _print(STOPPING)
        stop()

    return StopRequest(first, _exit_now)


def _exit_now() -> None:
    _print(LEFT)
    # A normal exit would wait for threads that wait for a provider, which may take minutes.
    os._exit(1)


def _print(text: str) -> None:
    # print() is not reentrant, and the signal may interrupt one.
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
