"""Which pictures are out of date, in Dagster's own eyes."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from imagegen_pipeline.app.regenerate import Mode, Overrides, plan_regenerate
from imagegen_pipeline.cli import imagegen
from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.defs.sensors import sources
from imagegen_pipeline_tests.conftest import SMALL, Simulator
from imagegen_pipeline_tests.integration.defs.conftest import PROMPT_ASSETS, Dagster

Stale = Callable[..., set[str]]


@pytest.fixture
def stale(dagster: Dagster) -> Stale:
    """The partitions of an asset that Dagster shows as out of date."""
    from imagegen_pipeline.definitions import defs

    def found(asset: str = "generated_images", partitions: str = "prompts") -> set[str]:
        resolver = CachingStaleStatusResolver(
            dagster.instance, defs.resolve_asset_graph(), LoadingContextForTest(dagster.instance)
        )
        keys = dagster.instance.get_dynamic_partitions(partitions)
        return {
            key for key in keys if resolver.get_status(dg.AssetKey(asset), key) is StaleStatus.STALE
        }

    return found


@pytest.fixture
def prompts(dagster: Dagster) -> list[str]:
    """Three prompts with their pictures."""
    for number in range(3):
        dagster.project.write_json(f"prompt {number}", f"a lighthouse, number {number}")
    keys = dagster.register()
    assert dagster.run(*PROMPT_ASSETS, keys=keys).success
    return keys


def test_an_edited_prompt_makes_its_picture_stale_and_no_other(
    dagster: Dagster, prompts: list[str], stale: Stale
) -> None:
    """Exactly the edited prompt's picture is out of date, until it is made again."""
    assert stale() == set()
    dagster.project.write_json("prompt 1", "a windmill")
    assert dagster.run("prompts", keys=prompts).success
    assert stale() == {prompts[1]}
    assert dagster.run("generated_images", keys=prompts).success
    assert stale() == set()


def test_the_table_that_is_written_beside_the_pictures_is_up_to_date(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """After a run that failed, and after pictures of the command line, Dagster shows the table as
    up to date although a picture is missing; a picture that is not in it makes it stale.
    """
    from imagegen_pipeline.definitions import defs

    def status() -> StaleStatus:
        graph, loading = defs.resolve_asset_graph(), LoadingContextForTest(dagster.instance)
        resolver = CachingStaleStatusResolver(dagster.instance, graph, loading)
        return resolver.get_status(dg.AssetKey("generation_results"))

    dagster.project.write_json("refused", "a forbidden lighthouse")
    (refused,) = set(dagster.register()) - set(prompts)
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match="forbidden"
    )
    assert not dagster.run("generated_images", keys=[refused]).success
    assert status() is StaleStatus.FRESH
    assert dagster.run(*PROMPT_ASSETS[:2], keys=prompts[:1], config={"seed": 7}).success
    assert status() is StaleStatus.FRESH
    dagster.project.run("imagegen", "generate", "--source", "json", "--image-size", SMALL)
    assert status() is StaleStatus.FRESH
    event = dg.AssetMaterialization("generated_images", partition=refused)
    dagster.instance.report_runless_asset_event(event)
    assert status() is StaleStatus.STALE


def test_what_is_out_of_date_is_listed_with_the_results(
    dagster: Dagster, prompts: list[str]
) -> None:
    """The table's metadata names the partitions that Dagster shows nowhere as a list."""
    dagster.project.write_json("prompt 1", "a windmill")
    for asset in ("source_scan", "generation_results"):
        assert dagster.run(asset).success
        (newest, *_) = dagster.events(asset)
        assert newest.metadata["out of date"].value == f"- `{prompts[1]}`"


def test_the_same_text_again_makes_nothing_stale(
    dagster: Dagster, prompts: list[str], stale: Stale
) -> None:
    """A further look at the sources, and what is reused, leave all as it was."""
    assert dagster.run("source_scan").success
    assert dagster.run("prompts", keys=prompts).success
    assert dagster.run("generated_images", keys=prompts[:1]).success
    assert stale() == set()


def test_the_sensor_sees_an_edit_within_a_tick(
    dagster: Dagster, prompts: list[str], stale: Stale, simulator: Simulator
) -> None:
    """An edit is out of date after one tick, which requests nothing; a new prompt is registered."""
    cursor = _tick(dagster)
    assert stale() == set()
    dagster.project.write_json("prompt 2", "a windmill")
    dagster.project.write_json("prompt 3", "a new one")
    cursor = _tick(dagster, cursor)
    assert stale() == {prompts[2]}
    assert len(dagster.instance.get_dynamic_partitions("prompts")) == 4
    before = dagster.count("prompts")
    _tick(dagster, cursor)
    assert dagster.count("prompts") == before
    assert simulator.billed() == 3


def _tick(dagster: Dagster, cursor: str | None = None) -> str | None:
    """One tick of ``sources_sensor``, its answer carried out as the daemon does it."""
    with dg.build_sensor_context(
        instance=dagster.instance, cursor=cursor, resources={"pipeline": PipelineResource()}
    ) as context:
        result = sources.sources_sensor(context)
    assert isinstance(result, dg.SensorResult)
    assert not result.run_requests
    for request in result.dynamic_partitions_requests or []:
        assert isinstance(request, dg.AddDynamicPartitionsRequest)
        keys = list(request.partition_keys)
        dagster.instance.add_dynamic_partitions(request.partitions_def_name, keys)
    for event in result.asset_events or []:
        dagster.instance.report_runless_asset_event(event)
    return result.cursor


def test_a_picture_made_outside_of_dagster_is_as_fresh_as_any(
    dagster: Dagster, stale: Stale
) -> None:
    """What a command made is not out of date; after an edit ``imagegen sync`` says that it is."""
    generate = ("generate", "--source", "json", "--image-size", SMALL)
    dagster.project.write_json("boat", "a red boat")
    assert CliRunner().invoke(imagegen, generate).exit_code == 0
    (key,) = dagster.instance.get_dynamic_partitions("prompts")
    assert stale() == set()
    dagster.project.write_json("boat", "a blue boat")
    assert f"1 pictures ({key})" in CliRunner().invoke(imagegen, ["sync"]).stdout
    assert stale() == {key}
    assert CliRunner().invoke(imagegen, generate).exit_code == 0
    assert stale() == set()
    assert "Out of date" not in CliRunner().invoke(imagegen, ["sync"]).stdout


def test_a_picture_edited_in_the_gallery_counts_for_its_item(
    dagster: Dagster, prompts: list[str], stale: Stale
) -> None:
    """Another prompt for one picture makes it not out of date: its source asks for the same."""
    pipeline = dagster.project.pipeline()
    plan = plan_regenerate(
        pipeline,
        prompts[:1],
        mode=Mode.REGENERATE,
        overrides=Overrides(prompt="a fish"),
        intent="click",
    )
    for part in plan.batches:
        batch = pipeline.make(part.kind, part.provider, part.tasks, part.options)
        assert all(outcome.ok for outcome in batch)
    assert dagster.run("generated_images", keys=prompts).success
    assert stale() == set()


def test_what_a_run_passes_over_stays_out_of_date(
    dagster: Dagster, prompts: list[str], stale: Stale
) -> None:
    """A run that is meant for other partitions of its range makes nothing fresh in passing."""
    dagster.project.write_json("prompt 0", "a windmill")
    dagster.project.write_json("prompt 2", "a mill race")
    config = {"keys": [prompts[2]]}
    assert dagster.run("generated_images", keys=prompts, config=config).success
    assert stale() == {prompts[0]}


def test_an_actor_who_has_changed_is_out_of_date(dagster: Dagster, stale: Stale) -> None:
    """A base image is made from description, size, steps and seed: one of them is enough."""
    dagster.project.write_actor("0100_sailor", description="an old sailor")
    assert dagster.run("source_scan").success
    assert dagster.run("actor_base_images", keys=["0100_sailor"]).success
    assert stale("actor_base_images", "actors") == set()
    dagster.project.write_actor("0100_sailor", description="an old sailor", steps=30)
    _tick(dagster)
    assert stale("actor_base_images", "actors") == {"0100_sailor"}


def test_a_prompt_that_left_its_source_keeps_its_picture(
    dagster: Dagster, prompts: list[str], stale: Stale
) -> None:
    """What was deleted at the source is not out of date, and its picture stays."""
    (dagster.project.data / "prompt_json" / "prompt 1.json").unlink()
    _tick(dagster)
    assert stale() == set()
    assert dagster.project.pipeline().current_outcome(prompts[1]) is not None
