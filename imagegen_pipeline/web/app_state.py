"""What the routes work with: one for each server."""

from __future__ import annotations

from typing import cast

from fastapi import Request

from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web.api.change_events import Watcher
from imagegen_pipeline.web.gallery.stats_cache import StatsCache
from imagegen_pipeline.web.gallery.thumbnails import Thumbnails
from imagegen_pipeline.web.gallery.zip_downloads import Downloads
from imagegen_pipeline.web.jobs.collector import Collector
from imagegen_pipeline.web.jobs.job_manager import JobManager
from imagegen_pipeline.web.jobs.report_queue import ReportQueue
from imagegen_pipeline.web.options import ServeOptions

_NEWS_SECONDS = 20.0


class AppState:
    """The pipeline with what the server adds to it; ``app.state.gallery``."""

    def __init__(self, pipeline: Pipeline, options: ServeOptions) -> None:
        self.pipeline = pipeline
        self.options = options
        self.news = ReportQueue(pipeline)
        self.job_manager = JobManager(pipeline, self.news, max_waiting=options.max_waiting)
        self.collector = Collector(
            pipeline, self.job_manager, self.news, seconds=options.collect_seconds
        )
        self.watcher = Watcher(
            lambda: pipeline.ledger.gallery.last_change_seq(), seconds=options.poll_seconds
        )
        self.thumbnails = Thumbnails(pipeline.store)
        self.downloads = Downloads()
        self.sums = StatsCache(lambda: pipeline.ledger.gallery)

    def start(self) -> None:
        """Begin what goes on by itself; the ledger is opened now, so that its trouble is seen."""
        _ = self.pipeline.ledger, self.pipeline.engine_context
        self.news.start()
        self.collector.start()

    def stop(self) -> None:
        """Send nothing more and end all streams."""
        self.watcher.close()
        self.job_manager.close()
        self.collector.stop()

    def join(self) -> None:
        """Wait for the answers that are under way, then for what Dagster has to hear."""
        self.job_manager.join()
        self.collector.join()
        self.news.close(_NEWS_SECONDS)


def app_state_of(request: Request) -> AppState:
    """The server's own."""
    return cast(AppState, request.app.state.gallery)
