"""Dagster's own commands as real processes, on the project's instance with no variable set."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from imagegen_pipeline.dagster_ext.instance import open_instance
from imagegen_pipeline_tests.conftest import Project, Simulator

MATERIALIZE = ("dagster", "asset", "materialize", "-m", "imagegen_pipeline.definitions")
SMALL_CONFIG = json.dumps({"ops": {"generated_images": {"config": {"image_size": "64x64"}}}})


@pytest.fixture
def keys(project: Project) -> list[str]:
    """Three JSON prompts in an instance that a process has just filled."""
    for number in range(3):
        project.write_json(f"prompt {number}", f"a harbour, number {number}")
    project.run(*MATERIALIZE, "--select", "source_scan")
    return partitions()


def partitions() -> list[str]:
    """The prompts' partitions, as another process has written them."""
    instance = open_instance()
    assert instance is not None
    with instance:
        return list(instance.get_dynamic_partitions("prompts"))


def count(asset: str) -> Counter[str | None]:
    """How many materializations each partition has."""
    import dagster as dg

    instance = open_instance()
    assert instance is not None
    with instance:
        records = instance.fetch_materializations(dg.AssetKey(asset), limit=1000).records
        return Counter(record.partition_key for record in records)


def test_a_person_gets_to_a_picture_from_an_empty_instance(
    keys: list[str], project: Project, simulator: Simulator
) -> None:
    """Scan, then one partition: two commands, one picture at the full default size, one bill."""
    project.run(*MATERIALIZE, "--select", "generated_images", "--partition", keys[0])

    assert count("generated_images") == {keys[0]: 1}
    assert simulator.billed() == 1
    (picture,) = (project.results / "generated_images").glob("*.png")
    assert picture.stat().st_size > 10_000


def test_a_range_with_what_is_downstream_makes_all(
    keys: list[str], project: Project, simulator: Simulator
) -> None:
    """``--select generated_images+ --partition-range A...B`` makes all and the table."""
    done = project.run(
        *MATERIALIZE,
        *("--select", "generated_images+", "--partition-range", f"{keys[0]}...{keys[-1]}"),
        *("--config-json", SMALL_CONFIG),
    )

    assert count("generated_images") == dict.fromkeys(keys, 1)
    assert count("generation_results") == {None: 1}
    assert simulator.billed() == 3
    assert "STEP_SKIPPED" not in done.stdout + done.stderr


def test_dg_launch_works_from_the_root_without_flags(
    keys: list[str], project: Project, simulator: Simulator
) -> None:
    """``dg launch`` finds the project, its instance and the partition."""
    project.run(
        *("dg", "launch", "--assets", "generated_images", "--partition", keys[1]),
        *("--config-json", SMALL_CONFIG),
    )

    assert count("generated_images") == {keys[1]: 1}
    assert simulator.billed() == 1


def test_the_definitions_are_valid_without_any_key(live_project: Project) -> None:
    """``dagster definitions validate`` is clean, and loading needs no key."""
    nothing = {"DUOMI_API_KEY": "", "RUNPOD_API_KEY": "", "RUNPOD_SERVER_100_ID": ""}
    done = live_project.run("dagster", "definitions", "validate", **nothing)

    assert "passed validation" in done.stdout + done.stderr
    assert "ERROR" not in done.stdout + done.stderr


def test_imagegen_env_makes_the_module_flag_unnecessary(keys: list[str], project: Project) -> None:
    """With the lines of ``imagegen env``, materialize works without -m and elsewhere."""
    lines = project.run("imagegen", "env").stdout.splitlines()
    variables = dict(line.removeprefix("export ").split("=", 1) for line in lines)

    project.run(
        *("dagster", "asset", "materialize", "--select", "generated_images"),
        *("--partition", keys[0], "--config-json", SMALL_CONFIG),
        **variables,
    )
    assert count("generated_images") == {keys[0]: 1}


def test_what_imagegen_generates_is_seen_in_dagster(project: Project, simulator: Simulator) -> None:
    """A picture of the command line is a materialization of its partition, once."""
    project.write_json("prompt", "a harbour at noon")
    command = ("imagegen", "generate", "--source", "json", "--image-size", "64x64")
    project.run(*command)
    project.run(*command)

    (key,) = partitions()
    assert count("generated_images") == {key: 1}
    assert simulator.billed() == 1


def test_sync_registers_what_is_there(project: Project) -> None:
    """``imagegen sync`` fills an empty instance as ``source_scan`` does."""
    project.write_json("prompt", "a harbour at noon")
    done = project.run("imagegen", "sync")

    assert "1 partitions added" in done.stdout
    assert len(partitions()) == 1
