"""One simulator for the tests that need no options of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.integration.simulator.clients import SimulatorClient


@pytest.fixture(scope="session")
def shared_root() -> Iterator[str]:
    """The root URL of the simulator that tests share."""
    with running(SimulatorOptions(latency=0.02)) as root:
        yield root


@pytest.fixture
def simulated(shared_root: str) -> SimulatorClient:
    """The shared simulator, with clean books."""
    client = SimulatorClient(shared_root)
    client.reset()
    return client


@pytest.fixture
def start() -> Iterator[Callable[..., SimulatorClient]]:
    """Starts a simulator with options of the test's own."""
    with ExitStack() as stack:

        def begin(**options: Any) -> SimulatorClient:
            settings = SimulatorOptions(**({"latency": 0.01} | options))
            return SimulatorClient(stack.enter_context(running(settings)))

        yield begin
