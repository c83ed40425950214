"""The state that a server's routes share."""

from __future__ import annotations

from typing import cast

from fastapi import Request

from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web.api.change_events import ChangeWatcher
from imagegen_pipeline.web.gallery.stats_cache import StatsCache
from imagegen_pipeline.web.gallery.thumbnails import Thumbnails
from imagegen_pipeline.web.gallery.zip_downloads import Downloads
from imagegen_pipeline.web.jobs.collector import Collector
from imagegen_pipeline.web.jobs.job_manager import JobManager
from imagegen_pipeline.web.jobs.report_queue import ReportQueue
from imagegen_pipeline.web.options import ServeOptions

_REPORT_SECONDS = 20.0


class AppState:
    """The pipeline and the server's own services; stored as ``app.state.app_state``."""

    def __init__(self, pipeline: Pipeline, options: ServeOptions) -> None:
        self.pipeline = pipeline
        self.options = options
        self.report_queue = ReportQueue(pipeline)
        self.job_manager = JobManager(pipeline, self.report_queue, max_waiting=options.max_waiting)
        self.collector = Collector(
            pipeline, self.job_manager, self.report_queue, seconds=options.collect_seconds
        )
        self.watcher = ChangeWatcher(
            lambda: pipeline.ledger.gallery.last_change_seq(), seconds=options.poll_seconds
        )
        self.thumbnails = Thumbnails(pipeline.store)
        self.downloads = Downloads()
        self.stats = StatsCache(lambda: pipeline.ledger.gallery)

    def start(self) -> None:
        """Start the background threads. The ledger is opened first, so that its errors show."""
        _ = self.pipeline.ledger, self.pipeline.engine_context
        self.report_queue.start()
        self.collector.start()

    def stop(self) -> None:
        """Send nothing more to providers and end all event streams."""
        self.watcher.close()
        self.job_manager.close()
        self.collector.stop()

    def join(self) -> None:
        """Wait for running jobs, then for the reports to Dagster."""
        self.job_manager.join()
        self.collector.join()
        self.report_queue.close(_REPORT_SECONDS)


def app_state_of(request: Request) -> AppState:
    """The state of the server that received the request."""
    return cast(AppState, request.app.state.app_state)
