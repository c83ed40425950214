"""Ctrl-C and SIGTERM: no paid image is lost, and none is bought twice."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import Project, Simulator, until
from imagegen_pipeline_tests.integration.cli.conftest import DESCRIPTION, GENERATE, Invoke

BIN = Path(sys.executable).parent
ITEMS = 5
COMMAND = ("imagegen", *GENERATE, "json", "--concurrency", "2")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def slow(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Project, Simulator]]:
    """Prompts, and a simulator that takes 0.4 s for a picture."""
    for number in range(ITEMS):
        project.write_json(f"p{number}", f"picture {number}")
    with running(SimulatorOptions(latency=0.4)) as url:
        monkeypatch.setenv("IMAGEGEN_SIMULATOR", url)
        yield project, Simulator(url)


@pytest.fixture
def start(slow: tuple[Project, Simulator]) -> Iterator[Start]:
    """Starts a command whose signals are as a shell's user has them; none outlives the test."""
    begun: list[subprocess.Popen[str]] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def run(*command: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield run
    signal.signal(signal.SIGINT, before)
    for process in begun:
        process.kill()
        process.communicate()


def states(project: Project) -> Counter[State]:
    """How many attempts of each state the ledger has."""
    with closing(project.pipeline()) as pipeline:
        return Counter(attempt.state for attempt, _ in pipeline.ledger.attempts.rows())


def billed_by_prompt(simulator: Simulator) -> list[int]:
    """What each prompt was billed."""
    return [entry["billed"] for entry in simulator.stats()["by_prompt"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_completes_its_requests(
    number: signal.Signals, slow: tuple[Project, Simulator], start: Start, invoke: Invoke
) -> None:
    """Exit 1, every bill has its image, no attempt is open; the next run buys the rest."""
    project, simulator = slow
    process = start(*COMMAND)
    until(lambda: simulator.billed() >= 2 or process.poll() is not None)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Stopping: nothing more is sent" in stderr
    assert "Traceback" not in stderr

    made = simulator.billed()
    assert 2 <= made < ITEMS
    ended = states(project)
    assert ended[State.STORED] == made
    # What was planned when the signal came was not sent: it is closed, at no cost.
    assert set(ended) <= {State.STORED, State.FAILED}
    assert stdout.startswith(f"{made} made, {ITEMS - made} skipped.")
    assert len(list((project.results / "generated_images").glob("*.png"))) == made
    (log,) = (project.results / "logs").glob("*.json")
    assert len(json.loads(log.read_text())) == ITEMS

    again = invoke(*COMMAND[1:])
    assert again.exit_code == 0
    assert again.stdout.startswith(f"{ITEMS - made} made, {made} reused.")
    assert billed_by_prompt(simulator) == [1] * ITEMS


def test_running_jobs_are_collected_by_the_next_run(
    slow: tuple[Project, Simulator], start: Start, invoke: Invoke
) -> None:
    """With an asynchronous provider the run ends at once and the next one collects its jobs."""
    project, simulator = slow
    command = (*COMMAND, "--model", "gpt-image-2", "--image-size", "1024x640")
    process = start(*command)
    until(lambda: states(project)[State.SUBMITTED] == 2 or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "Stopping" in stderr
    sent = simulator.stats()["duomi"]["accepted"]
    assert 2 <= sent < ITEMS
    assert set(states(project)) <= {State.SUBMITTED, State.STORED, State.FAILED}

    assert invoke(*command[1:]).exit_code == 0
    assert billed_by_prompt(simulator) == [1] * ITEMS
    assert states(project)[State.STORED] == ITEMS


def test_a_second_signal_exits_at_once(slow: tuple[Project, Simulator], start: Start) -> None:
    """Two Ctrl-C do not wait for a provider that hangs; the ledger has the requests."""
    project, simulator = slow
    simulator.fault(provider="duomi", operation="submit", fault="hang", seconds=120, times=-1)
    process = start(*COMMAND)
    until(lambda: states(project)[State.SUBMITTING] == 2 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    stderr = process.stderr
    assert stderr is not None
    until(lambda: "Stopping" in stderr.readline())
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Exited at once" in rest
    assert states(project) == {State.SUBMITTING: 2}


def test_an_ignored_signal_stays_ignored(slow: tuple[Project, Simulator], start: Start) -> None:
    """A background job of a shell ignores Ctrl-C, and so does its batch."""
    _, simulator = slow
    command = shlex.join([str(BIN / COMMAND[0]), *COMMAND[1:], "--limit", "2"])
    process = start("/bin/sh", "-c", f"trap '' INT; exec {command}")
    until(lambda: simulator.stats()["duomi"]["accepted"] >= 1 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert stdout.startswith("2 made.")


def test_an_interrupted_base_image_is_collected_by_the_next(
    slow: tuple[Project, Simulator], start: Start, invoke: Invoke
) -> None:
    """The error says that the job continues; the same command again collects it for one bill."""
    project, simulator = slow
    command = ("imagegen", "base-image", "actor_1", DESCRIPTION, "64", "96")
    process = start(*command)
    until(lambda: states(project)[State.SUBMITTED] == 1 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    answer = json.loads(stdout)
    assert answer["status"] == "FAILED"
    assert "Run again: what was sent is collected, not bought again." in answer["error"]
    assert "Traceback" not in stderr

    again = invoke(*command[1:])
    assert again.exit_code == 0
    assert json.loads(again.stdout)["status"] == "COMPLETED"
    assert simulator.billed("runpod") == 1


def test_interrupted_models_try_no_further_model(
    slow: tuple[Project, Simulator], start: Start
) -> None:
    """The image in progress is completed; no further model is tried."""
    _, simulator = slow
    process = start("imagegen", "models", "--yes", "--all")
    until(lambda: simulator.stats()["duomi"]["accepted"] >= 1 or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(stdout.splitlines()) == simulator.billed() == 1


def test_a_limit_that_is_waited_for_is_named(project: Project) -> None:
    """Whoever watches a batch that stands still is told which limit it waits for, and SIGTERM
    ends the waiting.
    """
    for number in range(2):
        project.write_json(f"p{number}", f"picture {number}")
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "imagegen"), *GENERATE, "json"],
        env={**os.environ, "IMAGEGEN_RATE_PER_MINUTE": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr as lines:
        shown = next(line for line in lines if "Waiting" in line)
        process.send_signal(signal.SIGTERM)
        rest = lines.read()
    assert "duomi: 1 a minute are allowed" in shown
    assert process.wait(timeout=60) == 1
    assert "Stopping" in rest
