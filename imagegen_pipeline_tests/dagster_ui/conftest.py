"""One running Dagster for all tests of this folder, and a browser to look at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import OURS, Simulator, make_project
from imagegen_pipeline_tests.dagster_ui.serving import dagster_dev
from imagegen_pipeline_tests.dagster_ui.studio import Studio
from imagegen_pipeline_tests.web.browser.conftest import browser as browser

EVERYTHING = (
    "source_scan",
    "prompts",
    "actors",
    "generated_images",
    "actor_base_images",
    "generation_results",
    "approved_pictures",
)
OPENING = "opening"
ACTOR, DESCRIPTION = "0101_male", "european 25 year old male"


@dataclass(frozen=True)
class Opening:
    """What the running Dagster was first asked for: everything that there was."""

    keys: list[str]
    backfill: str


@pytest.fixture(scope="package")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Studio, Opening]]:
    """``dagster dev`` on a scratch project, "materialize all" launched, and not waited for."""
    with pytest.MonkeyPatch.context() as patch, running(SimulatorOptions(latency=0.01)) as url:
        for name in [name for name in os.environ if name.startswith(OURS)]:
            patch.delenv(name)
        variables = {"IMAGEGEN_SIMULATOR": url, "IMAGEGEN_CONCURRENCY": "2"}
        project = make_project(tmp_path_factory.mktemp("dagster"), variables)
        patch.chdir(project.root)
        for name, value in variables.items():
            patch.setenv(name, value)
        project.write_actor(ACTOR, description=DESCRIPTION)
        with dagster_dev(project) as web:
            studio = Studio(project, Simulator(url), web)
            keys = studio.prompts(OPENING, 2)
            backfill = web.backfill(EVERYTHING, allPartitions=True)
            yield studio, Opening(keys, backfill)


@pytest.fixture
def opening(opened: tuple[Studio, Opening]) -> Opening:
    """What was asked for at first; whoever needs it made waits for it."""
    return opened[1]


@pytest.fixture
def studio(opened: tuple[Studio, Opening], monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """The running Dagster, and its project as the current one; nothing goes wrong yet."""
    studio, _ = opened
    monkeypatch.chdir(studio.project.root)
    for name, value in studio.project.environment.items():
        monkeypatch.setenv(name, value)
    studio.heal()
    yield studio
    studio.heal()
