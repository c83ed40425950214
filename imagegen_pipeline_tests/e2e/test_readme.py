"""The README's commands and claims, tried."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from imagegen_pipeline.providers.registry import registry
from imagegen_pipeline.settings import Settings
from imagegen_pipeline_tests.conftest import ROOT, Project, Simulator

README = (ROOT / "README.md").read_text(encoding="utf-8")
TESTED = re.findall(r"<!-- tested:.*?-->\n```bash\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def samples(project: Project) -> Project:
    """The scratch project with the sample data, registered in Dagster."""
    for name in ("llm_video_batch.db", "prompt_json", "actors"):
        source = ROOT / "data" / name
        if source.is_dir():
            shutil.copytree(source, project.data / name)
        else:
            shutil.copy(source, project.data / name)
    project.run("imagegen", "sync")
    return project


def test_every_command_of_the_readme_works(samples: Project, simulator: Simulator) -> None:
    """The README's blocks of commands run to their end, one after the other, as they stand."""
    assert len(TESTED) == 2
    for line in "".join(TESTED).splitlines():
        command = line.partition("   #")[0].strip()
        done = _shell(samples, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert simulator.billed() > 0
    assert simulator.billed("runpod") == 1


def _shell(project: Project, command: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=project.root,
        env={**os.environ, **project.environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_every_setting_is_in_the_readmes_table() -> None:
    """A setting that the program reads stands in the README, and the other way round."""
    models: list[type[BaseModel]] = [Settings]
    models += [one.settings_model for one in registry().loadable()]
    read = {
        field.validation_alias
        for model in models
        for name, field in model.model_fields.items()
        if isinstance(field.validation_alias, str) and name != "dagster_home"
    }
    shown = set(re.findall(r"^\| `([A-Z_0-9]+)`", README, re.MULTILINE))
    assert shown == read


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """Files and pictures that the README points at are there."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
