"""The sensors: what is new or changed is requested once, and a switch buys nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import dagster as dg
import pytest

from imagegen_pipeline.defs import sensors
from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline_tests.defs.conftest import Dagster

Tick = Callable[[], dg.SensorResult]


def evaluate(
    sensor: dg.SensorDefinition, dagster: Dagster, cursor: str | None = None
) -> dg.SensorResult:
    """One evaluation of a sensor, as the daemon does it."""
    resources = {"pipeline": PipelineResource()}
    with dg.build_sensor_context(
        instance=dagster.instance, cursor=cursor, resources=resources
    ) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


@pytest.fixture
def tick(dagster: Dagster) -> Tick:
    """One tick of ``new_prompts_sensor``, with the cursor and partitions kept as Dagster does."""
    cursor: list[str | None] = [None]

    def once() -> dg.SensorResult:
        result = evaluate(sensors.new_prompts_sensor, dagster, cursor[0])
        for request in result.dynamic_partitions_requests or []:
            assert isinstance(request, dg.AddDynamicPartitionsRequest)
            keys = list(request.partition_keys)
            dagster.instance.add_dynamic_partitions(request.partitions_def_name, keys)
        cursor[0] = result.cursor or cursor[0]
        return result

    return once


def keys_of(dagster: Dagster, result: dg.SensorResult) -> list[list[str]]:
    """The keys that each requested run makes."""
    order = list(dagster.instance.get_dynamic_partitions("prompts"))
    found = []
    for request in result.run_requests or []:
        if request.partition_key:
            found.append([request.partition_key])
            continue
        first = order.index(request.tags["dagster/asset_partition_range_start"])
        last = order.index(request.tags["dagster/asset_partition_range_end"])
        ops = request.run_config.get("ops", {})
        only = ops.get("generated_images", {}).get("config", {}).get("keys")
        covered = order[first : last + 1]
        assert only is None or set(only) <= set(covered)
        found.append(sorted(only or covered))
    return found


def test_switched_on_it_registers_and_requests_nothing(dagster: Dagster, tick: Tick) -> None:
    """What is there when the sensor is switched on becomes partitions and is not bought."""
    dagster.project.write_json("old", "an old prompt")
    result = tick()

    assert not result.run_requests
    assert len(dagster.instance.get_dynamic_partitions("prompts")) == 1


def test_what_comes_after_is_requested_once(dagster: Dagster, tick: Tick) -> None:
    """New prompts are one run, and the next tick requests nothing."""
    dagster.project.write_json("old", "an old prompt")
    tick()
    for name in ("new 1", "new 2", "new 3"):
        dagster.project.write_json(name, f"a {name} prompt")

    (keys,) = keys_of(dagster, tick())
    assert len(keys) == 3
    assert not any("old" in key for key in keys)
    assert not tick().run_requests


def test_scattered_edits_are_one_run_that_makes_only_them(dagster: Dagster, tick: Tick) -> None:
    """Edited prompts far apart are requested in one run that names them alone."""
    for number in range(9):
        dagster.project.write_json(f"prompt {number}", "before")
    tick()
    for number in (1, 4, 8):
        dagster.project.write_json(f"prompt {number}", "after")

    result = tick()
    (keys,) = keys_of(dagster, result)
    assert [key.split("-")[2] for key in keys] == ["1", "4", "8"]
    assert not tick().run_requests


def test_the_same_text_found_again_requests_nothing(dagster: Dagster, tick: Tick) -> None:
    """A file that is written again with the same prompt is not new."""
    dagster.project.write_json("prompt", "the same")
    tick()
    dagster.project.write_json("prompt", "the same", video_prompt="something else")

    assert not tick().run_requests


def test_many_new_prompts_come_in_chunks(
    dagster: Dagster, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a chunk of new prompts becomes a run a tick, each prompt in one of them."""
    monkeypatch.setattr(sensors, "CHUNK", 4)
    tick()
    for number in range(10):
        dagster.project.write_json(f"prompt {number}", f"number {number}")

    chunks = [keys for _ in range(4) for keys in keys_of(dagster, tick())]
    assert [len(keys) for keys in chunks] == [4, 4, 2]
    assert len({key for keys in chunks for key in keys}) == 10


def test_each_run_of_a_chunk_has_a_key_of_its_own(dagster: Dagster, tick: Tick) -> None:
    """A run key keeps Dagster from launching the same chunk twice, whatever the cursor."""
    tick()
    dagster.project.write_json("a", "one")
    first = tick().run_requests
    dagster.project.write_json("b", "two")
    second = tick().run_requests

    assert first
    assert second
    assert first[0].run_key != second[0].run_key


def test_the_backlog_is_requested_only_when_asked_for(
    dagster: Dagster, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With IMAGEGEN_SENSOR_BACKLOG=launch what is there is requested too."""
    monkeypatch.setenv("IMAGEGEN_SENSOR_BACKLOG", "launch")
    dagster.project.write_json("old", "an old prompt")

    (keys,) = keys_of(dagster, tick())
    assert len(keys) == 1


def test_what_a_command_read_elsewhere_is_not_requested(dagster: Dagster, tick: Tick) -> None:
    """Prompts of another folder, or typed ones, are in the ledger and not the sensor's to buy."""
    dagster.project.write_json("old", "an old prompt")
    tick()
    elsewhere = dagster.project.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.json").write_text('{"image_prompt": "another"}', encoding="utf-8")
    pipeline = dagster.project.pipeline()
    pipeline.scan_prompts(database=False, json_dir=elsewhere)
    pipeline.close()

    assert not tick().run_requests
    dagster.project.write_json("new", "a new prompt")
    (keys,) = keys_of(dagster, tick())
    assert [key.split("-")[1] for key in keys] == ["new"]


def test_a_broken_file_does_not_stop_the_sensor(dagster: Dagster, tick: Tick) -> None:
    """Unreadable input is passed over and the good prompt beside it is requested."""
    tick()
    dagster.project.write_json("good", "a good prompt")
    (dagster.project.data / "prompt_json" / "bad.json").write_text("{", encoding="utf-8")

    (keys,) = keys_of(dagster, tick())
    assert len(keys) == 1


def test_a_requested_run_makes_its_pictures(dagster: Dagster, tick: Tick) -> None:
    """The run configuration that a tick asks for is one that the assets take."""
    for number in range(5):
        dagster.project.write_json(f"prompt {number}", "before")
    tick()
    for number in (0, 3):
        dagster.project.write_json(f"prompt {number}", "after")
    result = tick()
    (request,) = result.run_requests or []
    order = list(dagster.instance.get_dynamic_partitions("prompts"))
    config = json.loads(json.dumps(request.run_config))["ops"]["generated_images"]["config"]

    done = dagster.run("generated_images", keys=order[:4], config=config)
    assert done.success
    assert sum(dagster.count("generated_images").values()) == 2


def test_the_sensors_are_stopped_until_switched_on() -> None:
    """Neither sensor runs by default."""
    for sensor in sensors.SENSORS:
        assert sensor.default_status is dg.DefaultSensorStatus.STOPPED


def test_new_actors_are_requested_too(dagster: Dagster) -> None:
    """A new actor is registered and its base image requested."""
    (dagster.project.data / "actors").mkdir()
    first = evaluate(sensors.new_actors_sensor, dagster)
    dagster.project.write_actor("0101_male", description="european 25 year old male")
    second = evaluate(sensors.new_actors_sensor, dagster, first.cursor)

    assert [request.partition_key for request in second.run_requests or []] == ["0101_male"]
