"""``imagegen serve`` as a real process: output, refusals and signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from imagegen_pipeline_tests.conftest import Project, Simulator, until
from imagegen_pipeline_tests.integration.web.conftest import PARAMS

IMAGEGEN = Path(sys.executable).parent / "imagegen"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(project: Project) -> Iterator[Start]:
    """Starts the command with a shell's signal handlers; it is killed after the test."""
    begun: list[subprocess.Popen[str]] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def run(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(IMAGEGEN), "serve", "--port", "0", *arguments],
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


def address(process: subprocess.Popen[str]) -> str:
    """The address in its first line."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("Gallery: http://"), line or process.communicate()[1]
    return line.split()[1]


def test_it_prints_its_address_and_the_simulator(start: Start) -> None:
    """One line on stdout with the real port and the API's page; the simulator is named."""
    process = start()
    url = address(process)
    assert not url.endswith(":0")
    assert requests.get(f"{url}/healthz", timeout=10).json() == {"status": "ok"}
    for path in ("/", "/docs", "/static/base.css", "/docs/files/swagger-ui.css"):
        assert requests.get(url + path, timeout=10).status_code == 200, path
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert stdout == ""
    assert "Using the local simulator: nothing is bought." in stderr
    assert "Traceback" not in stderr


def test_missing_keys_are_named(start: Start) -> None:
    """A live server without keys starts, and names the missing variables."""
    process = start(IMAGEGEN_SIMULATOR="")
    address(process)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert "Images of prompts can be viewed, not generated: DUOMI_API_KEY is not set." in stderr
    assert "Base images can be viewed, not generated: RUNPOD_API_KEY is not set." in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "0.0.0.0"), "IMAGEGEN_TOKEN"),  # noqa: S104
        (("--host", "::"), "IMAGEGEN_TOKEN"),
        (("--host", "no.such.host.invalid"), "is not an address of this machine"),
        (("--host", ""), "is not an address of this machine"),
        (("--port", "65536"), "65536 is not in the range"),
        (("--max-waiting", "0"), "0 is not in the range"),
    ],
)
def test_invalid_options(project: Project, arguments: tuple[str, ...], message: str) -> None:
    """Exit 2 and one sentence with the remedy, before the server listens."""
    done = project.run("imagegen", "serve", *arguments, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_port_in_use(project: Project) -> None:
    """Exit 2 and one sentence with the port and the remedy."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        done = project.run("imagegen", "serve", "--port", port, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line


def test_it_listens_at_all_addresses_with_a_token(start: Start) -> None:
    """With IMAGEGEN_TOKEN it listens at every address and requires the token."""
    token = "a token that opens nothing but these tests".replace(" ", "-")
    process = start("--host", "0.0.0.0", IMAGEGEN_TOKEN=token)  # noqa: S104
    url = address(process)
    assert requests.get(f"{url}/api/totals", timeout=10).status_code == 401
    headers = {"authorization": f"Bearer {token}"}
    assert requests.get(f"{url}/api/totals", headers=headers, timeout=10).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_job_to_the_next_server(
    number: signal.Signals, slow: Simulator, project: Project, start: Start
) -> None:
    """Nothing more is sent and the process ends; the next one collects the image at no cost."""
    process = start()
    url = address(process)
    answer = requests.post(f"{url}/api/generate-base-image?async=1", json=PARAMS, timeout=10)
    job = answer.json()
    with closing(project.pipeline()) as pipeline:
        until(lambda: [a.state for a in pipeline.ledger.attempts.unfinished()] == ["submitted"])
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else 0), stderr
    assert "Stopping: nothing more is sent" in stderr
    assert "Traceback" not in stderr

    again = start()
    url = address(again)
    found = until(
        lambda: (
            (body := requests.get(url + job["job"], timeout=10).json())["status"]
            not in ("IN_QUEUE", "IN_PROGRESS")
            and body
        ),
        seconds=90,
    )
    assert found["status"] == "COMPLETED", json.dumps(found)[:300]
    assert slow.billed("runpod") == 1


def test_a_second_signal_ends_the_process(
    simulator: Simulator, project: Project, start: Start
) -> None:
    """The process does not wait for the open request."""
    simulator.fault(provider="runpod", operation="submit", fault="hang", times=5)
    process = start()
    url = address(process)
    requests.post(f"{url}/api/generate-base-image?async=1", json=PARAMS, timeout=10)
    with closing(project.pipeline()) as pipeline:
        until(lambda: [a.state for a in pipeline.ledger.attempts.unfinished()] == ["submitting"])
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    until(lambda: "Stopping" in str(process.stderr.readline()))
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Exited at once" in stderr
