"""One running Dagster for all tests of this folder, and a browser for its pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import OURS, Simulator, make_project
from imagegen_pipeline_tests.e2e.browser.conftest import browser as browser
from imagegen_pipeline_tests.e2e.dagster.dagster_process import dagster_dev
from imagegen_pipeline_tests.e2e.dagster.deployment import Deployment

ALL_ASSETS = (
    "source_scan",
    "prompts",
    "actors",
    "generated_images",
    "actor_base_images",
    "generation_results",
    "approved_pictures",
)
BACKFILL_GROUP = "first backfill"
ACTOR, DESCRIPTION = "0101_male", "european 25 year old male"


@dataclass(frozen=True)
class FirstBackfill:
    """The backfill over all assets that was launched when Dagster started."""

    keys: list[str]
    id: str


@pytest.fixture(scope="package")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, FirstBackfill]]:
    """``dagster dev`` on a scratch project, with "materialize all" launched but not finished."""
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
            deployment = Deployment(project, Simulator(url), web)
            keys = deployment.prompts(BACKFILL_GROUP, 2)
            backfill = web.backfill(ALL_ASSETS, allPartitions=True)
            yield deployment, FirstBackfill(keys, backfill)


@pytest.fixture
def first_backfill(started: tuple[Deployment, FirstBackfill]) -> FirstBackfill:
    """The backfill over all assets; it may still run."""
    return started[1]


@pytest.fixture
def deployment(
    started: tuple[Deployment, FirstBackfill], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    """The running Dagster without faults, with its project as the current one."""
    deployment, _ = started
    monkeypatch.chdir(deployment.project.root)
    for name, value in deployment.project.environment.items():
        monkeypatch.setenv(name, value)
    deployment.clear_faults()
    yield deployment
    deployment.clear_faults()
