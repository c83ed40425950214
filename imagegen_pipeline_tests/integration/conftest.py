"""The engine on a scratch project with the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.engine.harness import EngineHarness


@pytest.fixture
def harness(project: Project, simulator: Simulator) -> Iterator[EngineHarness]:
    """A pipeline that is closed after the test."""
    with closing(project.pipeline()) as pipeline:
        yield EngineHarness(project, simulator, pipeline)
