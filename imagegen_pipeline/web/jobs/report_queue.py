"""Reports the server's images to Dagster in a background thread, so that no request waits."""

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
"""The results table is refreshed when no outcome has come for this long."""
_log = logging.getLogger(__name__)


class ReportQueue:
    """A queue of outcomes to report. If the process dies, ``collect_sensor`` reports the rest."""

    def __init__(self, pipeline: Pipeline, *, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._pipeline = pipeline
        self._quiet_seconds = quiet_seconds
        self._queue: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="imagegen-report-queue", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, outcome: Outcome) -> None:
        """Report a successful outcome soon; others are ignored."""
        if outcome.ok:
            self._queue.put(outcome)

    def close(self, seconds: float) -> None:
        """Report what is queued, for at most ``seconds``."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        with DagsterReporter(self._pipeline, _log.warning, lasting=True) as reporter:
            while True:
                try:
                    outcome = self._queue.get(timeout=self._quiet_seconds)
                except queue.Empty:
                    reporter.refresh()
                    continue
                if outcome is None:
                    return
                reporter.tell(self._refreshed(outcome))

    def _refreshed(self, outcome: Outcome) -> Outcome:
        """The outcome with its attempt read again: another process may have reported it."""
        if outcome.attempt is None:
            return outcome
        try:
            (attempt,) = self._pipeline.ledger.attempts.get([outcome.attempt.id])
        except LedgerError:
            return outcome
        return replace(outcome, attempt=attempt)
