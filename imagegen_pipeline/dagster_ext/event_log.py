"""Dagster's event log in SQLite, with events and checks of many partitions at a bearable price.

Dagster 1.13 stores each event by itself, in two databases that are opened and flushed for it: a
range of 10,000 partitions spends two minutes on saying what is planned and what was made. Dagster
can send events in batches, but its SQLite storage takes them one by one; here those of a batch
are stored in one transaction for each database, the same rows as ever.

It writes the plan of a range's checks as one row for each partition, each with the keys of all:
1,000 partitions with five checks take 210 MB and 12 s, 3,000 take 1.9 GB. It stores each
evaluation in three transactions of its own, and to show a check's partitions it asks the
database for each whether it is registered. Here a planned row carries no copy of the plan, which
nothing reads, and all partitions are asked for at once.

A tick of automation asks six times for all partitions' keys, a fifth of a second each of 100,000;
within ``cached_partition_keys`` they are read once.
"""

import logging
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import dagster as dg
import sqlalchemy as sql
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.events import (
    ASSET_EVENTS,
    BATCH_WRITABLE_EVENTS,
    AssetObservationData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    StepMaterializationData,
)
from dagster._core.execution.plan.handle import StepHandle
from dagster._core.instance.types import CachingDynamicPartitionsLoader
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.asset_check_state import AssetCheckState
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData

_T = TypeVar("_T")
_ROWS = AssetCheckExecutionsTable.c
_EVALUATION = dg.DagsterEventType.ASSET_CHECK_EVALUATION
_CHECK_PLANNED = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
_TOGETHER = {*BATCH_WRITABLE_EVENTS, _EVALUATION}
_BATCH = 1000
"""Events that are stored in one transaction at most: a few megabytes with their previews."""
_partitions: ContextVar[dict[tuple[str, str], Sequence[str]] | None] = ContextVar(
    "partitions", default=None
)
_PLANNED = AssetCheckExecutionRecordStatus.PLANNED
_SUCCEEDED, _FAILED = (
    AssetCheckExecutionRecordStatus.SUCCEEDED,
    AssetCheckExecutionRecordStatus.FAILED,
)

# A record of Dagster's keeps, to resolve its types, all variables of whoever makes the first of its
# kind. Of this kind it would be the function that plans a run: a copy of its keys for each check,
# and each planned event, until the process ends.
AssetCheckEvaluationPlanned(asset_key=dg.AssetKey("first"), check_name="first")


class ProjectEventLog(SqliteEventLogStorage):
    """Dagster's own storage, but for how batches and checks are stored, and checks read."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """As Dagster's. Whoever opens it sends batches, unless the environment says otherwise."""
        super().__init__(base_dir, inst_data)
        # Dagster reads its own setting at each event; there is no other way to set it.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(_BATCH))

    def get_dynamic_partitions(self, partitions_def_name: str) -> Sequence[str]:
        """The keys of all partitions, in the order in which they were added."""
        known, name = _partitions.get(), partitions_def_name
        if known is None:
            return super().get_dynamic_partitions(name)
        if (self._base_dir, name) not in known:
            known[self._base_dir, name] = super().get_dynamic_partitions(name)
        return list(known[self._base_dir, name])

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
        """Events that come together: one transaction for each database, and either all or none
        of them in each. Kinds that Dagster does not send in batches are stored as ever.
        """
        if any(event.dagster_event_type not in _TOGETHER for event in events):
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        by_run: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            by_run[row["run_id"]].append(row)
        for run_id, of_run in by_run.items():
            with self.run_connection(run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), of_run)
        with self.index_transaction() as connection:
            stored = [
                _Stored(event, row, event_id)
                for event, row, event_id in zip(
                    events, rows, _inserted(connection, rows), strict=True
                )
            ]
            self._index_assets(connection, [one for one in stored if one.kind in ASSET_EVENTS])
            _replace_evaluations(connection, [one for one in stored if one.kind is _EVALUATION])
        for one in stored:
            if one.kind is _CHECK_PLANNED:  # opens a connection of its own
                self.store_asset_check_event(one.event, one.id)

    def materializations_of(
        self, run_id: str, asset: dg.AssetKey, keys: Sequence[str]
    ) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
        """The newest event that a run has stored of each of these partitions, by key: what an
        evaluation says it is about. The events themselves, with their previews, are not read.
        """
        rows = SqlEventLogStorageTable.c
        query = (
            sql.select(rows.partition, rows.id, rows.timestamp)
            .where(
                rows.asset_key == asset.to_string(),
                rows.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION.value,
                rows.partition.in_(keys),
                rows.run_id == run_id,
            )
            .order_by(rows.id)
        )
        with self.index_connection() as connection:
            found = connection.execute(query).all()
        return {
            key: AssetCheckEvaluationTargetMaterializationData(
                storage_id=event_id, run_id=run_id, timestamp=_seconds(stored_at)
            )
            for key, event_id, stored_at in found
        }

    def _index_assets(self, connection: sql.Connection, stored: Sequence["_Stored"]) -> None:
        """What Dagster keeps of asset events beside them: tags of all, and the newest of each."""
        if not stored:
            return
        self._store_asset_event_tags(
            connection, [one.event for one in stored], [one.id for one in stored]
        )
        newest = {(one.row["asset_key"], one.kind): one for one in stored}
        for one in newest.values():
            self._store_asset_event(connection, one.event, one.id)


@contextmanager
def cached_partition_keys() -> Iterator[None]:
    """Whatever is asked in this block sees the partitions that were there when it first asked."""
    token = _partitions.set({})
    try:
        yield
    finally:
        _partitions.reset(token)


def _seconds(stored_at: datetime) -> float:
    """Since the epoch, of a time as Dagster stores it: UTC without saying so."""
    return stored_at.replace(tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class _Stored:
    """An event, as a row, and the row's id in the index."""

    event: dg.EventLogEntry
    row: dict[str, Any]
    id: int

    @property
    def kind(self) -> dg.DagsterEventType | None:
        return self.event.dagster_event_type


def _inserted(connection: sql.Connection, rows: Sequence[dict[str, Any]]) -> Sequence[int]:
    """The ids of the rows, inserted in their order."""
    table = SqlEventLogStorageTable
    insert = table.insert().returning(table.c.id, sort_by_parameter_order=True)
    return connection.execute(insert, list(rows)).scalars().all()


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


def _bound(place: Mapping[str, str | None]) -> dict[str, str | None]:
    return {f"the_{name}": value for name, value in place.items()}


_DELETE_PLACE = AssetCheckExecutionsTable.delete().where(
    *(
        _ROWS[name].is_not_distinct_from(sql.bindparam(f"the_{name}"))
        for name in ("asset_key", "check_name", "run_id", "partition")
    )
)


def _replace_evaluations(connection: sql.Connection, stored: Sequence[_Stored]) -> None:
    """Rows of evaluations, in place of their plans', or of older ones outside of any run."""
    newest = {tuple(_place(one.event).items()): one for one in stored}
    if not newest:
        return
    connection.execute(_DELETE_PLACE, [_bound(dict(place)) for place in newest])
    connection.execute(
        AssetCheckExecutionsTable.insert(),
        [{**dict(place), **_evaluated(one)} for place, one in newest.items()],
    )


def _evaluated(one: _Stored) -> dict[str, Any]:
    found = _found(one.event)
    target = found.target_materialization_data
    return {
        "execution_status": (_SUCCEEDED if found.passed else _FAILED).value,
        "evaluation_event": one.row["event"],
        "evaluation_event_timestamp": one.row["timestamp"],
        "evaluation_event_storage_id": one.id,
        "materialization_event_storage_id": target.storage_id if target else None,
    }


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


def log_together(context: dg.OpExecutionContext, events: Sequence[dg.AssetMaterialization]) -> None:
    """Log a step's materializations as its ``log_event`` does, in one batch.

    Dagster's own would also keep each, with its preview, in memory until the step ends.
    """
    step = context.get_step_execution_context()
    for event, mark in marked(events):
        DagsterEvent.asset_materialization(step, event, mark)


def report_together(
    instance: dg.DagsterInstance, events: Sequence[dg.AssetMaterialization | dg.AssetObservation]
) -> None:
    """Report what happened outside of any run, as ``report_runless_asset_event`` does, in one
    batch.
    """
    for event, mark in marked(events):
        data: StepMaterializationData | AssetObservationData
        if isinstance(event, dg.AssetMaterialization):
            kind, data = dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event)
        else:
            kind, data = dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(event)
        entry = DagsterEvent(kind.value, RUNLESS_JOB_NAME, event_specific_data=data)
        instance.report_dagster_event(entry, RUNLESS_RUN_ID, batch_metadata=mark)


def marked(events: Sequence[_T]) -> Iterator[tuple[_T, DagsterEventBatchMetadata]]:
    """The events, each with the mark of a batch by which Dagster stores them together."""
    batch = uuid.uuid4().hex
    for number, event in enumerate(events, start=1):
        yield event, DagsterEventBatchMetadata(batch, is_end=number == len(events))


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
                connection.execute(_DELETE_PLACE, _bound(_place(event)))
