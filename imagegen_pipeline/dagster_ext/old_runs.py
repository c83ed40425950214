"""Old runs in Dagster's own records: which nothing rests on any more, and how they go.

``delete_run`` takes a run's events along. With the newest event of a partition its status would go
too: the partition would read as missing, and automation would ask for it again. So a run is only
deleted when newer ones have said something of everything that it spoke of. What is left of its own
database file is removed; Dagster leaves that as large as it was.
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

LEAST_DAYS = 7.0
"""Younger runs are what people look for, and what their retries rest on."""
_DAY = 86_400.0
_PAGE = 500


@dataclass(frozen=True, slots=True)
class OldRuns:
    """Ended runs that are older than ``days``: those to be deleted, how many others something
    rests on, and of which what their steps printed goes.
    """

    days: float
    runs: tuple[str, ...]
    needed: int
    printed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.runs or self.printed)

    @property
    def sentence(self) -> str:
        """What would be done."""
        return (
            f"Dagster's records older than {self.days:g} days: {len(self.runs)} runs that nothing "
            f"rests on, and what the steps of {len(self.printed)} runs printed; {self.needed} runs "
            "stay, since they hold the newest events of something."
        )


def plan_old_runs(instance: dg.DagsterInstance, days: float) -> OldRuns:
    """Which runs ended more than ``days`` ago and may go; nothing is written.

    Raises SetupError for less than a week, and for a storage that is no SQL database.
    """
    if days < LEAST_DAYS:
        raise SetupError(
            f"Dagster's runs of the last {LEAST_DAYS:g} days stay; {days:g} is less.",
            remedy=f"Give {LEAST_DAYS:g} days or more.",
        )
    needed = _needed(instance)
    old: list[str] = []
    stay = 0
    for run in _ended(instance, days):
        if run.run_id in needed:
            stay += 1
        else:
            old.append(run.run_id)
    printed = [run.run_id for run in _ended(instance, days) if _printed(instance, run.run_id)]
    return OldRuns(days, tuple(old), stay, tuple(printed))


def _ended(instance: dg.DagsterInstance, days: float) -> Iterator[dg.DagsterRun]:
    """Runs that ended before, newest first."""
    moment = dt.datetime.fromtimestamp(time.time() - days * _DAY, tz=dt.UTC)
    chosen = dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=moment)
    cursor = None
    while records := instance.get_run_records(chosen, limit=_PAGE, cursor=cursor):
        yield from (record.dagster_run for record in records)
        cursor = records[-1].dagster_run.run_id


def _needed(instance: dg.DagsterInstance) -> set[str]:
    """The runs that hold the newest event, of each kind, of any asset, partition or check; and
    the roots of those, by which a re-execution is known to be the same intent.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise SetupError(
            "Dagster's events are not kept in a database that can be asked for the newest ones.",
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
    last = sa.select(sa.func.max(events.id)).scalar_subquery()  # numbers must not be given again
    with storage.index_connection() as connection:
        found = {
            *connection.scalars(sa.select(events.run_id).where(events.id.in_(newest))),
            *connection.scalars(sa.select(checks.run_id).where(checks.id.in_(newest_checks))),
            *connection.scalars(sa.select(events.run_id).where(events.id == last)),
        }
    return found | _roots(instance, found)


def _roots(instance: dg.DagsterInstance, run_ids: set[str]) -> set[str]:
    wanted = sorted(run_ids - {""})
    found: set[str] = set()
    for start in range(0, len(wanted), _PAGE):
        for run in instance.get_runs(dg.RunsFilter(run_ids=wanted[start : start + _PAGE])):
            found |= {one for one in (run.root_run_id, run.parent_run_id) if one}
    return found


def _printed(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether what the run's steps printed is kept in a folder of this machine."""
    folder = _printed_folder(instance, run_id)
    return folder is not None and folder.is_dir()


def _printed_folder(instance: dg.DagsterInstance, run_id: str) -> Path | None:
    base = getattr(instance.compute_log_manager, "_base_dir", None)
    return Path(base) / run_id if isinstance(base, str) and run_id else None


def delete_old_runs(
    instance: dg.DagsterInstance, found: OldRuns, each: Callable[[], None] = lambda: None
) -> int:
    """Delete what was planned, ``each`` being called after each run; returns how many runs.

    A run that something has come to rest on since is left: it is asked again.
    """
    for run_id in found.printed:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    needed = _needed(instance) if found.runs else set()
    deleted = 0
    for run_id in found.runs:
        if run_id not in needed:
            instance.delete_run(run_id)
            _remove_its_file(instance, run_id)
            deleted += 1
        each()
    return deleted


def _remove_its_file(instance: dg.DagsterInstance, run_id: str) -> None:
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{storage.path_for_shard(run_id)}{suffix}").unlink(missing_ok=True)
