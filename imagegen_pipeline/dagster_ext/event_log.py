"""Dagster's SQLite event log, made fast for events and checks of many partitions.

It differs from Dagster 1.13 in four ways:

- Dagster's SQLite storage writes the events of a batch one by one, each in two transactions that
  are flushed: two minutes for a range of 10,000 partitions. Here a batch is one transaction in each
  database. The rows are the same.
- Dagster writes a planned check of a range as one row for each partition, each with the keys of
  all partitions: 210 MB and 12 s for 1,000 partitions with five checks, 1.9 GB for 3,000. Here a
  planned row has no copy of the plan, which nothing reads.
- To show the partitions of a check, Dagster asks the database for each one whether it is
  registered. Here one query reads them all.
- An automation tick reads all partition keys six times, 0.2 s each for 100,000. Within
  ``cached_partition_keys`` they are read once.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

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
)
from dagster._core.instance.types import CachingDynamicPartitionsLoader
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.asset_check_state import AssetCheckState
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

_CHECKS = AssetCheckExecutionsTable
_EVALUATION = dg.DagsterEventType.ASSET_CHECK_EVALUATION
_CHECK_PLANNED = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
_BATCHED_EVENTS = {*BATCH_WRITABLE_EVENTS, _EVALUATION}
_partition_cache: ContextVar[dict[tuple[str, str], Sequence[str]] | None] = ContextVar(
    "partition_cache", default=None
)
_PLANNED = AssetCheckExecutionRecordStatus.PLANNED
_SUCCEEDED, _FAILED = (
    AssetCheckExecutionRecordStatus.SUCCEEDED,
    AssetCheckExecutionRecordStatus.FAILED,
)

# To resolve its types, a Dagster record class keeps the local variables of the function that makes
# its first instance until the process ends. For this class that function would plan a run and hold
# a copy of the run's keys for each check.
AssetCheckEvaluationPlanned(asset_key=dg.AssetKey("first"), check_name="first")


class ProjectEventLog(SqliteEventLogStorage):
    """Dagster's storage, except for how batches and checks are written and checks are read."""

    def get_dynamic_partitions(self, partitions_def_name: str) -> Sequence[str]:
        """The keys of all partitions, in the order in which they were added."""
        cache = _partition_cache.get()
        if cache is None:
            return super().get_dynamic_partitions(partitions_def_name)
        entry = (self._base_dir, partitions_def_name)
        if entry not in cache:
            cache[entry] = super().get_dynamic_partitions(partitions_def_name)
        return list(cache[entry])

    def get_asset_check_state(
        self, keys: Sequence[tuple[dg.AssetCheckKey, dg.PartitionsDefinition[str] | None]]
    ) -> Mapping[dg.AssetCheckKey, AssetCheckState]:
        """The status of every partition of these checks."""
        with partition_loading_context(dynamic_partitions_store=_PartitionKeys(self._instance)):
            return super().get_asset_check_state(keys)

    def _store_asset_check_evaluation_planned(
        self, event: dg.EventLogEntry, event_id: int | None
    ) -> None:
        planned = event.get_dagster_event().event_specific_data
        if not isinstance(planned, AssetCheckEvaluationPlanned):
            raise TypeError(f"Not a planned check: {type(planned).__name__}")
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
            connection.execute(_CHECKS.insert(), rows)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Write a batch in one transaction for each database; all or none of its events are stored
        in each. A batch with events of other kinds is written as Dagster does it.
        """
        if any(event.dagster_event_type not in _BATCHED_EVENTS for event in events):
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        rows_by_run: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            rows_by_run[row["run_id"]].append(row)
        for run_id, run_rows in rows_by_run.items():
            with self.run_connection(run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), run_rows)
        with self.index_transaction() as connection:
            ids = _insert(connection, rows)
            stored = [_Stored(*parts) for parts in zip(events, rows, ids, strict=True)]
            self._index_assets(connection, [one for one in stored if one.kind in ASSET_EVENTS])
            _replace_evaluations(connection, [one for one in stored if one.kind is _EVALUATION])
        for one in stored:
            if one.kind is _CHECK_PLANNED:  # opens a connection of its own
                self.store_asset_check_event(one.event, one.id)

    def materializations_of(
        self, run_id: str, asset: dg.AssetKey, keys: Sequence[str]
    ) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
        """The newest materialization of each of these partitions in a run, by key, as the target of
        an evaluation. The events themselves, with their previews, are not read.
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
            events = connection.execute(query).all()
        return {
            key: AssetCheckEvaluationTargetMaterializationData(
                storage_id=event_id, run_id=run_id, timestamp=_epoch_seconds(stored_at)
            )
            for key, event_id, stored_at in events
        }

    def _index_assets(self, connection: sql.Connection, stored: Sequence["_Stored"]) -> None:
        """Write the tags of all events and the newest event of each asset."""
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
    """Read the keys of each partition definition once within this block."""
    token = _partition_cache.set({})
    try:
        yield
    finally:
        _partition_cache.reset(token)


def delete_evaluations(connection: sql.Connection, entries: Sequence[dg.EventLogEntry]) -> None:
    """Delete the rows that hold these evaluations' places: one for each check, partition and run.

    Entries of other kinds are ignored.
    """
    keys = [_evaluation_key(one) for one in entries if one.dagster_event_type is _EVALUATION]
    if not keys:
        return
    matches = [
        _CHECKS.c[name].is_not_distinct_from(sql.bindparam(f"the_{name}")) for name in keys[0]
    ]
    connection.execute(
        _CHECKS.delete().where(*matches),
        [{f"the_{name}": value for name, value in key.items()} for key in keys],
    )


@dataclass(frozen=True)
class _Stored:
    """An event, its row, and the id of the row in the index."""

    event: dg.EventLogEntry
    row: dict[str, Any]
    id: int

    @property
    def kind(self) -> dg.DagsterEventType | None:
        return self.event.dagster_event_type


class _PartitionKeys(CachingDynamicPartitionsLoader):
    """The registered partitions, read by one query for each definition."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        super().__init__(instance)
        self._keys: dict[str, frozenset[str]] = {}

    def has_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> bool:
        """Whether a partition is registered."""
        name = partitions_def_name
        if name not in self._keys:
            self._keys[name] = frozenset(self.get_dynamic_partitions(name))
        return partition_key in self._keys[name]


def _epoch_seconds(stored_at: datetime) -> float:
    """Dagster stores times in UTC without a time zone."""
    return stored_at.replace(tzinfo=UTC).timestamp()


def _insert(connection: sql.Connection, rows: Sequence[dict[str, Any]]) -> Sequence[int]:
    """Insert the rows; returns their ids in the same order."""
    table = SqlEventLogStorageTable
    insert = table.insert().returning(table.c.id, sort_by_parameter_order=True)
    return connection.execute(insert, list(rows)).scalars().all()


def _evaluation(event: dg.EventLogEntry) -> dg.AssetCheckEvaluation:
    evaluation = event.get_dagster_event().event_specific_data
    if not isinstance(evaluation, dg.AssetCheckEvaluation):
        raise TypeError(f"Not an evaluation: {type(evaluation).__name__}")
    return evaluation


def _evaluation_key(event: dg.EventLogEntry) -> dict[str, str | None]:
    """The columns that have one row for each check, partition and run."""
    evaluation = _evaluation(event)
    return {
        "asset_key": evaluation.asset_key.to_string(),
        "check_name": evaluation.check_name,
        "run_id": event.run_id,
        "partition": evaluation.partition,
    }


def _replace_evaluations(connection: sql.Connection, stored: Sequence[_Stored]) -> None:
    """Write the rows of evaluations in place of the rows of their plans, or of older evaluations
    outside of any run.
    """
    newest = {tuple(_evaluation_key(one.event).items()): one for one in stored}
    if newest:
        delete_evaluations(connection, [one.event for one in newest.values()])
        connection.execute(
            _CHECKS.insert(), [{**dict(key), **_evaluation_row(one)} for key, one in newest.items()]
        )


def _evaluation_row(one: _Stored) -> dict[str, Any]:
    evaluation = _evaluation(one.event)
    target = evaluation.target_materialization_data
    return {
        "execution_status": (_SUCCEEDED if evaluation.passed else _FAILED).value,
        "evaluation_event": one.row["event"],
        "evaluation_event_timestamp": one.row["timestamp"],
        "evaluation_event_storage_id": one.id,
        "materialization_event_storage_id": target.storage_id if target else None,
    }
