"""``imagegen sync`` reports the sources to Dagster; ``imagegen env`` prints shell settings."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imagegen_pipeline.dagster_ext.instance import open_instance
from imagegen_pipeline_tests.conftest import Project, Simulator, make_project
from imagegen_pipeline_tests.integration.cli.conftest import DESCRIPTION, GENERATE, Invoke


def partitions(name: str) -> list[str]:
    """What the project's instance has registered."""
    instance = open_instance()
    assert instance is not None
    with instance:
        return sorted(instance.get_dynamic_partitions(name))


def test_sync_registers_and_counts(project: Project, simulator: Simulator, invoke: Invoke) -> None:
    """New, changed and gone items are counted by kind; partitions are added; nothing is bought."""
    project.write_json("a", "picture a")
    gone = project.write_json("b", "picture b")
    project.write_actor("actor_1", description=DESCRIPTION)
    first = invoke("sync")
    assert first.exit_code == 0
    assert "prompts: 2 new, 0 changed, 0 gone, 0 unchanged" in first.stdout
    assert "actors: 1 new, 0 changed, 0 gone, 0 unchanged" in first.stdout
    assert "Dagster: 3 partitions added" in first.stdout
    assert [key.rpartition("-")[0] for key in partitions("prompts")] == ["json-a", "json-b"]
    assert partitions("actors") == ["actor_1"]

    project.write_json("a", "another picture")
    gone.unlink()
    second = invoke("sync")
    assert "prompts: 0 new, 1 changed, 1 gone, 0 unchanged" in second.stdout
    assert "Dagster: 0 partitions added" in second.stdout
    assert simulator.stats()["duomi"]["accepted"] == 0


def test_an_unreadable_file_is_exit_1_and_the_rest_is_registered(
    project: Project, invoke: Invoke
) -> None:
    """An unreadable file is named on stderr and does not affect the others."""
    project.write_json("good", "a mill by a stream")
    (project.data / "prompt_json" / "bad.json").write_text("[]")
    result = invoke("sync")
    assert result.exit_code == 1
    assert "bad.json" in result.stderr
    assert "bad.json" not in result.stdout
    assert len(partitions("prompts")) == 1


def test_a_missing_default_source_is_no_failure(project: Project, invoke: Invoke) -> None:
    """A missing source at its default path is named and exit 0."""
    project.write_json("a", "picture a")
    result = invoke("sync")
    assert result.exit_code == 0
    assert "llm_video_batch.db" in result.stderr


@pytest.mark.parametrize("variable", ["IMAGEGEN_PROMPT_DB", "IMAGEGEN_ACTORS_DIR"])
def test_a_configured_source_must_exist(
    variable: str, project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """A configured source that does not exist is exit 1."""
    monkeypatch.setenv(variable, "nowhere")
    result = invoke("sync")
    assert result.exit_code == 1
    assert str(project.root / "nowhere") in result.stderr


def test_a_source_that_disappeared_is_a_failure(project: Project, invoke: Invoke) -> None:
    """A folder that existed before, such as an unmounted disk, is exit 1 and loses no item."""
    project.write_json("a", "picture a")
    assert invoke("sync").exit_code == 0
    shutil.rmtree(project.data / "prompt_json")
    result = invoke("sync")
    assert result.exit_code == 1
    assert "0 gone" in result.stdout


def test_sync_reports_what_dagster_missed(
    project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """Images stored while Dagster was unavailable are reported once."""
    monkeypatch.setenv("DAGSTER_HOME", str(project.root / "nowhere"))
    assert invoke(*GENERATE, "prompt", "--prompt", "a mill").exit_code == 0
    monkeypatch.delenv("DAGSTER_HOME")
    assert "1 pictures reported" in invoke("sync").stdout
    assert "0 pictures reported" in invoke("sync").stdout


def test_a_dagster_that_cannot_be_opened_is_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """``sync`` exits with 2 and the reason if Dagster cannot be opened."""
    monkeypatch.setenv("DAGSTER_HOME", str(project.root / "nowhere"))
    result = invoke("sync")
    assert result.exit_code == 2
    assert "Dagster cannot be opened" in result.stderr
    assert "DAGSTER_HOME" in result.stderr


def test_env_prints_valid_shell_lines(tmp_path: Path) -> None:
    """``eval "$(imagegen env)"`` works from a subfolder, with blanks and quotes in the path."""
    root = tmp_path / "my 'own' project"
    root.mkdir()
    project = make_project(root, {})
    command = Path(sys.executable).parent / "imagegen"
    done = subprocess.run(
        ["bash", "-c", f'eval "$({command} env)"; echo "$DAGSTER_HOME|$DAGSTER_MODULE_NAME"'],
        cwd=project.data,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"{root}|imagegen_pipeline.definitions\n"
    assert done.stderr == ""


def test_env_sets_performance_variables_that_are_not_set(project: Project) -> None:
    """DAGSTER_EVENT_BATCH_SIZE and MALLOC_ARENA_MAX get a default and keep the user's value."""
    command = Path(sys.executable).parent / "imagegen"
    shown = 'echo "$DAGSTER_EVENT_BATCH_SIZE|$MALLOC_ARENA_MAX"'
    done = subprocess.run(
        ["bash", "-c", f'export MALLOC_ARENA_MAX=8; eval "$({command} env)"; {shown}'],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "1000|8\n"


def test_env_outside_of_a_project_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """Without a dagster.yaml nothing is printed: exit 2."""
    monkeypatch.setattr("imagegen_pipeline.settings.project_root", lambda: tmp_path)
    result = invoke("env")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"no dagster.yaml in {tmp_path}" in result.stderr
