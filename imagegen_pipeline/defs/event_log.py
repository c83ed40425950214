"""Dagster's event log in SQLite, with checks of many partitions at a bearable price.

Dagster 1.13 writes the plan of a range's checks as one row for each partition, each with the
keys of all: 1,000 partitions with five checks take 210 MB and 12 s, 3,000 take 1.9 GB. It
stores each evaluation in three transactions of its own, and to show a check's partitions it asks
the database for each whether it is registered. Here a planned row carries no copy of the plan,
which nothing reads, evaluations that come together are stored together, and all partitions are
asked for at once.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import sqlalchemy as sql
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
)
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.events import DagsterEvent
from dagster._core.execution.plan.handle import StepHandle
from dagster._core.instance.types import CachingDynamicPartitionsLoader
from dagster._core.instance.utils import RUNLESS_RUN_ID
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.asset_check_state import AssetCheckState
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

_ROWS = AssetCheckExecutionsTable.c
_EVALUATION = dg.DagsterEventType.ASSET_CHECK_EVALUATION
_PLANNED = AssetCheckExecutionRecordStatus.PLANNED
_SUCCEEDED, _FAILED = (
    AssetCheckExecutionRecordStatus.SUCCEEDED,
    AssetCheckExecutionRecordStatus.FAILED,
)


class ProjectEventLog(SqliteEventLogStorage):
    """Dagster's own storage, but for how checks are stored and read."""

    def get_asset_check_state(
        self, keys: Sequence[tuple[dg.AssetCheckKey, dg.PartitionsDefinition[str] | None]]
    ) -> Mapping[dg.AssetCheckKey, AssetCheckState]:
        """The status of every partition of these checks."""
        with partition_loading_context(dynamic_partitions_store=_Registered(self._instance)):
            return super().get_asset_check_state(keys)

    def _store_asset_check_evaluation_planned(
        self, event: dg.EventLogEntry, event_id: int | None
    ) -> None:
        planned = event.get_dagster_event().event_specific_data
        if not isinstance(planned, AssetCheckEvaluationPlanned):
            raise TypeError(f"Not the plan of a check: {type(planned).__name__}")
        keys = planned.partitions_subset.get_partition_keys() if planned.partitions_subset else None
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": _PLANNED.value,
            "evaluation_event_timestamp": datetime.fromtimestamp(event.timestamp, UTC).replace(
                tzinfo=None
            ),
            "evaluation_event_storage_id": event_id,
        }
        rows = [{**row, "partition": key} for key in ([None] if keys is None else keys)]
        with self.index_connection() as connection:
            connection.execute(AssetCheckExecutionsTable.insert(), rows)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Evaluations that come together: one transaction for each database. Others as ever."""
        if any(e.dagster_event_type != _EVALUATION for e in events):
            super().store_event_batch(events)
            return
        by_run: dict[str, list[dict[str, Any]]] = defaultdict(list)
        rows = [self._event_to_row(event) for event in events]
        for row in rows:
            by_run[row["run_id"]].append(row)
        for run_id, of_run in by_run.items():
            with self.run_connection(run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), of_run)
        with self.index_connection() as connection:
            for event, row in zip(events, rows, strict=True):
                stored = connection.execute(SqlEventLogStorageTable.insert().values(**row))
                _replace_evaluation(connection, event, row, stored.lastrowid)


class _Registered(CachingDynamicPartitionsLoader):
    """Which partitions there are, by one question for all of them."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        super().__init__(instance)
        self._known: dict[str, frozenset[str]] = {}

    def has_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> bool:
        """Whether a partition is registered."""
        name = partitions_def_name
        if name not in self._known:
            self._known[name] = frozenset(self.get_dynamic_partitions(name))
        return partition_key in self._known[name]


def _found(event: dg.EventLogEntry) -> dg.AssetCheckEvaluation:
    found = event.get_dagster_event().event_specific_data
    if not isinstance(found, dg.AssetCheckEvaluation):
        raise TypeError(f"Not an evaluation: {type(found).__name__}")
    return found


def _place(event: dg.EventLogEntry) -> dict[str, str | None]:
    """What there may be one row of: a check of a partition in a run."""
    found = _found(event)
    return {
        "asset_key": found.asset_key.to_string(),
        "check_name": found.check_name,
        "run_id": event.run_id,
        "partition": found.partition,
    }


def _same(event: dg.EventLogEntry) -> list[sql.ColumnElement[bool]]:
    return [_ROWS[name].is_not_distinct_from(value) for name, value in _place(event).items()]


def _replace_evaluation(
    connection: sql.Connection, event: dg.EventLogEntry, row: dict[str, Any], event_id: int
) -> None:
    """The row of an evaluation, in place of its plan's, or of an older one outside of any run."""
    found = _found(event)
    target = found.target_materialization_data
    connection.execute(AssetCheckExecutionsTable.delete().where(*_same(event)))
    connection.execute(
        AssetCheckExecutionsTable.insert().values(
            **_place(event),
            execution_status=(_SUCCEEDED if found.passed else _FAILED).value,
            evaluation_event=row["event"],
            evaluation_event_timestamp=row["timestamp"],
            evaluation_event_storage_id=event_id,
            materialization_event_storage_id=target.storage_id if target else None,
        )
    )


def evaluation_entry(
    found: dg.AssetCheckEvaluation, job_name: str, run_id: str, step: StepHandle | None = None
) -> dg.EventLogEntry:
    """An evaluation as an entry of the log, as Dagster makes it of one that is logged."""
    outcome = "passed" if found.passed else "did not pass"
    event = DagsterEvent(
        event_type_value=_EVALUATION.value,
        job_name=job_name,
        step_handle=step,
        event_specific_data=found,
        message=f"{found.check_name} of {found.partition} {outcome}: {found.description}",
    )
    return dg.EventLogEntry(  # type: ignore[no-untyped-call]
        error_info=None,
        user_message="",
        level=logging.DEBUG,
        run_id=run_id,
        timestamp=time.time(),
        step_key=step.to_key() if step else None,
        job_name=job_name,
        dagster_event=event,
    )


def store_evaluations(instance: dg.DagsterInstance, entries: Sequence[dg.EventLogEntry]) -> None:
    """Store evaluations that come together, in whatever storage the instance has."""
    storage = instance.event_log_storage
    if not isinstance(storage, ProjectEventLog) and isinstance(storage, SqlEventLogStorage):
        _forget_older_runless(storage, entries)
    if entries:
        storage.store_event_batch(entries)


def _forget_older_runless(storage: SqlEventLogStorage, entries: Sequence[dg.EventLogEntry]) -> None:
    """Dagster's own storages refuse a second evaluation of a partition outside of any run."""
    with storage.index_connection() as connection:
        for event in entries:
            if event.run_id == RUNLESS_RUN_ID:
                connection.execute(AssetCheckExecutionsTable.delete().where(*_same(event)))
