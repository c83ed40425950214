"""A run that is interrupted keeps what is paid for, and the next one buys only the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import Project, Simulator, until
from imagegen_pipeline_tests.integration.defs.test_dagster_commands import (
    MATERIALIZE,
    SMALL_CONFIG,
    count,
    partitions,
)

ITEMS = 12


@pytest.fixture
def slow(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator that takes half a second for a picture."""
    with running(SimulatorOptions(latency=0.5)) as url:
        monkeypatch.setenv("IMAGEGEN_SIMULATOR", url)
        project.environment["IMAGEGEN_SIMULATOR"] = url  # type: ignore[index]
        yield Simulator(url)


def test_ctrl_c_in_a_range_run_loses_nothing(project: Project, slow: Simulator) -> None:
    """What was in flight at the interrupt is reported; a second run makes the rest, once each."""
    for number in range(ITEMS):
        project.write_json(f"prompt {number:02}", f"a harbour, number {number}")
    project.run("imagegen", "sync")
    keys = partitions()
    command = (
        *MATERIALIZE,
        *("--select", "generated_images", "--partition-range", f"{keys[0]}...{keys[-1]}"),
        *("--config-json", SMALL_CONFIG),
    )
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        cwd=project.root,
        env={**os.environ, **project.environment, "IMAGEGEN_CONCURRENCY": "2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: slow.billed() >= 3 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0

    made = count("generated_images")
    assert 3 <= len(made) < ITEMS
    assert len(made) == slow.billed(), "every picture that was paid for is reported"
    assert count("generation_results") == {None: 1}

    project.run(*command)
    assert slow.billed() == ITEMS
    assert set(count("generated_images")) == set(keys)
