"""Tells Dagster of what the server made, in a thread of its own: no picture waits for it."""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import replace

from imagegen_pipeline.dagster_ext.reporter import DagsterReporter
from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.domain.requests import Outcome
from imagegen_pipeline.pipeline import Pipeline

QUIET_SECONDS = 60.0
"""When nothing has come for so long, the table of results is brought up to date."""
_log = logging.getLogger(__name__)


class ReportQueue:
    """A queue of outcomes that Dagster has not heard of. What is left in it when the process
    dies is told by Dagster's own ``collect_sensor``.
    """

    def __init__(self, pipeline: Pipeline, *, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._pipeline = pipeline
        self._quiet_seconds = quiet_seconds
        self._queue: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="imagegen-news", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def add(self, outcome: Outcome) -> None:
        """Tell of this one soon."""
        if outcome.ok:
            self._queue.put(outcome)

    def close(self, seconds: float) -> None:
        """Tell what is in the queue, for no longer than ``seconds``."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        with DagsterReporter(self._pipeline, _log.warning, persistent=True) as reporter:
            while True:
                try:
                    outcome = self._queue.get(timeout=self._quiet_seconds)
                except queue.Empty:
                    reporter.refresh()
                    continue
                if outcome is None:
                    return
                reporter.report(self._as_it_is(outcome))

    def _as_it_is(self, outcome: Outcome) -> Outcome:
        """With its attempt as it is now: what was reused may have been told of meanwhile."""
        if outcome.attempt is None:
            return outcome
        try:
            (attempt,) = self._pipeline.ledger.attempts.get([outcome.attempt.id])
        except LedgerError:
            return outcome
        return replace(outcome, attempt=attempt)
