"""Reports images to the project's Dagster instance from outside of a run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.requests import Status

if TYPE_CHECKING:
    from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter
    from imagegen_pipeline.domain.requests import Outcome
    from imagegen_pipeline.pipeline import Pipeline

_log = logging.getLogger(__name__)


class DagsterReporter:
    """Reports outcomes to the instance, which it opens at the first unreported image.

    No fault of Dagster costs an image: ``log`` gets one message, and ``imagegen sync`` reports the
    rest. A ``persistent`` reporter, in a server, tries again at the next image. On exit it
    refreshes the results table if there were outcomes. Used by one thread at a time. Dagster is
    imported when there is something to report.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        log: Callable[[str], None] = _log.warning,
        *,
        persistent: bool = False,
    ) -> None:
        self._pipeline = pipeline
        self._log = log
        self._persistent = persistent
        self._last_message = ""
        self._instance: Any = None
        self._reporter: RunlessReporter | None = None
        self._disabled = False
        self._table_is_stale = False

    def __enter__(self) -> DagsterReporter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.refresh()
        finally:
            if self._instance is not None:
                self._instance.dispose()

    def prepare(self) -> None:
        """Open the instance and import what a report needs, ahead of the first outcome.

        Raises nothing: the report of an outcome logs the failure.
        """
        with contextlib.suppress(Exception):
            reporter = self._open()
            if reporter is not None:
                reporter.prepare()

    def report(self, outcome: Outcome) -> None:
        """Report one outcome unless Dagster has it; raises nothing."""
        self._table_is_stale |= outcome.status is not Status.REUSED
        unreported = outcome.ok and outcome.attempt is not None and not outcome.attempt.reported
        if self._disabled or not unreported:
            return
        try:
            reporter = self._open()
            if reporter is not None:
                reporter.report(outcome)
        except Exception as error:  # noqa: BLE001 - no fault of Dagster may cost an image
            self._disabled = not self._persistent
            self._log_once(
                f"Reporting to Dagster failed ({type(error).__name__}: {error}). The images are "
                "stored; run `imagegen sync` when Dagster works again."
            )

    def refresh(self) -> None:
        """Refresh and report the results table if there were outcomes since the last refresh;
        raises nothing.
        """
        if not self._table_is_stale:
            return
        self._table_is_stale = False
        try:
            reporter = None if self._disabled else self._open()
            if reporter is None:
                from imagegen_pipeline.results.dataset import refresh_dataset

                refresh_dataset(self._pipeline.ledger, self._pipeline.results_file)
            else:
                reporter.report_results()
        except Exception as error:  # noqa: BLE001 - the images are stored; the next run refreshes
            self._log_once(
                f"The results table may be out of date ({type(error).__name__}: {error}). The "
                "next run refreshes it."
            )

    def _log_once(self, message: str) -> None:
        if message != self._last_message:
            self._log(message)
        self._last_message = message

    def _open(self) -> RunlessReporter | None:
        """The reporter; None when there is no instance."""
        if self._reporter is None:
            from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter
            from imagegen_pipeline.dagster_ext.instance import open_instance

            self._instance = open_instance()
            if self._instance is None:
                self._disabled = True
                return None
            self._reporter = RunlessReporter(self._instance, self._pipeline)
        return self._reporter
