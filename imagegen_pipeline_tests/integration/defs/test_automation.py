"""Automation: what is new or edited is asked for once, and a switch buys nothing by itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import dagster as dg
import pytest
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.defs.sensors.automation import automation_sensor, source_changed_condition
from imagegen_pipeline.defs.sensors.sources import sources_sensor
from imagegen_pipeline_tests.conftest import Simulator
from imagegen_pipeline_tests.integration.defs.conftest import Dagster

IMAGES = dg.AssetKey("generated_images")
TICKS_A_DAY = 3
"""With news in most of them: a tick without any asks for nothing."""


@dataclass
class Sources:
    """``sources_sensor``, ticked as the daemon does it."""

    dagster: Dagster
    cursor: str | None = None

    def tick(self) -> None:
        """What it finds is registered and reported."""
        with dg.build_sensor_context(
            instance=self.dagster.instance,
            cursor=self.cursor,
            resources={"pipeline": PipelineResource()},
        ) as context:
            result = sources_sensor(context)
        assert isinstance(result, dg.SensorResult)
        for request in result.dynamic_partitions_requests or []:
            assert isinstance(request, dg.AddDynamicPartitionsRequest)
            name, keys = request.partitions_def_name, list(request.partition_keys)
            self.dagster.instance.add_dynamic_partitions(name, keys)
        for event in result.asset_events:
            self.dagster.instance.report_runless_asset_event(event)
        self.cursor = result.cursor


@pytest.fixture
def sources(dagster: Dagster) -> Sources:
    """The sensor that looks."""
    return Sources(dagster)


@dataclass
class Conditions:
    """The conditions of the real assets, evaluated tick after tick."""

    dagster: Dagster
    cursor: object = None

    def requested(self) -> list[str]:
        """The prompts whose pictures are asked for by one evaluation."""
        from imagegen_pipeline.definitions import defs

        result = dg.evaluate_automation_conditions(
            defs,
            self.dagster.instance,
            asset_selection=dg.AssetSelection.assets(IMAGES),
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return sorted(result.get_requested_partitions(IMAGES))


@dataclass
class Week:
    """A made-up week of work on a folder of prompts, and what it makes due."""

    dagster: Dagster
    chance: random.Random = field(default_factory=lambda: random.Random(2026))  # noqa: S311 - chance, no secret
    texts: dict[str, str] = field(default_factory=dict)
    deleted: dict[str, str] = field(default_factory=dict)
    written: int = 0

    def hour(self) -> set[str]:
        """Someone adds, edits, deletes, saves and puts back; returns whose text is new."""
        chance, changed = self.chance, set()
        for _ in range(chance.choice((0, 0, 1, 3))):
            changed.add(self.write(f"prompt {len(self.texts) + len(self.deleted)}"))
        known = sorted(set(self.texts) - changed)
        for name in chance.sample(known, min(len(known), chance.choice((0, 0, 1, 2)))):
            changed.add(self.write(name))
        for name in chance.sample(known, min(len(known), 2)):  # saved again as it is
            self.dagster.project.write_json(name, self.texts[name])
        gone = [name for name in known if name not in changed]
        if gone and chance.random() < 0.2:
            name = chance.choice(gone)
            self.deleted[name] = self.texts.pop(name)
            (self.dagster.project.data / "prompt_json" / f"{name}.json").unlink()
        elif self.deleted and chance.random() < 0.3:
            name = chance.choice(sorted(self.deleted))
            self.texts[name] = self.deleted.pop(name)
            self.dagster.project.write_json(name, self.texts[name])
        return changed

    def write(self, name: str) -> str:
        """A text that nobody has had, every fifth of which the service refuses."""
        self.written += 1
        kind = "forbidden" if self.written % 5 == 0 else "allowed"
        self.texts[name] = f"{kind} picture, number {self.written}"
        self.dagster.project.write_json(name, self.texts[name])
        return name


def slug(key: str) -> str:
    """The name of the file that a key was made of."""
    return " ".join(key.split("-")[1:3])


def test_a_week_asks_for_exactly_what_is_due(
    dagster: Dagster, simulator: Simulator, sources: Sources
) -> None:
    """New, edited, deleted, saved-again and failing prompts over a week: each new text is asked
    for once, nothing else ever, and each that the service makes is billed once.
    """
    simulator.fault(
        provider="duomi",
        operation="submit",
        fault="status",
        status=400,
        match="forbidden",
        times=-1,
    )
    dagster.project.write_json("from before", "what was there when the switch was turned")
    sources.tick()
    conditions, week = Conditions(dagster), Week(dagster)
    assert conditions.requested() == []
    asked, due_in_all = 0, 0
    for _ in range(7 * TICKS_A_DAY):
        expected = week.hour()
        sources.tick()
        requested = conditions.requested()
        assert {slug(key) for key in requested} == expected
        asked, due_in_all = asked + len(requested), due_in_all + len(expected)
        if requested:
            dagster.run("generated_images", keys=requested, scattered=True)
    assert conditions.requested() == []
    assert asked == due_in_all == week.written > 20
    assert simulator.billed() == week.written - week.written // 5


@pytest.mark.parametrize("backlog", [False, True])
def test_what_was_there_before_is_asked_for_only_as_backlog(
    tmp_path_factory: pytest.TempPathFactory, backlog: bool
) -> None:
    """A missing picture of before the first tick is due only with the backlog, once; its
    source's first event is no edit; a real edit is.
    """
    partitions = dg.DynamicPartitionsDefinition(name="things")

    @dg.asset(partitions_def=partitions)
    def source() -> None: ...

    @dg.asset(
        partitions_def=partitions,
        deps=[source],
        automation_condition=source_changed_condition(backlog=backlog),
    )
    def picture() -> None: ...

    defs = dg.Definitions(assets=[source, picture])
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("instance"))) as instance:

        def report(key: str, version: str) -> None:
            tags = {
                "dagster/data_version": version,
                "dagster/data_version_is_user_provided": "true",
            }
            event = dg.AssetMaterialization("source", partition=key, tags=tags)
            instance.report_runless_asset_event(event)

        cursor = None

        def requested() -> set[str]:
            nonlocal cursor
            selected = dg.AssetSelection.assets(picture)
            result = dg.evaluate_automation_conditions(
                defs, instance, asset_selection=selected, cursor=cursor
            )
            cursor = result.cursor
            return set(result.get_requested_partitions(picture.key))

        instance.add_dynamic_partitions("things", ["known", "unknown"])
        report("known", "1")
        assert requested() == ({"known"} if backlog else set())
        report("unknown", "1")
        assert requested() == ({"unknown"} if backlog else set())
        assert requested() == set()
        report("known", "2")
        assert requested() == {"known"}


@pytest.fixture
def automation(dagster: Dagster) -> Callable[[], list[dg.RunRequest]]:
    """One tick of the switched-on sensor; returns the runs that it launches."""
    from imagegen_pipeline.definitions import defs

    cursor: list[str | None] = [None]

    def tick() -> list[dg.RunRequest]:
        with dg.build_sensor_context(
            instance=dagster.instance,
            cursor=cursor[0],
            repository_def=defs.get_repository_def(),
        ) as context:
            data = automation_sensor.evaluate_tick(context)
        cursor[0] = data.cursor or cursor[0]
        return list(data.run_requests or [])

    return tick


def test_scattered_edits_are_one_run_that_names_them(
    dagster: Dagster,
    sources: Sources,
    automation: Callable[[], list[dg.RunRequest]],
    simulator: Simulator,
) -> None:
    """Edits far apart become one run, whose configuration the asset takes: it makes those alone."""
    for number in range(12):
        dagster.project.write_json(f"prompt {number:02}", f"before {number}")
    sources.tick()
    assert automation() == []
    for number in (1, 4, 8, 11):
        dagster.project.write_json(f"prompt {number:02}", f"after {number}")
    sources.tick()
    (request,) = automation()
    assert request.asset_selection == [IMAGES, dg.AssetKey("generation_results")]
    assert automation() == []

    keys = request.run_config["ops"]["generated_images"]["config"]["keys"]
    assert [slug(key) for key in keys] == ["prompt 01", "prompt 04", "prompt 08", "prompt 11"]
    assert dagster.run("generated_images", keys=keys, scattered=True).success
    assert dagster.count("generated_images") == dict.fromkeys(keys, 1)
    assert simulator.billed() == 4


def test_a_tick_reads_the_keys_of_all_partitions_once(
    dagster: Dagster,
    sources: Sources,
    automation: Callable[[], list[dg.RunRequest]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 100,000 prompts each reading takes a fifth of a second, and Dagster asks six times."""
    dagster.project.write_json("a prompt", "a boat")
    sources.tick()
    automation()
    read: list[str] = []
    as_ever = SqlEventLogStorage.get_dynamic_partitions

    def noting(self: SqlEventLogStorage, name: str) -> Sequence[str]:
        read.append(name)
        return as_ever(self, name)

    monkeypatch.setattr(SqlEventLogStorage, "get_dynamic_partitions", noting)
    automation()
    assert sorted(read) == ["actors", "prompts"]


def test_it_is_off_until_it_is_switched_on() -> None:
    """Of all sensors and schedules those that buy are off."""
    from imagegen_pipeline.definitions import defs

    assert automation_sensor.default_status is dg.DefaultSensorStatus.STOPPED
    repository = defs.get_repository_def()
    paid = {sensor.name for sensor in repository.sensor_defs if sensor.tags.get("cost") == "paid"}
    assert paid == {"automation_sensor"}
    for schedule in repository.schedule_defs:
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
