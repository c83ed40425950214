"""The sensor that looks: it tells Dagster what has changed, in portions, and each thing once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from imagegen_pipeline.cli import imagegen
from imagegen_pipeline.dagster_ext import source_sync
from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.defs.sensors import sources
from imagegen_pipeline.domain.partition_keys import json_key
from imagegen_pipeline.sources.typed_prompts import typed_prompt
from imagegen_pipeline_tests.integration.defs.conftest import PROMPT_ASSETS, Dagster

A, B, C = (json_key(stem) for stem in "abc")


@dataclass
class CountingClock:
    """A clock that goes on by one second whenever it is asked."""

    asked: int = 0

    def now(self) -> float:
        """Not used by a budget."""
        raise NotImplementedError

    def monotonic(self) -> float:
        """Seconds."""
        self.asked += 1
        return float(self.asked)

    def wait(self, *_: object) -> bool:
        """Nothing here waits."""
        raise NotImplementedError


@dataclass
class Sensor:
    """``sources_sensor``, its cursor kept as the daemon keeps it."""

    dagster: Dagster
    cursor: str | None = None
    message: list[str] = field(default_factory=list)

    def tick(self) -> str:
        """One tick; returns what it says."""
        with dg.build_sensor_context(
            instance=self.dagster.instance,
            cursor=self.cursor,
            resources={"pipeline": PipelineResource()},
        ) as context:
            result = sources.sources_sensor(context)
        assert isinstance(result, dg.SensorResult)
        assert not result.run_requests
        self.cursor = result.cursor
        return str(result.skip_reason.skip_message if result.skip_reason else "")

    @property
    def registered(self) -> list[str]:
        """The prompts that are partitions, in their order."""
        return list(self.dagster.instance.get_dynamic_partitions("prompts"))

    def observed(self, key: str) -> list[tuple[object, str]]:
        """What a prompt's observations say of its source, oldest first."""
        asset = dg.AssetRecordsFilter(asset_key=dg.AssetKey("prompts"), asset_partitions=[key])
        records = self.dagster.instance.fetch_observations(asset, limit=50).records
        found = [record.asset_observation for record in reversed(records)]
        return [(one.metadata["in its source"].value, str(one.description)) for one in found if one]


@pytest.fixture
def sensor(dagster: Dagster) -> Sensor:
    """The sensor before its first tick."""
    return Sensor(dagster)


@pytest.fixture
def watched(sensor: Sensor) -> Sensor:
    """Three prompts that Dagster was told of."""
    for name in "abc":
        sensor.dagster.project.write_json(name, f"picture {name}")
    sensor.tick()
    return sensor


def delete(sensor: Sensor, name: str) -> None:
    """Delete a prompt file."""
    (sensor.dagster.project.data / "prompt_json" / f"{name}.json").unlink()


def test_what_is_new_is_registered_and_has_its_version(sensor: Sensor) -> None:
    """The first tick makes partitions of what is there, each with one event."""
    sensor.dagster.project.write_json("a", "picture a")
    sensor.dagster.project.write_actor("sailor", description="an old sailor")
    message = sensor.tick()

    assert message == "Prompts: 1 new. Actors: 1 new. Dagster: 2 registered, 2 given a version."
    assert sensor.registered == [A]
    (event,) = sensor.dagster.events("prompts")
    assert event.metadata["text"].value == "picture a"
    assert sensor.dagster.count("actors") == {"sailor": 1}


def test_an_unchanged_tick_says_so_and_writes_nothing(watched: Sensor) -> None:
    """Nothing is listed, registered or reported when nothing has changed."""
    before = watched.dagster.count("prompts"), watched.cursor
    assert watched.tick() == "Nothing has changed in the sources."
    assert (watched.dagster.count("prompts"), watched.cursor) == before


def test_an_edit_is_reported_once(watched: Sensor) -> None:
    """The new text is the prompt's version from one tick on; saved as it is, it is no news."""
    watched.dagster.project.write_json("b", "another")
    assert watched.tick() == "Prompts: 1 changed. Dagster: 1 given a version."
    watched.dagster.project.write_json("c", "picture c")
    watched.tick()
    assert watched.dagster.count("prompts") == {A: 1, B: 2, C: 1}


def test_what_is_deleted_is_shown_as_gone_once_and_keeps_its_picture(watched: Sensor) -> None:
    """The partition stays, says since when its source has not had it, and is not out of date."""
    assert watched.dagster.run(*PROMPT_ASSETS, keys=[A, C]).success
    delete(watched, "b")
    assert watched.tick() == "Prompts: 1 gone. Dagster: 1 marked gone."
    ((in_source, message),) = watched.observed(B)
    assert in_source is False
    assert "Gone from its source since 20" in message
    assert "b.json" in message
    assert watched.tick() == "Nothing has changed in the sources."
    assert B in watched.registered
    assert watched.dagster.project.pipeline().current_outcome(B) is not None
    assert stale(watched.dagster) == set()


def stale(dagster: Dagster) -> set[str]:
    """The pictures that Dagster shows as out of date."""
    from imagegen_pipeline.definitions import defs

    graph, context = defs.resolve_asset_graph(), LoadingContextForTest(dagster.instance)
    resolver = CachingStaleStatusResolver(dagster.instance, graph, context)
    asset = dg.AssetKey("generated_images")
    keys = dagster.instance.get_dynamic_partitions("prompts")
    return {key for key in keys if resolver.get_status(asset, key) is StaleStatus.STALE}


def test_what_comes_back_is_shown_as_back(watched: Sensor) -> None:
    """With its old text nothing is out of date; with another one its picture is."""
    assert watched.dagster.run(*PROMPT_ASSETS, keys=[A, C]).success
    for name in "ab":
        delete(watched, name)
    watched.tick()
    watched.dagster.project.write_json("a", "picture a")
    watched.dagster.project.write_json("b", "another")
    assert "1 given a version, 2 marked back" in watched.tick()
    assert [in_source for in_source, _ in watched.observed(A)] == [False, True]
    assert stale(watched.dagster) == {B}
    delete(watched, "a")
    watched.tick()
    assert [in_source for in_source, _ in watched.observed(A)] == [False, True, False]


def test_what_does_not_fit_into_a_tick_is_told_in_the_next_ones(
    sensor: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many keys are registered ahead of their events, which come as far as the time goes."""
    monkeypatch.setattr(sources, "CLOCK", CountingClock())
    monkeypatch.setattr(sources, "TICK_SECONDS", 5)
    monkeypatch.setattr(sources, "MAX_KEYS_PER_TICK", 20)
    monkeypatch.setattr(source_sync, "_KEYS_AT_ONCE", 7)
    monkeypatch.setattr(source_sync, "_EVENTS_AT_ONCE", 1)
    for number in range(30):
        sensor.dagster.project.write_json(f"{number:02}", f"picture {number}")
    message = sensor.tick()
    assert len(sensor.registered) == 20
    assert sum(sensor.dagster.count("prompts").values()) == 5
    assert message.endswith("The next ticks have 10 to register, 25 to report.")
    sensor.tick()
    assert len(sensor.registered) == 30
    for _ in range(7):
        message = sensor.tick()
    assert message == "Nothing has changed in the sources."
    assert set(sensor.dagster.count("prompts").values()) == {1}
    assert len(sensor.dagster.count("prompts")) == 30


def test_what_cannot_be_read_is_counted_in_every_tick(watched: Sensor) -> None:
    """A broken file is said for as long as it is broken; a source that nobody uses never is."""
    (watched.dagster.project.data / "prompt_json" / "bad.json").write_text("{", encoding="utf-8")
    for _ in range(2):
        message = watched.tick()
        assert message == "Nothing has changed in the sources. 1 cannot be read: see the log."
    watched.dagster.project.write_json("bad", "mended")
    assert "cannot be read" not in watched.tick()


def test_a_new_dagster_hears_of_everything_that_an_old_ledger_has(watched: Sensor) -> None:
    """Whatever was looked at before: a sensor without cursor begins at the beginning."""
    delete(watched, "b")
    watched.tick()
    for key in (A, B, C):
        watched.dagster.instance.delete_dynamic_partition("prompts", key)
    watched.dagster.instance.wipe_assets([dg.AssetKey("prompts")])
    watched.cursor = None
    message = watched.tick()
    assert message.endswith("Dagster: 2 registered, 2 given a version.")
    assert sorted(watched.registered) == sorted([A, C]), "and of nothing that was gone before"


@pytest.mark.parametrize("cursor", ["3 0", "{}", "[1]", '{"registered": {"prompt": 1}}'])
def test_a_cursor_that_it_does_not_know_is_the_beginning(watched: Sensor, cursor: str) -> None:
    """An older program's cursor tells nothing; what Dagster knows already is not told twice."""
    watched.cursor = cursor
    watched.dagster.project.write_json("d", "picture d")
    assert watched.tick() == "Prompts: 1 new. Dagster: 1 registered, 1 given a version."


def test_a_ledger_that_was_made_anew_is_told_from_its_beginning(watched: Sensor) -> None:
    """The numbers of its changes begin anew; nothing behind the old cursor is passed over."""
    pipeline = watched.dagster.project.pipeline()
    url = str(pipeline.settings.ledger_url).removeprefix("sqlite:///")
    with closing(sqlite3.connect(url)) as connection:
        for table in ("items", "source_states"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - one of two names
        connection.commit()
    for name in "abcd":
        watched.dagster.project.write_json(name, f"another {name}")
    assert "Dagster: 1 registered, 4 given a version." in watched.tick()


def test_sync_and_source_scan_bring_back_a_partition_that_was_lost(watched: Sensor) -> None:
    """What somebody deleted in Dagster by hand is registered again when a person asks for it."""
    instance = watched.dagster.instance
    instance.delete_dynamic_partition("prompts", B)
    watched.tick()
    assert B not in watched.registered
    assert CliRunner().invoke(imagegen, ["sync"]).exit_code == 0
    assert B in watched.registered
    instance.delete_dynamic_partition("prompts", B)
    assert watched.dagster.run("source_scan").success
    assert B in watched.registered


def test_sync_says_what_is_gone(watched: Sensor) -> None:
    """A person need not wait for the sensor, which then does not say it again."""
    delete(watched, "b")
    assert CliRunner().invoke(imagegen, ["sync"]).exit_code == 0
    assert [in_source for in_source, _ in watched.observed(B)] == [False]
    assert watched.tick() == "Nothing has changed in the sources."
    assert len(watched.observed(B)) == 1


def test_a_typed_prompt_is_told_too(watched: Sensor) -> None:
    """What was typed on the command line is a partition with a version like any other."""
    prompt = typed_prompt("a lighthouse at dusk")
    watched.dagster.project.pipeline().register(prompt)
    watched.tick()
    assert prompt.key in watched.registered
    assert watched.dagster.count("prompts")[prompt.key] == 1


def test_the_cursor_is_small(watched: Sensor) -> None:
    """It holds a number for each kind of item, however many there are."""
    assert json.loads(watched.cursor or "") == {
        "registered": {"actor": 0, "prompt": 3},
        "reported": {"actor": 0, "prompt": 3},
    }
