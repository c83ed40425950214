"""The sensor that brings home what was sent: after a crash, a stop, or a failed download.

It is on by default, since it sends nothing and costs nothing.
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
CHUNK = 200
"""Attempts that one tick looks at; the next tick goes on behind them."""
_TICK_SECONDS, _PATIENCE_SECONDS = 30.0, 10.0
"""A tick has 60 s: after 30 nothing more is begun, and no answer is waited for longer than 10."""
_REPORT_AFTER_SECONDS = 300.0
"""A run reports its own pictures; what it has not reported for so long, it will not."""


@dg.sensor(
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Brings home jobs that were sent and are done, and reports pictures that Dagster "
    "has not heard of. Sends nothing new and costs nothing.",
)
def collect_sensor(
    context: dg.SensorEvaluationContext, pipeline: PipelineResource
) -> dg.SensorResult:
    """Brings home jobs that were sent and are done; reports what was not reported."""
    from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter

    work = pipeline.get().with_timeouts(_PATIENCE_SECONDS)
    reporter = RunlessReporter(context.instance, work)
    missed = reporter.report_missed(before=time.time() - _REPORT_AFTER_SECONDS)
    after = int(context.cursor or 0)
    unfinished = work.ledger.attempts.unfinished(after=after, limit=CHUNK)
    outcomes = _collect(work, reporter, after) if unfinished else []
    for outcome in outcomes:
        context.log.info(f"{outcome.item_key} {outcome.status}: {outcome.path or outcome.reason}")
    last = unfinished[-1].id if len(unfinished) == CHUNK else 0
    return dg.SensorResult(skip_reason=_said(outcomes, missed), cursor=str(last))


def _collect(work: "Pipeline", reporter: "RunlessReporter", after: int) -> "list[Outcome]":
    from imagegen_pipeline.domain.requests import Status

    outcomes = []
    with work.collect(after=after, limit=CHUNK) as batch:
        alarm = threading.Timer(_TICK_SECONDS, batch.stop)
        alarm.start()
        try:
            for outcome in batch:
                # What another process has brought home meanwhile is its own to report.
                if outcome.status is not Status.REUSED:
                    reporter.report(outcome)
                outcomes.append(outcome)
        finally:
            alarm.cancel()
    return outcomes


def _said(outcomes: "list[Outcome]", missed: int) -> str:
    counts = Counter("collected" if outcome.ok else str(outcome.status) for outcome in outcomes)
    words = {"skipped": "still running or at work"}
    parts = [f"{number} {words.get(what, what)}" for what, number in counts.items()]
    if missed:
        parts.append(f"{missed} reported late")
    if not parts:
        return "Nothing is outstanding."
    reason = next((one.reason for one in outcomes if not one.ok), "")
    return f"{', '.join(parts)}. {reason}".strip()
