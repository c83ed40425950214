"""Brings home what earlier processes left at the services; it sends nothing new."""

from __future__ import annotations

import logging
import threading

from imagegen_pipeline.domain.errors import ImagegenError, SetupError
from imagegen_pipeline.domain.requests import ProviderName
from imagegen_pipeline.engine import Batch, generate
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.providers.simulator_process import ensure_simulator
from imagegen_pipeline.web.jobs.job_manager import JobManager
from imagegen_pipeline.web.jobs.report_queue import ReportQueue

_log = logging.getLogger(__name__)


class Collector:
    """Looks at once, and then every ``seconds``."""

    def __init__(
        self, pipeline: Pipeline, job_manager: JobManager, news: ReportQueue, *, seconds: float
    ) -> None:
        self._pipeline = pipeline
        self._job_manager = job_manager
        self._news = news
        self._seconds = seconds
        self._ended = threading.Event()
        self._batch: Batch | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="imagegen-collector", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a job that still runs is left."""
        with self._lock:
            self._ended.set()
            if self._batch is not None:
                self._batch.stop(leave_jobs=True)

    def join(self) -> None:
        """Wait for the answers that are under way."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._look()
            except ImagegenError as error:
                _log.warning("What is outstanding could not be collected: %s", error.sentence)
            except Exception:  # noqa: BLE001 - the next look may fare better
                _log.exception("imagegen: a fault of this program while collecting")
            self._ended.wait(self._seconds)

    def _look(self) -> None:
        given = self._pipeline.settings
        if given.simulator and given.simulator_url is None:
            ensure_simulator(given.data_dir)  # it ends when nobody asks for a quarter of an hour
        batch = self._left_by_others()
        if batch is None:
            return
        with self._lock:
            self._batch = batch
            if self._ended.is_set():
                batch.stop(leave_jobs=True)
        for outcome in batch:
            self._news.add(outcome)

    def _left_by_others(self) -> Batch | None:
        """A batch of what no job of this process is at and whose service has its key."""
        pipeline, ours = self._pipeline, self._job_manager.keys_under_way()
        newest = {
            one.item_key: one
            for one in pipeline.ledger.attempts.unfinished()
            if one.item_key not in ours and self._has_key(one.provider)
        }
        wanted = [w for w in map(pipeline.engine_context.as_sent, newest.values()) if w is not None]
        if not wanted:
            return None
        return generate(pipeline.engine_context, wanted, pipeline.order(collect_only=True))

    def _has_key(self, provider: ProviderName) -> bool:
        try:
            self._pipeline.provider(provider)
        except SetupError:
            return False
        return True
