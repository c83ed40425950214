"""The failure sensors on real runs: what failed and why, in the file and at the webhook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.defs.sensors.run_failures import (
    SENSORS,
    failure_post_sensor,
    failure_sensor,
    notice_of,
)
from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline_tests.conftest import Simulator
from imagegen_pipeline_tests.defs.conftest import Dagster
from imagegen_pipeline_tests.upkeep.hooks import SECRET, Hook, webhook


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    """A webhook, set as a user sets it."""
    with webhook() as opened:
        monkeypatch.setenv("IMAGEGEN_FAILURE_WEBHOOK", opened.url)
        yield opened


def refuse(simulator: Simulator, match: str) -> None:
    """The service refuses these prompts."""
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match=match, times=-1
    )


def evaluate(dagster: Dagster, cursor: str | None) -> Any:
    """One tick of the failure sensor, as the daemon gives it."""
    pipeline = PipelineResource()
    with dg.build_sensor_context(
        instance=dagster.instance, cursor=cursor, resources={"pipeline": pipeline}
    ) as context:
        data = failure_sensor.evaluate_tick(context)
        return data.cursor


def lines(dagster: Dagster) -> list[dict[str, Any]]:
    """What stands in the file of failures."""
    file = dagster.project.results / "logs" / "failures.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_a_failed_run_is_written_down_and_posted_with_its_partitions_and_reasons(
    dagster: Dagster, prompts: list[str], simulator: Simulator, hook: Hook
) -> None:
    """Each failed partition with what happened and what to do, and a link to the run."""
    cursor = evaluate(dagster, None)
    refuse(simulator, "number 1")
    refuse(simulator, "number 2")
    failed = dagster.run("generated_images", keys=prompts)
    assert not failed.success
    cursor = evaluate(dagster, cursor)
    (line,) = lines(dagster)
    assert line["run_id"] == failed.run_id
    assert line["assets"] == ["generated_images"]
    assert line["url"] == f"http://127.0.0.1:3000/runs/{failed.run_id}"
    assert line["failures"][0].startswith("generated_images: 2 of 4 have no image")
    assert {one["key"] for one in line["partitions"]} == set(prompts[1:3])
    assert all(one["reason"] for one in line["partitions"])
    assert line["simulated"]
    (body,) = hook.posts
    assert body == line
    assert prompts[1] in body["text"]
    assert "Traceback" not in json.dumps(body)
    assert 'File "' not in json.dumps(body)
    assert evaluate(dagster, cursor)
    assert len(hook.bodies) == 1, "each failure once"


def test_a_run_that_worked_or_failed_before_the_sensor_was_on_is_not_told(
    dagster: Dagster, prompts: list[str], simulator: Simulator, hook: Hook
) -> None:
    """Switched on, it begins with what fails from then on."""
    refuse(simulator, "number 1")
    dagster.run("generated_images", keys=prompts)
    cursor = evaluate(dagster, None)
    dagster.run("generated_images", keys=prompts[:1])
    evaluate(dagster, cursor)
    assert hook.bodies == []
    assert not (dagster.project.results / "logs" / "failures.jsonl").exists()


def test_what_the_webhook_refused_is_posted_by_the_other_sensor(
    dagster: Dagster, prompts: list[str], simulator: Simulator, hook: Hook
) -> None:
    """The run's failure is in the file at once, and at the webhook when that works again."""
    cursor = evaluate(dagster, None)
    refuse(simulator, "number 1")
    dagster.run("generated_images", keys=prompts)
    hook.answers = [404]
    evaluate(dagster, cursor)
    assert [line["event"] for line in lines(dagster)] == ["run_failed", "not_delivered"]
    with dg.build_sensor_context(
        instance=dagster.instance, resources={"pipeline": PipelineResource()}
    ) as context:
        tick = failure_post_sensor.evaluate_tick(context)
    assert str(tick.skip_message).startswith("1 posted late, 0 waiting")
    assert len(hook.bodies) == 2
    assert hook.posts[0] == hook.posts[1]


def test_a_webhook_that_hangs_is_waited_for_once_a_tick(
    dagster: Dagster, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three failures in one tick: the first is tried, the others wait in their folder."""
    monkeypatch.setattr("imagegen_pipeline.maintenance.webhook.ANSWER_SECONDS", 0.2)
    cursor = evaluate(dagster, None)
    for _ in range(3):

        @dg.job
        def night_job() -> None:
            says()

        night_job.execute_in_process(instance=dagster.instance, raise_on_error=False)
    hook.answers = ["hang"] * 10
    evaluate(dagster, cursor)
    assert len(hook.bodies) == 2, "one notice, tried twice"
    events = [line["event"] for line in lines(dagster)]
    assert (events.count("run_failed"), events.count("not_delivered")) == (3, 1)
    hook.answers = []
    with dg.build_sensor_context(
        instance=dagster.instance, resources={"pipeline": PipelineResource()}
    ) as context:
        failure_post_sensor.evaluate_tick(context)
    assert len({post["run_id"] for post in hook.posts}) == 3


@dg.op
def breaks() -> None:
    """An error that nobody foresaw, whose text holds a secret."""
    raise ValueError("could not connect to https://user:hunter2@example.test/")


@dg.op
def refuses() -> None:
    """An error of ours that nobody wrapped."""
    raise StoreError("The disk is full.")


@dg.op
def says() -> None:
    """A failure as a step words it."""
    raise dg.Failure("3 files resisted.\nTraceback of sorts", allow_retries=False)


@pytest.mark.parametrize(
    ("op", "sentence"),
    [
        (breaks, "breaks: ValueError. The run's page has the rest."),
        (refuses, "refuses: The disk is full."),
        (says, "says: 3 files resisted."),
    ],
)
def test_no_traceback_and_no_unknown_text_is_told(
    op: dg.OpDefinition, sentence: str, dagster: Dagster
) -> None:
    """Our own sentences as they are; of anything else only its name."""

    @dg.job
    def night_job() -> None:
        op()

    result = night_job.execute_in_process(instance=dagster.instance, raise_on_error=False)
    run = dagster.instance.get_run_by_id(result.run_id)
    assert run is not None
    work = dagster.project.pipeline()
    failure = result.get_run_failure_event()
    notice = notice_of(dagster.instance, run, failure, work.settings)
    assert notice.failures == (sentence,)
    assert notice.job == "night_job"
    assert "hunter2" not in notice.text


def test_a_run_without_a_failed_step_says_what_dagster_says(dagster: Dagster) -> None:
    """A run whose process died has no step that failed; it is told all the same."""

    @dg.job
    def night_job() -> None:
        says()

    run = dagster.instance.create_run_for_job(night_job)
    event = dagster.instance.report_run_failed(run, "The process has died.\nmore")
    notice = notice_of(dagster.instance, run, event, dagster.project.pipeline().settings)
    assert notice.failures == ("The process has died.",)


def test_of_many_failed_partitions_the_first_are_named(
    dagster: Dagster,
    prompts: list[str],
    simulator: Simulator,
    hook: Hook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch that failed as a whole names as many as a message may have, and says so."""
    monkeypatch.setattr("imagegen_pipeline.defs.sensors.run_failures.MOST_PARTITIONS", 3)
    cursor = evaluate(dagster, None)
    refuse(simulator, "number")
    dagster.run("generated_images", keys=prompts)
    evaluate(dagster, cursor)
    (line,) = lines(dagster)
    assert len(line["partitions"]) == 3
    assert line["more"]
    assert line["text"].count("•") == 4


def test_the_address_of_the_webhook_is_nowhere(
    dagster: Dagster, prompts: list[str], simulator: Simulator, hook: Hook
) -> None:
    """Neither in the file, nor in what waits, nor in Dagster's records."""
    cursor = evaluate(dagster, None)
    refuse(simulator, "number 1")
    dagster.run("generated_images", keys=prompts)
    hook.answers = [500, 500]
    evaluate(dagster, cursor)
    root = dagster.project.root
    files = [file for file in root.rglob("*") if file.is_file()]
    assert any(b"number 1" in file.read_bytes() for file in files)
    assert [file for file in files if SECRET.encode() in file.read_bytes()] == []


def test_both_sensors_are_on_by_default() -> None:
    """They cost nothing, and say nothing to anybody who has not asked for it."""
    assert {one.name: one.default_status.value for one in SENSORS} == {
        "failure_sensor": "RUNNING",
        "failure_post_sensor": "RUNNING",
    }
