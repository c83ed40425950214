"""What every test has: a clean environment, a scratch project, and a real simulator."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from imagegen_pipeline.legacy.logs import close_log
from imagegen_pipeline.pipeline import Pipeline

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
OURS = ("IMAGEGEN_", "DUOMI_", "RUNPOD_", "COMFYUI_", "DAGSTER_")
SMALL = "64x64"
"""Small pictures: the tests are about the pipeline, not about pixels."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the machine reaches a test, and none of a test reaches the next."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    yield
    close_log()


@dataclass(frozen=True)
class Simulator:
    """A simulator that runs as a process of its own."""

    url: str

    def stats(self) -> dict[str, Any]:
        """What the services would have counted and billed."""
        return requests.get(f"{self.url}/_sim/stats", timeout=10).json()

    def billed(self, provider: str = "duomi") -> int:
        """How many pictures the service would have billed."""
        return self.stats()[provider]["billed"]

    def fault(self, **fault: Any) -> None:
        """Script what goes wrong next."""
        requests.post(f"{self.url}/_sim/faults", json=fault, timeout=10).raise_for_status()


@pytest.fixture(scope="session")
def simulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One simulator for the whole session."""
    folder = tmp_path_factory.mktemp("simulator")
    ready = folder / "ready.json"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "imagegen_pipeline.simulator", "--port", "0"),
                *("--ready-file", str(ready), "--latency", "0.01"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: ready.is_file() or process.poll() is not None)
        port = json.loads(ready.read_text())["port"]
        yield Simulator(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def simulator(simulator_process: Simulator) -> Simulator:
    """The simulator with nothing counted and no faults scripted."""
    requests.post(f"{simulator_process.url}/_sim/reset", timeout=10).raise_for_status()
    return simulator_process


def until(condition: Callable[[], Any], *, seconds: float = 60, every: float = 0.05) -> Any:
    """Wait until ``condition``, looked at ``every`` so many seconds, holds and return its value;
    fails after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise AssertionError(f"not so after {seconds:g} s: {condition}")


@dataclass(frozen=True)
class Project:
    """A scratch project of one's own: its folder is the current one."""

    root: Path
    environment: Mapping[str, str]

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.root / "data"

    @property
    def results(self) -> Path:
        """Where simulated results go."""
        return self.data / "simulated"

    def pipeline(self) -> Pipeline:
        """The pipeline as a new process would open it."""
        return Pipeline()

    def write_json(self, stem: str, text: object, **fields: object) -> Path:
        """A prompt file."""
        folder = self.data / "prompt_json"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{stem}.json"
        path.write_text(json.dumps({"image_prompt": text, **fields}), encoding="utf-8")
        return path

    def write_actor(self, name: str, **facts: object) -> Path:
        """An actor's folder with its ``actor.json``."""
        path = self.data / "actors" / name / "actor.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"width": 64, "height": 96, **facts}), encoding="utf-8")
        return path

    def run(
        self, *command: str, check: bool = True, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """One of the project's commands as a real process."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            cwd=self.root,
            env={**os.environ, **self.environment, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command} exited {done.returncode}:\n{done.stdout}{done.stderr}")
        return done


def make_project(root: Path, environment: Mapping[str, str]) -> Project:
    """A scratch project with the real dagster.yaml, workspace and workflow, and no data."""
    for name in ("dagster.yaml", "workspace.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "workflows", root / "workflows")
    (root / "data").mkdir()
    return Project(root, dict(environment))


@pytest.fixture
def project(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A scratch project on the simulator."""
    environment = {"IMAGEGEN_SIMULATOR": simulator.url}
    made = make_project(tmp_path, environment)
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def live_project(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A scratch project that believes the simulator to be the real services."""
    environment = {
        "DUOMI_BASE_URL": f"{simulator.url}/duomi",
        "DUOMI_API_KEY": "simulated-duomi-key",
        "RUNPOD_BASE_URL": f"{simulator.url}/runpod/v2",
        "RUNPOD_API_KEY": "simulated-runpod-key",
        "RUNPOD_SERVER_100_ID": "simulated-endpoint",
        "IMAGEGEN_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
    }
    made = make_project(tmp_path, environment)
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return made
