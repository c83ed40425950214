"""Reports a command's outcomes to Dagster in the background, so that no image waits for it."""

from __future__ import annotations

import contextlib
import queue
import threading
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.dagster_ext.reporter import DagsterReporter
    from imagegen_pipeline.domain.requests import Outcome
    from imagegen_pipeline.pipeline import Pipeline

_FIRST_CHECK, _LONGEST_CHECK = 0.1, 2.0
"""Seconds between two checks whether a request is in flight."""


class _CommandFailedError(Exception):
    """The command ends with an exception: the results table is not refreshed."""


class BackgroundReporter:
    """Reports outcomes to Dagster in a thread of its own. Use it in a ``with``.

    Dagster takes over a second to import and open. The thread does so while the first request waits
    for its response, and not at all if every image is reused. Leaving the ``with`` waits until all
    outcomes are reported and the results table is refreshed.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="imagegen-dagster", daemon=True)

    def __enter__(self) -> BackgroundReporter:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._failed = kind is not None
        self._outcomes.put(None)
        self._thread.join()

    def report(self, outcome: Outcome) -> None:
        """Queue an outcome to be reported."""
        self._outcomes.put(outcome)

    def _run(self) -> None:
        from imagegen_pipeline.dagster_ext.reporter import DagsterReporter

        reporter = DagsterReporter(self._pipeline, partial(click.echo, err=True))
        outcome = self._first_outcome(reporter)
        with contextlib.suppress(_CommandFailedError), reporter:
            while outcome is not None:
                reporter.report(outcome)
                outcome = self._outcomes.get()
            if self._failed:
                raise _CommandFailedError

    def _first_outcome(self, reporter: DagsterReporter) -> Outcome | None:
        """Wait for the first outcome; open Dagster meanwhile if a request is in flight."""
        pause = _FIRST_CHECK
        while True:
            try:
                return self._outcomes.get(timeout=pause)
            except queue.Empty:
                pause = min(2 * pause, _LONGEST_CHECK)
            if self._has_sent():
                # Decoding comes first: the image is printed before it is reported.
                import PIL.Image  # noqa: F401

                reporter.prepare()
                return self._outcomes.get()

    def _has_sent(self) -> bool:
        from imagegen_pipeline.domain.errors import LedgerError

        try:
            return bool(self._pipeline.ledger.attempts.unfinished_keys())
        except LedgerError:  # the batch reports it
            return False
