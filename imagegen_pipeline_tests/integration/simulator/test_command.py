"""The command that runs the simulator."""

import ast
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

import imagegen_pipeline.simulator.command as command_module
from imagegen_pipeline.simulator.command import simulate
from imagegen_pipeline_tests.conftest import ROOT
from imagegen_pipeline_tests.integration.simulator.clients import WAIT, SimulatorClient, eventually

PROJECT = ROOT
COMMAND = [sys.executable, "-m", "imagegen_pipeline.simulator"]


def test_the_command_says_where_it_is_and_ends_when_idle(tmp_path: Path) -> None:
    """It writes a ready file, prints shell lines that work, and ends after the silence."""
    ready = tmp_path / "run" / "ready.json"
    arguments = ["--port", "0", "--ready-file", str(ready), "--idle-exit", "0.5"]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as process:
        eventually(ready.exists)
        written = json.loads(ready.read_text())
        assert written["pid"] == process.pid
        root = f"http://127.0.0.1:{written['port']}"
        assert SimulatorClient(root).duomi().status_code == 200
        output, _ = process.communicate(timeout=WAIT)
    assert process.returncode == 0
    assert f"export DUOMI_BASE_URL={root}/duomi\n" in output
    assert f"export RUNPOD_BASE_URL={root}/runpod/v2\n" in output
    assert "export DUOMI_API_KEY=simulated-duomi-key\n" in output
    assert list(ready.parent.iterdir()) == [ready]


def test_ctrl_c_ends_it_quietly(tmp_path: Path) -> None:
    """An interrupt ends it with 0 and no traceback, also while a request hangs."""
    ready = tmp_path / "ready.json"
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--ready-file", str(ready)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    ) as process:
        eventually(ready.exists)
        port = json.loads(ready.read_text())["port"]
        simulated = SimulatorClient(f"http://127.0.0.1:{port}")
        simulated.script({"provider": "duomi", "operation": "submit", "fault": "hang"})
        with pytest.raises(requests.ReadTimeout):
            simulated.duomi(timeout=0.1)
        os.kill(process.pid, signal.SIGINT)
        _, complaints = process.communicate(timeout=WAIT)
    assert (process.returncode, complaints) == (0, "")


def test_a_taken_port_is_explained() -> None:
    """A port that is in use is wrong usage, said in one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(simulate, ["--port", str(port)])
    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in result.output


def test_every_option_is_explained() -> None:
    """The help describes each option."""
    result = CliRunner().invoke(simulate, ["--help"])
    assert result.exit_code == 0
    for parameter in simulate.params:
        assert getattr(parameter, "help", None), parameter.name


def test_importing_the_command_is_cheap() -> None:
    """The servers' and pictures' libraries are loaded only when the command runs."""
    check = (
        "import sys, imagegen_pipeline; before = set(sys.modules);"
        "import imagegen_pipeline.simulator.command; loaded = set(sys.modules) - before;"
        "print([m for m in ('starlette', 'uvicorn', 'PIL', 'asyncio') if m in loaded])"
    )
    found = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    assert found.stdout.strip() == "[]"


def test_the_simulator_knows_nothing_of_the_project() -> None:
    """No module imports the rest of the package, so a misreading cannot pass on both sides."""
    folder = Path(command_module.__file__).parent
    for module in folder.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                own = name.startswith("imagegen_pipeline")
                assert not own or name.startswith("imagegen_pipeline.simulator."), module
