"""How checks of many partitions are stored: at a bearable price, and in any storage."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from imagegen_pipeline.defs.event_log import evaluation_entry, store_evaluations
from imagegen_pipeline.defs.instance import open_instance
from imagegen_pipeline.defs.partitions import PROMPTS
from imagegen_pipeline_tests.conftest import Project
from imagegen_pipeline_tests.defs.conftest import Dagster
from imagegen_pipeline_tests.defs.ui import open_ui

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
            entries = [evaluation_entry(one, RUNLESS_JOB_NAME, RUNLESS_RUN_ID) for one in found]
            store_evaluations(instance, entries)
            with open_ui(instance) as ui:
                assert ui.statuses("generated_images")["sharp"] == {
                    "a": "succeeded" if passed else "failed",
                    "b": "succeeded",
                }
