"""How events of many partitions are stored: together, at a bearable price, as Dagster would."""

from __future__ import annotations

import gc
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEvent,
    StepMaterializationData,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from imagegen_pipeline.dagster_ext.event_log import ProjectEventLog, cached_partition_keys
from imagegen_pipeline.dagster_ext.event_writer import write_events
from imagegen_pipeline.dagster_ext.instance import open_instance
from imagegen_pipeline.defs.partitions import PROMPTS
from imagegen_pipeline_tests.conftest import Project
from imagegen_pipeline_tests.integration.defs.conftest import Dagster
from imagegen_pipeline_tests.integration.defs.ui_client import open_ui

SHARP = dg.AssetCheckKey(dg.AssetKey("generated_images"), "sharp")


def evaluation(key: str, *, passed: bool, storage_id: int) -> dg.AssetCheckEvaluation:
    """What a check found of a partition."""
    return dg.AssetCheckEvaluation(
        asset_key=SHARP.asset_key,
        check_name=SHARP.name,
        passed=passed,
        partition=key,
        target_materialization_data=Target(storage_id=storage_id, run_id="", timestamp=1.0),
    )


def test_what_was_planned_is_let_go(dagster: Dagster, prompts: list[str]) -> None:
    """The planned events of a run, and the keys that its planned checks name, are not kept in
    memory: they would grow with the range. One may be, by whoever handled the last.
    """
    assert dagster.run("generated_images", keys=prompts).success
    gc.collect()
    events = [one for one in gc.get_objects() if type(one) is DagsterEvent]
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
    assert len([one for one in events if one.event_type_value == planned]) <= 1


def test_the_plan_of_a_range_is_not_copied_for_each_partition(
    dagster: Dagster, prompts: list[str]
) -> None:
    """A planned check is a row that says so, without the keys of all: their number would count
    twice.
    """
    more = [f"json-more-{number:03}" for number in range(40)]
    dagster.instance.add_dynamic_partitions("prompts", more)
    assert not dagster.run("generated_images", keys=[*prompts, *more]).success

    history = dagster.instance.event_log_storage.get_asset_check_execution_history
    records = [record for record in history(SHARP, limit=999) if record.partition in more]
    assert len(records) == 40
    assert {record.status for record in records} == {AssetCheckExecutionRecordStatus.PLANNED}
    assert [record.event for record in records] == [None] * 40


def test_within_one_moment_partitions_are_read_once(dagster: Dagster, prompts: list[str]) -> None:
    """What is added meanwhile is seen afterwards; what one asker does to his list is his own."""
    instance = dagster.instance
    with cached_partition_keys():
        first = instance.get_dynamic_partitions("prompts")
        assert list(first) == prompts
        instance.add_dynamic_partitions("prompts", ["json-later"])
        first.clear()  # type: ignore[attr-defined]
        assert instance.get_dynamic_partitions("prompts") == prompts
        assert instance.get_dynamic_partitions("actors") == []
    assert instance.get_dynamic_partitions("prompts") == [*prompts, "json-later"]


@pytest.mark.parametrize("ours", [True, False], ids=["the project's", "Dagster's own"])
def test_a_partition_may_be_checked_again_outside_of_runs(project: Project, ours: bool) -> None:
    """Each evaluation outside of a run takes the place of the one before, in any storage."""
    opened = open_instance() if ours else dg.instance_for_test()
    assert opened is not None
    with opened as instance:
        instance.add_dynamic_partitions(str(PROMPTS.name), ["a", "b"])
        for passed in (True, False, True, False):
            for key in ("a", "b"):
                event = dg.AssetMaterialization(SHARP.asset_key, partition=key)
                instance.report_runless_asset_event(event)
            (newest, *_) = instance.fetch_materializations(SHARP.asset_key, limit=2).records
            found = [
                evaluation("a", passed=passed, storage_id=newest.storage_id - 1),
                evaluation("b", passed=True, storage_id=newest.storage_id),
            ]
            write_events(instance, found)
            with open_ui(instance) as ui:
                assert ui.statuses("generated_images")["sharp"] == {
                    "a": "succeeded" if passed else "failed",
                    "b": "succeeded",
                }


RUN = "0f1e2d3c-0000-4000-8000-000000000000"
_STORED = {
    "event_logs": "run_id, event, dagster_event_type, timestamp, asset_key, partition",
    "asset_event_tags": "event_id, asset_key, key, value, event_timestamp",
    "asset_keys": "asset_key, last_materialization, last_run_id, last_materialization_timestamp",
    "asset_check_executions": "asset_key, check_name, partition, run_id, execution_status, "
    "evaluation_event, evaluation_event_storage_id, materialization_event_storage_id",
}


def entries_of_a_run() -> list[dg.EventLogEntry]:
    """A plan, pictures and observations of two assets, as a run sends them."""
    entries: list[dg.EventLogEntry] = []
    for number in range(6):
        asset, key = dg.AssetKey(f"asset_{number % 2}"), f"key-{number // 2}"
        plan = DagsterEvent.build_asset_materialization_planned_event(
            "job", "step", AssetMaterializationPlannedData(asset, partition=key)
        )
        made = dg.AssetMaterialization(
            asset, partition=key, tags={"dagster/data_version": f"v{number}"}, metadata={"n": 1}
        )
        seen = dg.AssetObservation(asset, partition=key, metadata={"why": "none"})
        for event in (plan, _event(StepMaterializationData(made)), _event(_observed(seen))):
            entries.append(_entry(event, 1_700_000_000.0 + len(entries)))
    return entries


def _observed(seen: dg.AssetObservation) -> AssetObservationData:
    return AssetObservationData(seen)


def _event(data: StepMaterializationData | AssetObservationData) -> DagsterEvent:
    kinds = dg.DagsterEventType
    is_made = isinstance(data, StepMaterializationData)
    kind = kinds.ASSET_MATERIALIZATION if is_made else kinds.ASSET_OBSERVATION
    return DagsterEvent(kind.value, "job", event_specific_data=data)


def _entry(event: DagsterEvent, timestamp: float) -> dg.EventLogEntry:
    return dg.EventLogEntry(
        error_info=None,
        user_message="",
        level=10,
        run_id=RUN,
        timestamp=timestamp,
        job_name="job",
        dagster_event=event,
    )


def stored_in(folder: Path) -> dict[str, list[Any]]:
    """All rows, of the run's database and of the index."""
    tables = {}
    for database in (f"{RUN}.db", "index.db"):
        with closing(sqlite3.connect(folder / database)) as connection:
            for table, columns in _STORED.items():
                rows = connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3")  # noqa: S608
                tables[f"{database} {table}"] = rows.fetchall()
    return tables


def test_a_batch_leaves_the_rows_that_dagster_leaves_of_single_events(tmp_path: Path) -> None:
    """In the run's database and in the index: events, tags, and the newest of each asset."""
    entries = entries_of_a_run()
    theirs, ours = SqliteEventLogStorage(str(tmp_path / "1")), ProjectEventLog(str(tmp_path / "2"))
    for entry in entries:
        theirs.store_event(entry)
    ours.store_event_batch(entries)
    expected = stored_in(tmp_path / "1")
    assert stored_in(tmp_path / "2") == expected
    assert len(expected["index.db event_logs"]) == len(entries)
    assert len(expected["index.db asset_event_tags"]) == 6


def test_a_batch_that_cannot_be_indexed_is_not_indexed_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When storing breaks in the middle of the index, nothing of the batch stands there."""
    storage = ProjectEventLog(str(tmp_path))
    monkeypatch.setattr(storage, "_store_asset_event", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        storage.store_event_batch(entries_of_a_run())
    assert stored_in(tmp_path)["index.db event_logs"] == []
