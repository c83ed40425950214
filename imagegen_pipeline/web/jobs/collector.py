"""Collects images that earlier processes requested and did not fetch; it requests nothing new."""

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
    """Collects at once, and then every ``seconds``, in a thread of its own."""

    def __init__(
        self,
        pipeline: Pipeline,
        job_manager: JobManager,
        report_queue: ReportQueue,
        *,
        seconds: float,
    ) -> None:
        self._pipeline = pipeline
        self._job_manager = job_manager
        self._report_queue = report_queue
        self._seconds = seconds
        self._ended = threading.Event()
        self._batch: Batch | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="imagegen-collector", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop collecting; jobs that still run stay at their providers."""
        with self._lock:
            self._ended.set()
            if self._batch is not None:
                self._batch.stop(leave_jobs=True)

    def join(self) -> None:
        """Wait for downloads in progress."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._collect()
            except ImagegenError as error:
                _log.warning("Outstanding images could not be collected: %s", error.sentence)
            except Exception:  # noqa: BLE001 - the next round may succeed
                _log.exception("imagegen: internal error while collecting")
            self._ended.wait(self._seconds)

    def _collect(self) -> None:
        settings = self._pipeline.settings
        if settings.simulator and settings.simulator_url is None:
            ensure_simulator(settings.data_dir)  # it exits after a quarter of an hour without calls
        batch = self._outstanding_batch()
        if batch is None:
            return
        with self._lock:
            self._batch = batch
            if self._ended.is_set():
                batch.stop(leave_jobs=True)
        for outcome in batch:
            self._report_queue.add(outcome)

    def _outstanding_batch(self) -> Batch | None:
        """Unfinished attempts of other processes whose provider has a key; None without any."""
        pipeline, active = self._pipeline, self._job_manager.active_keys()
        newest = {
            attempt.item_key: attempt
            for attempt in pipeline.ledger.attempts.unfinished()
            if attempt.item_key not in active and self._has_key(attempt.provider)
        }
        as_sent = map(pipeline.engine_context.as_sent, newest.values())
        tasks = [task for task in as_sent if task is not None]
        if not tasks:
            return None
        return generate(pipeline.engine_context, tasks, pipeline.order(collect_only=True))

    def _has_key(self, provider: ProviderName) -> bool:
        try:
            self._pipeline.provider(provider)
        except SetupError:
            return False
        return True
