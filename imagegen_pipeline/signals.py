"""Handling of Ctrl-C and SIGTERM: a batch stops between two items."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """Within the ``with``: the first signal calls ``stop``, each further one ``again``.

    The first signal raises no exception, so that no outcome is lost and no lock stays held. An
    ignored signal stays ignored. Outside of the main thread nothing is changed.
    """

    def __init__(self, stop: Callable[[], None], again: Callable[[], None]) -> None:
        self._stop = stop
        self._again = again
        self._before: dict[signal.Signals, Any] = {}
        self.happened = False
        self.first: int | None = None
        """The number of the first signal."""

    def __enter__(self) -> StopRequest:
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

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.happened:
            self._again()
            return
        self.happened, self.first = True, number
        self._stop()
