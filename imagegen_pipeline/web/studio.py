"""What the routes work with: one for each server."""

from __future__ import annotations

from typing import cast

from fastapi import Request

from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web.collector import Collector
from imagegen_pipeline.web.desk import Desk
from imagegen_pipeline.web.downloads import Downloads
from imagegen_pipeline.web.live import Watcher
from imagegen_pipeline.web.news import News
from imagegen_pipeline.web.options import ServeOptions
from imagegen_pipeline.web.sums import Sums
from imagegen_pipeline.web.thumbnails import Thumbnails

_NEWS_SECONDS = 20.0


class Studio:
    """The pipeline with what the server adds to it; ``app.state.gallery``."""

    def __init__(self, pipeline: Pipeline, options: ServeOptions) -> None:
        self.pipeline = pipeline
        self.options = options
        self.news = News(pipeline)
        self.desk = Desk(pipeline, self.news, max_waiting=options.max_waiting)
        self.collector = Collector(pipeline, self.desk, self.news, seconds=options.collect_seconds)
        self.watcher = Watcher(
            lambda: pipeline.ledger.gallery.last_touched(), seconds=options.poll_seconds
        )
        self.thumbnails = Thumbnails(pipeline.store)
        self.downloads = Downloads()
        self.sums = Sums(lambda: pipeline.ledger.gallery)

    def start(self) -> None:
        """Begin what goes on by itself; the ledger is opened now, so that its trouble is seen."""
        _ = self.pipeline.ledger, self.pipeline.workshop
        self.news.start()
        self.collector.start()

    def stop(self) -> None:
        """Send nothing more and end all streams."""
        self.watcher.close()
        self.desk.close()
        self.collector.stop()

    def join(self) -> None:
        """Wait for the answers that are under way, then for what Dagster has to hear."""
        self.desk.join()
        self.collector.join()
        self.news.close(_NEWS_SECONDS)


def studio_of(request: Request) -> Studio:
    """The server's own."""
    return cast(Studio, request.app.state.gallery)
