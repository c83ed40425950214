"""The jobs of a person who lives in Dagster's UI: retry, refresh, collect, and one typed prompt."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import dagster as dg
import pytest
import requests

from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.domain.retry_backoff import RETRY_DELAYS
from imagegen_pipeline_tests.conftest import SMALL, Simulator
from imagegen_pipeline_tests.integration.defs.conftest import Dagster
from imagegen_pipeline_tests.integration.engine.harness import PARAMETERS, SUBMIT


def refuse(simulator: Simulator, match: str) -> None:
    """The service refuses these prompts from now on."""
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match=match, times=-1
    )


def heal(simulator: Simulator) -> None:
    """The service refuses nothing any more."""
    requests.delete(f"{simulator.url}/_sim/faults", timeout=10).raise_for_status()


def sent(simulator: Simulator) -> int:
    """How many pictures were asked for, refused ones included."""
    return int(simulator.stats()["requests"].get(SUBMIT, 0))


def pass_time(dagster: Dagster, seconds: float) -> None:
    """The ledger as it will be after so long."""
    with closing(sqlite3.connect(dagster.project.results / "imagegen.db")) as ledger, ledger:
        ledger.execute("UPDATE attempts SET finished_at = finished_at - ?", (seconds,))


def made(dagster: Dagster) -> set[str | None]:
    """The partitions that have a picture."""
    return set(dagster.count("generated_images"))


def test_what_failed_is_tried_again_and_nothing_else(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """After its pause the failed picture is made, as it was asked for; the others are left."""
    refuse(simulator, "number 2")
    dagster.run("generated_images", keys=prompts)
    heal(simulator)
    pass_time(dagster, RETRY_DELAYS[0])
    result = dagster.launch("retry_failed")

    assert result.success
    assert dagster.count("generated_images") == dict.fromkeys(prompts, 1)
    assert simulator.billed() == 4
    (newest, *_) = dagster.events("generated_images")
    assert (newest.partition, newest.metadata["size"].value) == (prompts[2], SMALL)
    assert dagster.failed("generated_images") == set()
    assert len(dagster.events("generation_results")) == 2


def test_a_retry_waits_until_its_pause_is_over(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """Just after a failure nothing is sent, unless a person wants it at once."""
    refuse(simulator, "number 2")
    dagster.run("generated_images", keys=prompts)
    before = sent(simulator)
    assert dagster.launch("retry_failed").success
    assert sent(simulator) == before
    assert not dagster.launch("retry_failed", {"at_once": True}).success
    assert sent(simulator) == before + 1


def test_a_failing_item_is_sent_four_times_and_then_never(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """However long a schedule goes on: one request and three retries, until a person lifts it."""
    refuse(simulator, "number 2")
    dagster.run("generated_images", keys=prompts)
    before = sent(simulator)
    for _ in range(8):
        pass_time(dagster, RETRY_DELAYS[-1])
        dagster.launch("retry_failed")
    assert sent(simulator) == before + len(RETRY_DELAYS)

    message = dagster.project.run("imagegen", "resolve").stdout
    assert f"imagegen resolve {prompts[2]} --allow-retry" in message
    dagster.project.run("imagegen", "resolve", prompts[2], "--allow-retry")
    heal(simulator)
    assert dagster.launch("retry_failed").success
    assert made(dagster) == set(prompts)


def test_an_edit_starts_anew(dagster: Dagster, prompts: list[str], simulator: Simulator) -> None:
    """What failed too often for its old text is tried with its new one."""
    refuse(simulator, "number 2")
    dagster.run("generated_images", keys=prompts)
    for _ in RETRY_DELAYS:
        pass_time(dagster, RETRY_DELAYS[-1])
        dagster.launch("retry_failed")
    dagster.project.write_json("prompt 2", "a windmill")

    assert dagster.launch("retry_failed").success
    newest = dagster.events("generated_images")[0]
    assert newest.metadata["prompt"].value == "a windmill"


def test_the_nightly_refresh_makes_what_is_out_of_date(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """Only the edited prompts are made anew; what has no picture yet only if that is asked for."""
    dagster.run("generated_images", keys=prompts[:3])
    for number in (0, 2):
        dagster.project.write_json(f"prompt {number}", f"edited, number {number}")
    assert dagster.launch("refresh_stale").success
    assert dagster.count("generated_images") == {prompts[0]: 2, prompts[1]: 1, prompts[2]: 2}

    assert dagster.launch("refresh_stale").success
    assert simulator.billed() == 5
    assert dagster.launch("refresh_stale", {"missing": True}).success
    assert made(dagster) == set(prompts)


def test_the_days_budget_ends_a_refresh_without_failing_it(
    dagster: Dagster, prompts: list[str], simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the budget leaves over is left for another day, and the job is green."""
    monkeypatch.setenv("IMAGEGEN_PRICES", json.dumps({"duomi": {PARAMETERS.model: 0.1}}))
    dagster.run("generated_images", keys=prompts)
    for number in range(4):
        dagster.project.write_json(f"prompt {number}", f"edited, number {number}")
    monkeypatch.setenv("IMAGEGEN_BUDGET_DAY", "0.65")
    assert dagster.launch("refresh_stale").success
    assert simulator.billed() == 6
    monkeypatch.delenv("IMAGEGEN_BUDGET_DAY")
    assert dagster.launch("refresh_stale").success
    assert simulator.billed() == 8


def test_a_typed_prompt_becomes_a_partition_with_its_picture(
    dagster: Dagster, simulator: Simulator
) -> None:
    """The job registers the prompt and makes it; the same text again is reused."""
    config = {"prompt": "a lighthouse at dusk", "image_size": SMALL}
    result = dagster.launch("generate_one_prompt", config)

    assert result.success
    (key,) = dagster.instance.get_dynamic_partitions("prompts")
    assert key.startswith("prompt-a-lighthouse-at-dusk-")
    (event,) = dagster.events("generated_images")
    assert (event.partition, event.metadata["size"].value) == (key, SMALL)
    assert dagster.launch("generate_one_prompt", config).success
    assert simulator.billed() == 1


def test_a_blank_prompt_says_what_is_wrong(dagster: Dagster) -> None:
    """Nothing is registered and nothing bought for it."""
    result = dagster.launch("generate_one_prompt", {"prompt": "   "})
    (failure,) = result.get_step_failure_events()
    details = failure.step_failure_data.user_failure_data
    assert details is not None
    assert "blank" in str(details.description)
    assert not dagster.instance.get_dynamic_partitions("prompts")


def test_a_limit_buys_no_more_than_it_says(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """Of a range with a limit the first missing pictures are made; the same intent again, as in a
    re-execution, makes no more.
    """
    dagster.run("generated_images", keys=prompts[:1])
    for _ in range(2):
        intent = {"dagster/backfill": "one intent"}
        run = dagster.run("generated_images", keys=prompts, config={"limit": 2}, tags=intent)
        assert run.success
        assert made(dagster) == set(prompts[:3])
    assert simulator.billed() == 3
    dagster.run("generated_images", keys=prompts, config={"limit": 0})
    assert simulator.billed() == 3
    dagster.run("generated_images", keys=prompts, config={"limit": 2})
    assert made(dagster) == set(prompts)


def test_keys_beyond_the_run_are_made_and_shown_right(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """A run for one partition whose configuration names others: each has its own state, as if
    Dagster had planned them all.
    """
    refuse(simulator, "number 3")
    keys = [prompts[0], prompts[3]]
    assert not dagster.run("generated_images", keys=keys, scattered=True).success
    assert made(dagster) == {prompts[0]}
    assert dagster.failed("generated_images") == {prompts[3]}


def test_outstanding_jobs_are_brought_home(dagster: Dagster) -> None:
    """With nothing outstanding the job says so and is green."""
    assert dagster.launch("collect_outstanding").success


def test_every_field_of_the_launchpad_explains_itself() -> None:
    """Assets and jobs have a description for each field of their configuration, and each asset
    an owner, a kind, a group and a description.
    """
    from imagegen_pipeline.definitions import defs

    for asset in defs.resolve_asset_graph().asset_nodes:
        assert asset.owners
        assert asset.kinds
        assert asset.description
        assert asset.group_name != "default"
        assert asset.tags["cost"] in ("paid", "free")
    jobs = [defs.resolve_implicit_global_asset_job_def(), *defs.get_repository_def().get_all_jobs()]
    for job in jobs:
        for node in job.nodes:
            fields = node.definition.config_schema.config_type
            for name, field in getattr(fields, "fields", {}).items():
                assert field.description, f"{node.name}: {name}"


def test_the_schedules_launch_a_run_when_something_is_due(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """The hourly retry launches nothing while nothing is due; the nightly refresh looks itself."""
    from imagegen_pipeline.definitions import defs

    def requests_of(name: str) -> int:
        resources = {"pipeline": PipelineResource()}
        schedule = defs.get_repository_def().get_schedule_def(name)
        with dg.build_schedule_context(
            instance=dagster.instance,
            resources=resources,
            repository_def=defs.get_repository_def(),
        ) as context:
            return len(schedule.evaluate_tick(context).run_requests or [])

    assert (requests_of("hourly_retry"), requests_of("nightly_refresh")) == (0, 1)
    refuse(simulator, "number 2")
    dagster.run("generated_images", keys=prompts)
    assert requests_of("hourly_retry") == 0
    pass_time(dagster, RETRY_DELAYS[0])
    assert requests_of("hourly_retry") == 1
