"""The two simulators of the matrix, and a project with four items on one of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import requests

from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.fault_matrix.four_items import NAMES, FourItems

pytest.register_assert_rewrite("imagegen_pipeline_tests.integration.fault_matrix.checks")

OTHER_SHAPES = ("duomi-b64", "runpod-url")
MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it
ROOM = 2**30


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A scratch folder in memory if possible: thousands of files are flushed to it."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM:
        yield tmp_path_factory.mktemp("matrix")
        return
    with tempfile.TemporaryDirectory(prefix="imagegen-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def other_simulator() -> Iterator[Simulator]:
    """A simulator with the other delivery: Duomi inline, RunPod by URL."""
    options = SimulatorOptions(
        latency=0.01, duomi_answer="images:b64_json", runpod_output="images:url"
    )
    with running(options) as url:
        yield Simulator(url)


@pytest.fixture
def four(
    project: Project,
    simulator: Simulator,
    other_simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., FourItems]:
    """Four items of a provider, with these settings."""

    def items(
        provider: str,
        settings: Mapping[str, str] | None = None,
        names: tuple[str, ...] = NAMES,
    ) -> FourItems:
        used = simulator
        if provider in OTHER_SHAPES:
            used = other_simulator
            requests.post(f"{used.url}/_sim/reset", timeout=10).raise_for_status()
        monkeypatch.setenv("IMAGEGEN_SIMULATOR", used.url)
        for name, value in (settings or {}).items():
            monkeypatch.setenv(name, value)
        made = FourItems(project, used, provider, names)
        made.write()
        return made

    return items
