"""The main job on real prompts of real users, at full size."""

from __future__ import annotations

import pytest

from imagegen_pipeline.dagster_ext.instance import open_instance
from imagegen_pipeline_tests.conftest import SHARED, Project, Simulator

DATA = SHARED / "data"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real prompts are not beside the project"),
]


def test_the_json_files_make_302_pictures_for_301_bills(
    project: Project, simulator: Simulator
) -> None:
    """Every file gets its picture, two with one text share a bill, and again costs nothing."""
    command = ("imagegen", "generate", "--source", "json")
    folder = ("--input-dir", str(DATA / "prompt_json"))
    project.run(*command, *folder)
    assert len(list((project.results / "generated_images").glob("*.png"))) == 302
    assert simulator.billed() == 301

    again = project.run(*command, *folder)
    assert simulator.billed() == 301
    assert "302 reused" in again.stdout


def test_the_database_makes_183_pictures_for_182_bills(
    project: Project, simulator: Simulator
) -> None:
    """Every prompt gets its picture; the blank one is told with what to do, and fails alone."""
    database = {"IMAGEGEN_PROMPT_DB": str(DATA / "llm_video_batch.db")}
    command = ("imagegen", "generate", "--source", "sqlite")
    first = project.run(*command, check=False, **database)
    assert first.returncode == 1
    assert "#902" in first.stderr
    assert len(list((project.results / "generated_images").glob("*.png"))) == 183
    assert simulator.billed() == 182

    again = project.run(*command, check=False, **database)
    assert simulator.billed() == 182
    assert "183 reused" in again.stdout


def test_one_range_run_makes_all_pictures(project: Project, simulator: Simulator) -> None:
    """All 485 partitions in one Dagster run: 483 bills or fewer, one event each, 0 again."""
    sources = {
        "IMAGEGEN_PROMPT_DB": str(DATA / "llm_video_batch.db"),
        "IMAGEGEN_PROMPT_JSON_DIR": str(DATA / "prompt_json"),
    }
    project.run("imagegen", "sync", check=False, **sources)
    instance = open_instance()
    assert instance is not None
    with instance:
        keys = instance.get_dynamic_partitions("prompts")
    assert len(keys) == 485
    command = (
        *("dagster", "asset", "materialize", "-m", "imagegen_pipeline.definitions"),
        *("--select", "prompts,generated_images+"),
        *("--partition-range", f"{keys[0]}...{keys[-1]}"),
    )
    project.run(*command, **sources)
    assert simulator.billed() == 483
    assert len(list((project.results / "generated_images").glob("*.png"))) == 485

    project.run(*command, **sources)
    assert simulator.billed() == 483
