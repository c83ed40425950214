"""One simulator for the tests that need no options of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.simulator.clients import Witness


@pytest.fixture(scope="session")
def shared_root() -> Iterator[str]:
    """The root URL of the simulator that tests share."""
    with running(SimulatorOptions(latency=0.02)) as root:
        yield root


@pytest.fixture
def witness(shared_root: str) -> Witness:
    """The shared simulator, with clean books."""
    client = Witness(shared_root)
    client.reset()
    return client


@pytest.fixture
def start() -> Iterator[Callable[..., Witness]]:
    """Starts a simulator with options of the test's own."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Witness:
            settings = SimulatorOptions(**({"latency": 0.01} | options))
            return Witness(stack.enter_context(running(settings)))

        yield begin
