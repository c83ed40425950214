"""Runs that failed: written down, and posted to the users' webhook if there is one.

Both sensors are on by default. They cost nothing and send nothing but what the users asked for by
setting ``IMAGEGEN_FAILURE_WEBHOOK``; without it the failures stand in ``failures.jsonl`` alone.
"""

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.domain import errors
from imagegen_pipeline.domain.errors import ImagegenError

if TYPE_CHECKING:
    from imagegen_pipeline.maintenance.notifications import Delivery, FailedPartition, FailureNotice
    from imagegen_pipeline.settings import Settings

SECONDS_BETWEEN_TICKS = 30
SECONDS_BETWEEN_POSTS = 120
MOST_FAILURES = 10
MOST_PARTITIONS = 50
LONGEST_TEXT = 1000
_WILL_RETRY = "dagster/will_retry"
_OURS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ImagegenError)
}


@dg.run_failure_sensor(
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    # Runs of `dagster asset materialize` belong to no code location, and fail like others.
    monitor_all_code_locations=True,
    description="Writes each run that fails to failures.jsonl in the log folder, with what failed "
    "and why, and posts it to IMAGEGEN_FAILURE_WEBHOOK if that is set.",
)
def failure_sensor(context: dg.RunFailureSensorContext, pipeline: PipelineResource) -> None:
    """Writes each run that fails to the log folder, and posts it."""
    from imagegen_pipeline.maintenance.notifications import NotificationOutbox

    settings = pipeline.get().settings
    board = NotificationOutbox(settings)
    board.put(notice_of(context.instance, context.dagster_run, context.dagster_event, settings))
    if board.waiting == 1:  # else it is down: five failures a tick would each wait for it
        _say(context, board.deliver())


@dg.sensor(
    minimum_interval_seconds=SECONDS_BETWEEN_POSTS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Posts to IMAGEGEN_FAILURE_WEBHOOK once more what it did not take; after a day it "
    "is given up.",
)
def failure_post_sensor(
    context: dg.SensorEvaluationContext, pipeline: PipelineResource
) -> dg.SkipReason:
    """Posts once more what the webhook did not take."""
    from imagegen_pipeline.maintenance.notifications import NotificationOutbox

    delivery = NotificationOutbox(pipeline.get().settings).deliver()
    _say(context, delivery)
    return dg.SkipReason(
        f"{delivery.delivered} posted late, {delivery.waiting} waiting, {delivery.given_up} given "
        f"up. {delivery.error}".strip()
    )


def _say(
    context: dg.RunFailureSensorContext | dg.SensorEvaluationContext, delivery: "Delivery"
) -> None:
    if delivery.error:
        context.log.warning(f"{delivery.waiting} failures are not posted yet: {delivery.error}")
    elif delivery.delivered:
        context.log.info(f"{delivery.delivered} failures were posted.")


def notice_of(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    event: dg.DagsterEvent,
    settings: "Settings",
) -> "FailureNotice":
    """What is told of a run that failed: its steps' own sentences, and failed partitions."""
    from imagegen_pipeline.maintenance.notifications import FailureNotice

    failures = tuple(_step_failures(instance, run.run_id)) or (_line(event.message or ""),)
    partitions = list(_failed_partitions(instance, run.run_id))
    chosen = sorted(key.to_user_string() for key in run.asset_selection or ())
    return FailureNotice(
        run_id=run.run_id,
        job=run.job_name,
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        url=f"{settings.dagster_url}/runs/{run.run_id}",
        simulated=settings.simulator,
        failures=failures[:MOST_FAILURES],
        partitions=tuple(partitions[:MOST_PARTITIONS]),
        more=len(partitions) > MOST_PARTITIONS,
        will_retry=run.tags.get(_WILL_RETRY, "").lower() == "true",
        assets=tuple(chosen[:MOST_FAILURES]),
    )


def _step_failures(instance: dg.DagsterInstance, run_id: str) -> Iterator[str]:
    """Each failed step's sentence. Of an error that is not of this program only its name is
    told: nobody knows what its text holds.
    """
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.dagster_event
        if event is None or not event.is_step_failure:
            continue
        data = event.step_failure_data
        said = data.user_failure_data.description if data.user_failure_data else None
        yield _line(f"{event.step_key}: {said or _error_of(data.error)}")


def _error_of(error: object) -> str:
    """The innermost error that is told apart: one of ours with its sentence, any other by name."""
    name = "an error"
    while error is not None:
        name = getattr(error, "cls_name", None) or name
        message = str(getattr(error, "message", ""))
        if name in _OURS:
            return message.partition(f"{name}: ")[2].strip() or name
        error = getattr(error, "cause", None) or getattr(error, "context", None)
    return f"{name}. The run's page has the rest."


def _failed_partitions(instance: dg.DagsterInstance, run_id: str) -> "Iterator[FailedPartition]":
    """The partitions that the run says have no picture, one more than are named at most."""
    from imagegen_pipeline.maintenance.notifications import FailedPartition

    found: dict[str, FailedPartition] = {}
    cursor = None
    while len(found) <= MOST_PARTITIONS:
        page = instance.get_records_for_run(
            run_id, cursor, of_type=dg.DagsterEventType.ASSET_OBSERVATION, limit=200
        )
        for record in page.records:
            event = record.event_log_entry.dagster_event
            seen = event.asset_observation_data.asset_observation if event else None
            if seen is not None and seen.partition and "error" in seen.metadata:
                parts = (seen.metadata.get(name) for name in ("error", "remedy"))
                reason = " ".join(str(one.value) for one in parts if one is not None)
                found[seen.partition] = FailedPartition(seen.partition, _line(reason))
        cursor = page.cursor
        if not page.has_more:
            break
    yield from list(found.values())[: MOST_PARTITIONS + 1]


def _line(text: str) -> str:
    """The first line of a text, not too long: what follows may be a traceback."""
    line = (text.strip().splitlines() or [""])[0]
    return line if len(line) <= LONGEST_TEXT else f"{line[:LONGEST_TEXT]}…"


SENSORS = [failure_sensor, failure_post_sensor]
