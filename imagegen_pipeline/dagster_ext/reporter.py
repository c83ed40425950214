"""What tells the project's Dagster instance of pictures that were made outside of it."""

from __future__ import annotations

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
    """Reports outcomes to the instance, opened at the first picture it has not heard of.

    Whatever ails Dagster costs no picture: ``say`` is told once, and ``imagegen sync`` catches
    up. A ``lasting`` one, in a server, tries again at the next picture. At its end the table of
    results is brought up to date, if anything has happened. Used by one thread at a time. Dagster
    is imported when it has something to hear.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        say: Callable[[str], None] = _log.warning,
        *,
        lasting: bool = False,
    ) -> None:
        self._pipeline = pipeline
        self._say = say
        self._lasting = lasting
        self._said = ""
        self._instance: Any = None
        self._reporter: RunlessReporter | None = None
        self._silent = False
        self._is_behind = False

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

    def tell(self, outcome: Outcome) -> None:
        """Report one outcome, if it is news to Dagster; raises nothing."""
        self._is_behind |= outcome.status is not Status.REUSED
        is_news = outcome.ok and outcome.attempt is not None and not outcome.attempt.reported
        if self._silent or not is_news:
            return
        try:
            reporter = self._open()
            if reporter is not None:
                reporter.report(outcome)
        except Exception as error:  # noqa: BLE001 - whatever ails Dagster must cost no picture
            self._silent = not self._lasting
            self._complain(
                f"Dagster cannot be told ({type(error).__name__}: {error}). The pictures are "
                "kept; run `imagegen sync` when it works again."
            )

    def refresh(self) -> None:
        """Bring the table of results up to date and report it, if anything has happened since it
        was last; raises nothing.
        """
        if not self._is_behind:
            return
        self._is_behind = False
        try:
            reporter = None if self._silent else self._open()
            if reporter is None:
                from imagegen_pipeline.results.dataset import refresh_dataset

                refresh_dataset(self._pipeline.ledger, self._pipeline.results_file)
            else:
                reporter.report_results()
        except Exception as error:  # noqa: BLE001 - the pictures are made, and the next run does it
            self._complain(
                f"The table of results may be out of date ({type(error).__name__}: {error}). The "
                "next run brings it up to date."
            )

    def _complain(self, sentence: str) -> None:
        if sentence != self._said:
            self._say(sentence)
        self._said = sentence

    def _open(self) -> RunlessReporter | None:
        """The reporter; None when there is no instance."""
        if self._reporter is None:
            from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter
            from imagegen_pipeline.dagster_ext.instance import open_instance

            self._instance = open_instance()
            if self._instance is None:
                self._silent = True
                return None
            self._reporter = RunlessReporter(self._instance, self._pipeline)
        return self._reporter
