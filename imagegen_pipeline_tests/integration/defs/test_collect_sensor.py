"""The collector: on by default, sends nothing, and leaves Dagster knowing every picture."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import dagster as dg
import pytest

from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.defs.sensors import collect
from imagegen_pipeline.defs.sensors.collect import collect_sensor
from imagegen_pipeline.domain.requests import State
from imagegen_pipeline_tests.conftest import Project, Simulator, until
from imagegen_pipeline_tests.integration.defs.conftest import Dagster
from imagegen_pipeline_tests.integration.engine.harness import EngineHarness, plan_base, submitted


@pytest.fixture
def harness(project: Project, simulator: Simulator) -> Iterator[EngineHarness]:
    """The engine on the same project."""
    with closing(project.pipeline()) as pipeline:
        yield EngineHarness(project, simulator, pipeline)


def tick(dagster: Dagster, cursor: str | None = None) -> dg.SensorResult:
    """One evaluation, as the daemon does it."""
    pipeline = PipelineResource()
    with dg.build_sensor_context(
        instance=dagster.instance, cursor=cursor, resources={"pipeline": pipeline}
    ) as context:
        result = collect_sensor(context)
        pipeline.get().close()
    assert isinstance(result, dg.SensorResult)
    assert not result.run_requests
    return result


def message(result: dg.SensorResult) -> str:
    """What the UI shows of the tick."""
    assert result.skip_reason is not None
    return str(result.skip_reason.skip_message)


def test_it_is_on_and_every_minute() -> None:
    """It costs nothing, so nobody has to switch it on."""
    from imagegen_pipeline.definitions import defs

    sensor = defs.resolve_sensor_def("collect_sensor")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 60


def test_a_job_of_a_dead_process_becomes_a_picture_and_an_event(
    dagster: Dagster, harness: EngineHarness
) -> None:
    """One tick collects it, registers its partition and reports it; the next has nothing to do."""
    actor = harness.actor()
    attempt = submitted(harness, actor)
    until(lambda: harness.simulator.billed("runpod") == 1)

    assert message(tick(dagster)).startswith("1 collected")
    (event,) = dagster.events("actor_base_images")
    assert event.partition == actor.key
    current = harness.pipeline.ledger.attempts.current(actor.key)
    assert current is not None
    assert (current.id, current.reported) == (attempt.id, True)
    assert event.metadata["sha256"].value == current.digest
    assert message(tick(dagster)) == "Nothing is outstanding."
    assert harness.simulator.stats()["runpod"]["accepted"] == 1


def test_a_job_that_runs_is_left_to_a_later_tick(dagster: Dagster, harness: EngineHarness) -> None:
    """It is neither waited for nor given up, and nothing new is sent."""
    actor = harness.actor()
    attempt = plan_base(harness, actor)
    harness.simulator.fault(provider="runpod", operation="submit", fault="stuck_in_queue")
    runpod = harness.pipeline.provider("runpod")
    job_id = str(runpod.submit(attempt.sent_request).job_id)
    harness.pipeline.ledger.attempts.submitted(attempt, job_id=job_id, endpoint=runpod.endpoint)
    assert "1 still running" in message(tick(dagster))
    assert harness.states() == [State.SUBMITTED]


def test_a_picture_that_was_never_reported_is(dagster: Dagster, harness: EngineHarness) -> None:
    """A process that died between the ledger and Dagster leaves a picture that a later tick
    reports; one of just now is left to the run that makes it.
    """
    outcome = harness.make_one(harness.prompt())
    assert message(tick(dagster)) == "Nothing is outstanding."
    with closing(sqlite3.connect(harness.project.results / "imagegen.db")) as ledger, ledger:
        ledger.execute("UPDATE attempts SET finished_at = finished_at - 301")
    assert message(tick(dagster)).startswith("1 reported late")
    assert dagster.count("generated_images") == {outcome.item_key: 1}
    assert message(tick(dagster)) == "Nothing is outstanding."


def test_many_are_looked_at_in_turns(
    dagster: Dagster, harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick looks at a chunk; the next goes on behind it, and then begins anew."""
    monkeypatch.setattr(collect, "MAX_ATTEMPTS_PER_TICK", 2)
    for number in range(5):
        submitted(harness, harness.actor(f"actor_{number}"))
    until(lambda: harness.simulator.billed("runpod") == 5)
    cursor: str | None = None
    collected = []
    for _ in range(3):
        result = tick(dagster, cursor)
        cursor = result.cursor
        collected.append(message(result).split(".")[0])
    assert collected == ["2 collected", "2 collected", "1 collected"]
    assert cursor == "0"


def test_without_a_key_it_says_what_it_needs(
    live_project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live job and no key: the tick is no failure, and names the variable."""
    from imagegen_pipeline.dagster_ext.instance import open_instance

    with closing(live_project.pipeline()) as pipeline:
        harness = EngineHarness(live_project, simulator, pipeline)
        submitted(harness, harness.actor())
    monkeypatch.delenv("RUNPOD_API_KEY")
    instance = open_instance()
    assert instance is not None
    with instance:
        assert "RUNPOD_API_KEY is not set" in message(tick(Dagster(instance, live_project)))
