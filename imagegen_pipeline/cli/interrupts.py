"""Ctrl-C and SIGTERM end a batch between two items, not in the middle of one."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

STOPPING = (
    "\nStopping: what was sent is waited for, nothing more is sent. Again to leave at once: a "
    "picture under way may then be billed and lost.\n"
)
LEFT = "\nLeft at once. The next run goes on with what was sent, within a minute.\n"


class Interrupts:
    """Within the ``with``: the first signal calls ``stop``, the second ends the process.

    Nothing is raised into the work, so that no outcome is lost between two of its lines.
    A signal that the caller of this process has set to be ignored stays ignored.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._before: dict[signal.Signals, Any] = {}
        self.happened = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.happened:
            _say(LEFT)
            # Threads that wait for a service would hold a normal exit up for minutes.
            os._exit(1)
        self.happened = True
        _say(STOPPING)
        self._stop()


def _say(text: str) -> None:
    # print() may not be entered twice, and the signal may come in the middle of one.
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
