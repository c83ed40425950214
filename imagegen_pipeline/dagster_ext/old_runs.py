"""Deletes old runs from Dagster's own records.

``delete_run`` also deletes a run's events. Without its newest event a partition would read as
missing, and automation would request it again. So a run is deleted only if newer runs hold the
newest event of each asset, partition and check that it has events of.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage

from imagegen_pipeline.domain.errors import SetupError

MIN_DAYS = 7.0
"""Younger runs may be retried, or looked up."""
_DAY = 86_400.0
_PAGE = 500


@dataclass(frozen=True, slots=True)
class OldRuns:
    """Runs that ended more than ``days`` ago: the ids to delete, the number that is needed, and the
    ids of those whose steps' output is deleted.
    """

    days: float
    runs: tuple[str, ...]
    needed: int
    with_output: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.runs or self.with_output)

    @property
    def sentence(self) -> str:
        """The plan as one sentence."""
        return (
            f"Dagster's records older than {self.days:g} days: {len(self.runs)} runs that nothing "
            f"needs, and the output of the steps of {len(self.with_output)} runs; {self.needed} "
            "runs are kept, because they hold the newest events of an asset, partition or check."
        )


def plan_old_runs(instance: dg.DagsterInstance, days: float) -> OldRuns:
    """Select the runs to delete that ended more than ``days`` ago; writes nothing.

    Raises SetupError for less than a week, and for a storage that is not a SQL database.
    """
    if days < MIN_DAYS:
        raise SetupError(
            f"Dagster's runs of the last {MIN_DAYS:g} days are kept; {days:g} is less.",
            remedy=f"Give {MIN_DAYS:g} days or more.",
        )
    ended = [run.run_id for run in _ended_runs(instance, days)]
    needed = _needed_runs(instance)
    unneeded = tuple(run_id for run_id in ended if run_id not in needed)
    with_output = tuple(run_id for run_id in ended if _has_output(instance, run_id))
    return OldRuns(days, unneeded, len(ended) - len(unneeded), with_output)


def _ended_runs(instance: dg.DagsterInstance, days: float) -> Iterator[dg.DagsterRun]:
    """Runs that ended more than ``days`` ago, newest first."""
    before = dt.datetime.fromtimestamp(time.time() - days * _DAY, tz=dt.UTC)
    filters = dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before)
    cursor = None
    while records := instance.get_run_records(filters, limit=_PAGE, cursor=cursor):
        yield from (record.dagster_run for record in records)
        cursor = records[-1].dagster_run.run_id


def _needed_runs(instance: dg.DagsterInstance) -> set[str]:
    """The runs that hold the newest event, of each type, of any asset, partition or check, and
    their roots, which identify the intent of a re-execution.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise SetupError(
            "Dagster's events are not stored in a SQL database, so the newest ones are unknown.",
            remedy="Delete old runs with `dagster run delete`.",
        )
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    newest = (
        sa.select(sa.func.max(events.id))
        .where(events.asset_key.is_not(None))
        .group_by(events.asset_key, events.partition, events.dagster_event_type)
    )
    newest_checks = sa.select(sa.func.max(checks.id)).group_by(
        checks.asset_key, checks.check_name, checks.partition
    )
    last = sa.select(sa.func.max(events.id)).scalar_subquery()  # ids must not be used again
    with storage.index_connection() as connection:
        run_ids = {
            *connection.scalars(sa.select(events.run_id).where(events.id.in_(newest))),
            *connection.scalars(sa.select(checks.run_id).where(checks.id.in_(newest_checks))),
            *connection.scalars(sa.select(events.run_id).where(events.id == last)),
        }
    return run_ids | _root_runs(instance, run_ids)


def _root_runs(instance: dg.DagsterInstance, run_ids: set[str]) -> set[str]:
    ids = sorted(run_ids - {""})
    roots: set[str] = set()
    for start in range(0, len(ids), _PAGE):
        for run in instance.get_runs(dg.RunsFilter(run_ids=ids[start : start + _PAGE])):
            roots |= {one for one in (run.root_run_id, run.parent_run_id) if one}
    return roots


def _has_output(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the output of the run's steps is in a folder of this machine."""
    base = getattr(instance.compute_log_manager, "_base_dir", None)
    return isinstance(base, str) and bool(run_id) and (Path(base) / run_id).is_dir()


def delete_old_runs(
    instance: dg.DagsterInstance, plan: OldRuns, each: Callable[[], None] = lambda: None
) -> int:
    """Carry out a plan; calls ``each`` after every run and returns the number of deleted runs.

    A run that is needed since the plan was made is kept.
    """
    for run_id in plan.with_output:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    needed = _needed_runs(instance) if plan.runs else set()
    deleted = 0
    for run_id in plan.runs:
        if run_id not in needed:
            instance.delete_run(run_id)
            _remove_database(instance, run_id)
            deleted += 1
        each()
    return deleted


def _remove_database(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove a deleted run's own database file, which Dagster leaves at its size."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{storage.path_for_shard(run_id)}{suffix}").unlink(missing_ok=True)
