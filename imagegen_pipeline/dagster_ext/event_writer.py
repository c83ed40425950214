"""Writes asset events in batches, for a step of a run or outside of any run."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import dagster as dg
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEvent,
    StepMaterializationData,
)
from dagster._core.execution.plan.handle import StepHandle
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from imagegen_pipeline.dagster_ext.event_log import ProjectEventLog, delete_evaluations

AssetEvent = (
    dg.AssetMaterialization
    | dg.AssetObservation
    | dg.AssetCheckEvaluation
    | AssetMaterializationPlannedData
)
_MAX_BATCH = 1000
"""Events in one transaction: a few megabytes with their previews."""


@dataclass(frozen=True)
class EventOrigin:
    """What an event belongs to: a step of a run, or no run."""

    job_name: str
    run_id: str
    step: StepHandle | None = None

    @classmethod
    def of_step(cls, context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Self:
        """The step that is running."""
        is_asset = isinstance(context, dg.AssetExecutionContext)
        op = context.op_execution_context if is_asset else context
        return cls(op.job_name, op.run_id, StepHandle(op.op_handle, str(op.op_handle)))


RUNLESS = EventOrigin(RUNLESS_JOB_NAME, RUNLESS_RUN_ID)


def write_events(
    instance: dg.DagsterInstance, events: Sequence[AssetEvent], origin: EventOrigin = RUNLESS
) -> None:
    """Write these events in their order.

    Dagster's own ``log_event`` and ``report_runless_asset_event`` use several transactions for each
    event, and ``log_event`` keeps every event in memory until the step ends.
    """
    entries = [_entry(event, origin) for event in events]
    storage = instance.event_log_storage
    if (
        origin is RUNLESS
        and isinstance(storage, SqlEventLogStorage)
        and not isinstance(storage, ProjectEventLog)
    ):
        # Dagster's own storages refuse a second evaluation of a partition outside of any run.
        with storage.index_connection() as connection:
            delete_evaluations(connection, entries)
    for start in range(0, len(entries), _MAX_BATCH):
        storage.store_event_batch(entries[start : start + _MAX_BATCH])


def planned_materialization(asset: dg.AssetKey, key: str) -> AssetMaterializationPlannedData:
    """An event that announces a partition. If the run fails, Dagster shows the partition as failed
    unless it was materialized.
    """
    return AssetMaterializationPlannedData(asset, partition=key)


def _entry(event: AssetEvent, origin: EventOrigin) -> dg.EventLogEntry:
    dagster_event = _dagster_event(event, origin)
    return dg.EventLogEntry(  # type: ignore[no-untyped-call]
        error_info=None,
        user_message="",
        level=logging.DEBUG,
        run_id=origin.run_id,
        timestamp=time.time(),
        step_key=dagster_event.step_key,
        job_name=origin.job_name,
        dagster_event=dagster_event,
    )


def _dagster_event(event: AssetEvent, origin: EventOrigin) -> DagsterEvent:
    kinds = dg.DagsterEventType
    data: StepMaterializationData | AssetObservationData | AssetEvent
    if isinstance(event, dg.AssetMaterialization):
        kind, data = kinds.ASSET_MATERIALIZATION, StepMaterializationData(event)
        message = event.description or f"Materialized value {event.label}."
    elif isinstance(event, dg.AssetObservation):
        kind, data, message = kinds.ASSET_OBSERVATION, AssetObservationData(event), None
    elif isinstance(event, dg.AssetCheckEvaluation):
        kind, data = kinds.ASSET_CHECK_EVALUATION, event
        verdict = "passed" if event.passed else "did not pass"
        message = f"{event.check_name} of {event.partition} {verdict}: {event.description}"
    else:
        kind, data = kinds.ASSET_MATERIALIZATION_PLANNED, event
        message = f"{origin.job_name} intends to materialize asset {event.asset_key.to_string()}"
    return DagsterEvent(
        event_type_value=kind.value,
        job_name=origin.job_name,
        step_handle=origin.step,
        event_specific_data=data,
        message=message,
        pid=os.getpid(),
    )
