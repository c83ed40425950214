"""``collect_sensor``: collects finished jobs after a crash, a stop, or a failed download.

On by default: it submits nothing and costs nothing.
"""

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import dagster as dg

from imagegen_pipeline.defs.resources import PipelineResource

if TYPE_CHECKING:
    from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter
    from imagegen_pipeline.domain.requests import Outcome
    from imagegen_pipeline.pipeline import Pipeline

SECONDS_BETWEEN_TICKS = 60
MAX_ATTEMPTS_PER_TICK = 200
"""The next tick continues after these."""
_STOP_AFTER_SECONDS, _TIMEOUT_SECONDS = 30.0, 10.0
"""When a tick stops starting new work, and how long it waits for one response. Dagster allows a
tick 60 seconds.
"""
_REPORT_AFTER_SECONDS = 300.0
"""A run reports its own images within this time; later, the sensor does."""


@dg.sensor(
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Collects the results of submitted jobs that have finished, and reports images "
    "that Dagster does not have. Submits nothing and costs nothing.",
)
def collect_sensor(
    context: dg.SensorEvaluationContext, pipeline: PipelineResource
) -> dg.SensorResult:
    """Collects finished jobs and reports unreported images."""
    from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter

    work = pipeline.get().with_timeouts(_TIMEOUT_SECONDS)
    reporter = RunlessReporter(context.instance, work)
    missed = reporter.report_missed(before=time.time() - _REPORT_AFTER_SECONDS)
    after = int(context.cursor or 0)
    unfinished = work.ledger.attempts.unfinished(after=after, limit=MAX_ATTEMPTS_PER_TICK)
    outcomes = _collect(work, reporter, after) if unfinished else []
    for outcome in outcomes:
        context.log.info(f"{outcome.item_key} {outcome.status}: {outcome.path or outcome.reason}")
    last = unfinished[-1].id if len(unfinished) == MAX_ATTEMPTS_PER_TICK else 0
    return dg.SensorResult(skip_reason=_summary(outcomes, missed), cursor=str(last))


def _collect(work: "Pipeline", reporter: "RunlessReporter", after: int) -> "list[Outcome]":
    from imagegen_pipeline.domain.requests import Status

    outcomes = []
    with work.collect(after=after, limit=MAX_ATTEMPTS_PER_TICK) as batch:
        timer = threading.Timer(_STOP_AFTER_SECONDS, batch.stop)
        timer.start()
        try:
            for outcome in batch:
                # A reused image was collected by another process, which reports it.
                if outcome.status is not Status.REUSED:
                    reporter.report(outcome)
                outcomes.append(outcome)
        finally:
            timer.cancel()
    return outcomes


def _summary(outcomes: "list[Outcome]", missed: int) -> str:
    counts = Counter("collected" if outcome.ok else str(outcome.status) for outcome in outcomes)
    words = {"skipped": "still running or leased elsewhere"}
    parts = [f"{number} {words.get(status, status)}" for status, number in counts.items()]
    if missed:
        parts.append(f"{missed} reported late")
    if not parts:
        return "Nothing is outstanding."
    reason = next((one.reason for one in outcomes if not one.ok), "")
    return f"{', '.join(parts)}. {reason}".strip()
