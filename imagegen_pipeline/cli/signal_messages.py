"""What a signal says on the terminal, and how the second one leaves at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from imagegen_pipeline.signals import StopRequest

STOPPING = (
    "\nStopping: nothing more is sent. Answers under way are waited for; a job at a service is "
    "left there, and the next run collects it. Again to leave at once: a picture under way may "
    "then be billed and lost.\n"
)
LEFT = "\nLeft at once. The next run, or `imagegen collect`, goes on with what was sent.\n"


def interruptible(stop: Callable[[], None]) -> StopRequest:
    """Within the ``with``: the first signal calls ``stop``, the second ends the process."""

    def first() -> None:
        _say(STOPPING)
        stop()

    return StopRequest(first, _leave)


def _leave() -> None:
    _say(LEFT)
    # Threads that wait for a service would hold a normal exit up for minutes.
    os._exit(1)


def _say(text: str) -> None:
    # print() may not be entered twice, and the signal may come in the middle of one.
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
