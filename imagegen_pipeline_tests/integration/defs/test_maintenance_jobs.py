"""The clean-up and backup jobs on a real instance, and the clean-up of Dagster's own records."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imagegen_pipeline.dagster_ext.old_runs import delete_old_runs, plan_old_runs
from imagegen_pipeline.defs.maintenance_jobs import JOBS, SCHEDULES, CleanUpConfig
from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.maintenance.plan import RetentionPolicy
from imagegen_pipeline_tests.conftest import Simulator
from imagegen_pipeline_tests.integration.defs.conftest import Dagster
from imagegen_pipeline_tests.integration.maintenance.conftest import age_pictures, file_of, stored

ASSETS = ("generated_images",)
LOG = "duomi_generation_results_20250101_000000.json"


def launch(
    dagster: Dagster, job: str, config: dict[str, Any] | None = None
) -> dg.ExecuteInProcessResult:
    """Run a job with this configuration of its only op."""
    (chosen,) = (one for one in JOBS if one.name == job)
    (op,) = chosen.graph.node_dict
    return chosen.execute_in_process(
        run_config={"ops": {op: {"config": config or {}}}},
        resources={"pipeline": PipelineResource()},
        instance=dagster.instance,
        raise_on_error=False,
    )


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The metadata of the op's output."""
    (output,) = result.filter_events(lambda event: event.is_successful_output)
    data = output.step_output_data.metadata
    return {name: value.value for name, value in data.items()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The description of the failed step."""
    (event,) = result.filter_events(lambda event: event.is_step_failure)
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return str(data.description)


def old_log(dagster: Dagster) -> Path:
    """A log that is half a year old."""
    from imagegen_pipeline_tests.integration.maintenance.test_clean_up import write

    return write(dagster.project.results / "logs" / LOG, days=180)


def test_the_clean_up_job_is_a_dry_run_by_default(dagster: Dagster, prompts: list[str]) -> None:
    """By default it only shows the plan; with dry_run off it carries out the same plan."""
    dagster.run(*ASSETS, keys=prompts)
    dagster.run(*ASSETS, keys=prompts, config={"regenerate": True})
    pipeline = dagster.project.pipeline()
    age_pictures(pipeline)
    log = old_log(dagster)
    shown = metadata(launch(dagster, "clean_up", {"pictures": 100}))
    assert shown["dry run"]
    assert "| logs | delete | 1 |" in shown["plan"]
    assert "| old pictures | archive | 4 |" in shown["plan"]
    assert str(log) in shown["files"]
    assert log.exists()

    result = launch(dagster, "clean_up", {"pictures": 100, "dry_run": False})
    assert result.success
    assert metadata(result)["plan"] == shown["plan"]
    assert not log.exists()
    pictures = stored(pipeline)
    assert [file_of(pipeline, one).exists() for one in pictures] == [False] * 4 + [True] * 4
    assert launch(dagster, "clean_up", {"pictures": 100, "dry_run": False}).success
    again = dagster.run(*ASSETS, keys=prompts)
    assert again.success
    pipeline.close()


def test_an_invalid_age_fails_the_clean_up_job(dagster: Dagster) -> None:
    """The failure has the message and the remedy."""
    text = failure(launch(dagster, "clean_up", {"temp_files": 0.1}))
    assert "is not a valid age for temp_files" in text


def test_the_job_has_the_default_ages_of_the_command(dagster: Dagster) -> None:
    """0 means never; every field has a description."""
    assert CleanUpConfig().policy() == RetentionPolicy()
    assert CleanUpConfig(pictures=180, logs=0).policy() == RetentionPolicy(pictures=180, logs=None)
    for name, field in CleanUpConfig.model_fields.items():
        assert field.description, name


def test_the_backup_job_writes_a_complete_backup(
    dagster: Dagster, prompts: list[str], tmp_path: Path
) -> None:
    """The metadata has the folder, the copied files and the unchanged files."""
    dagster.run(*ASSETS, keys=prompts)
    config = {"folder": str(tmp_path / "disk"), "keep": 1}
    first = metadata(launch(dagster, "backup", config))
    assert first["pictures"] == 4
    assert first["files unchanged since the previous backup"] == 0
    second = metadata(launch(dagster, "backup", config))
    assert second["files copied"] == 1, "only the ledger"
    assert second["files unchanged since the previous backup"] == first["files copied"] - 1
    assert (Path(second["backup"]) / "manifest.json").is_file()
    assert not Path(first["backup"]).exists()


def test_the_backup_job_defaults_to_the_folder_of_the_settings(
    dagster: Dagster, prompts: list[str]
) -> None:
    """That is IMAGEGEN_BACKUP_DIR, or a folder beside the simulated results."""
    dagster.run(*ASSETS, keys=prompts[:1])
    text = metadata(launch(dagster, "backup"))
    assert Path(text["backup"]).parent == dagster.project.results / "backup"


def test_a_live_backup_without_a_folder_names_the_setting(
    dagster: Dagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no default folder for live images."""
    monkeypatch.delenv("IMAGEGEN_SIMULATOR")
    assert "Set IMAGEGEN_BACKUP_DIR" in failure(launch(dagster, "backup"))


def test_both_schedules_are_off_by_default() -> None:
    """The weekly clean-up, once on, is not a dry run."""
    assert {one.name: one.default_status.value for one in SCHEDULES} == {
        "weekly_clean_up": "STOPPED",
        "nightly_backup": "STOPPED",
    }
    (weekly,) = (one for one in SCHEDULES if one.name == "weekly_clean_up")
    context = dg.build_schedule_context(scheduled_execution_time=dt.datetime.now(dt.UTC))
    (request,) = weekly.evaluate_tick(context).run_requests or []
    assert request.run_config == {"ops": {"clean_up_op": {"config": {"dry_run": False}}}}


def age_runs(dagster: Dagster, runs: Sequence[dg.ExecuteInProcessResult], days: float) -> None:
    """Move the end of these runs back by some days."""
    path = dagster.project.results / ".dagster" / "storage" / "history" / "runs.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for run in runs:
            connection.execute(
                "UPDATE runs SET update_timestamp = datetime(update_timestamp, ?), "
                "create_timestamp = datetime(create_timestamp, ?) WHERE run_id = ?",
                (f"-{days} days", f"-{days} days", run.run_id),
            )


def test_only_runs_that_nothing_needs_are_deleted_from_dagsters_records(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """A run whose partitions all have newer events is deleted with its file. A run with the newest
    event of a partition, also of a failed one, is kept, and no partition changes its status.
    """
    dagster.run("prompts", keys=prompts)
    first = dagster.run(*ASSETS, keys=prompts[:2])
    second = dagster.run(*ASSETS, keys=prompts[:2], config={"regenerate": True})
    half = dagster.run(*ASSETS, keys=prompts[1:3])
    simulator.fault(provider="duomi", operation="submit", fault="status", status=400, times=-1)
    failed = dagster.run(*ASSETS, keys=prompts[3:])
    dry = launch(dagster, "clean_up")
    young = dagster.run("source_scan")
    assert not failed.success
    runs = [first, second, half, failed, dry]
    age_runs(dagster, runs, 40)
    before = _statuses(dagster, prompts)
    folder = dagster.project.results / ".dagster"
    shards = folder / "storage" / "history" / "runs"

    plan = plan_old_runs(dagster.instance, 30)
    assert set(plan.runs) == {first.run_id, dry.run_id}
    assert delete_old_runs(dagster.instance, plan) == 2
    assert _statuses(dagster, prompts) == before
    left = {run.run_id for run in dagster.instance.get_runs()}
    assert {one.run_id for one in (second, half, failed, young)} <= left
    assert not {first.run_id, dry.run_id} & left
    assert not (shards / f"{first.run_id}.db").exists()
    assert (shards / f"{second.run_id}.db").exists()
    assert plan_old_runs(dagster.instance, 30).runs == ()


def _statuses(dagster: Dagster, keys: list[str]) -> dict[str, Any]:
    """The partitions' status, newest events and data versions in Dagster."""
    asset = dg.AssetKey("generated_images")
    storage = dagster.instance.event_log_storage
    return {
        "made": dagster.instance.get_materialized_partitions(asset),
        "failed": dagster.failed("generated_images"),
        "newest": storage.get_latest_storage_id_by_partition(
            asset, dg.DagsterEventType.ASSET_MATERIALIZATION
        ),
        "versions": [
            record.event_log_entry.tags if record else None
            for record in (
                dagster.instance.get_latest_data_version_record(asset, False, key) for key in keys
            )
        ],
    }


def test_the_output_of_old_steps_is_deleted_although_the_run_is_kept(
    dagster: Dagster, prompts: list[str]
) -> None:
    """A needed run is needed for its events only."""
    run = dagster.run(*ASSETS, keys=prompts)
    age_runs(dagster, [run], 40)
    printed = dagster.project.results / ".dagster" / "logs" / run.run_id
    (printed / "compute_logs").mkdir(parents=True, exist_ok=True)
    (printed / "compute_logs" / "step.out").write_text("hello")
    plan = plan_old_runs(dagster.instance, 30)
    assert plan.with_output == (run.run_id,)
    assert run.run_id not in plan.runs
    delete_old_runs(dagster.instance, plan)
    assert not printed.exists()
    assert dagster.instance.has_run(run.run_id)


def test_a_run_that_is_needed_since_the_plan_is_kept(dagster: Dagster, prompts: list[str]) -> None:
    """The plan is checked again before anything is deleted."""
    dagster.run("prompts", keys=prompts)
    first = dagster.run(*ASSETS, keys=prompts[:2])
    second = dagster.run(*ASSETS, keys=prompts[:2])
    age_runs(dagster, [first, second], 40)
    plan = plan_old_runs(dagster.instance, 30)
    assert first.run_id in plan.runs
    dagster.instance.delete_run(second.run_id)
    assert delete_old_runs(dagster.instance, plan) == len(plan.runs) - 1
    assert dagster.instance.has_run(first.run_id)


def test_young_runs_are_never_deleted(dagster: Dagster) -> None:
    """Less than a week is refused, because retries need their root runs."""
    with pytest.raises(SetupError, match="last 7 days are kept"):
        plan_old_runs(dagster.instance, 6)


def test_the_job_deletes_old_runs_only_if_asked(dagster: Dagster, prompts: list[str]) -> None:
    """By default Dagster's records are kept; the metadata counts the deleted runs."""
    dagster.run("prompts", keys=prompts)
    first = dagster.run(*ASSETS, keys=prompts[:2])
    dagster.run(*ASSETS, keys=prompts[:2])
    age_runs(dagster, [first], 40)
    launch(dagster, "clean_up", {"dry_run": False})
    assert dagster.instance.has_run(first.run_id)
    dry = metadata(launch(dagster, "clean_up", {"dagster_runs": 30}))
    assert "1 runs that nothing needs" in dry["Dagster's runs"]
    assert dagster.instance.has_run(first.run_id)
    done = metadata(launch(dagster, "clean_up", {"dagster_runs": 30, "dry_run": False}))
    assert done["runs deleted"] == 1
    assert not dagster.instance.has_run(first.run_id)
