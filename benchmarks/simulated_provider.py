"""The simulator as a separate process: it plays the paid providers over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from benchmarks.figures import Result
from benchmarks.scratch import ROOT

ADDRESS = "IMAGEGEN_SIMULATOR"
ABANDONED_SECONDS = 900
"""The simulator ends by itself after such a silence, should the benchmark be killed."""
_START_SECONDS = 60


@dataclass
class SimulatedProvider:
    """A running simulator and the CPU that it has used."""

    url: str
    process: psutil.Process
    _began: float = field(default_factory=time.perf_counter)
    _used: float = 0.0

    def use(self) -> None:
        """Use it in this process and its children, also after a new scratch project is made."""
        os.environ[ADDRESS] = self.url

    def cpu_seconds(self) -> float:
        """Seconds of a core that the process has used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def billed(self) -> int:
        """How many pictures would have been billed so far, by Duomi."""
        answer = requests.get(f"{self.url}/_sim/stats?prompts=0", timeout=30)
        answer.raise_for_status()
        return int(answer.json()["duomi"]["billed"])

    def watch(self) -> None:
        """Start the measurement that ``share`` reports."""
        self._began, self._used = time.perf_counter(), self.cpu_seconds()

    def share(self) -> Result:
        """The simulator's part of the CPU time of all cores since ``watch``."""
        cores = os.cpu_count() or 1
        passed = time.perf_counter() - self._began
        value = (self.cpu_seconds() - self._used) / (passed * cores)
        return Result("service's share of CPU", 100 * value, "%", detail=f"of {cores} cores")


@contextmanager
def simulated_provider(
    root: Path,
    *,
    latency: float = 0.0,
    capacity: int = 64,
    pictures: Path | None = None,
) -> Iterator[SimulatedProvider]:
    """A simulator that takes ``latency`` seconds a picture, ``capacity`` at once.

    Its log and ready file are in ``root``. Inside the block, this process and its children use it
    as their provider. Raises RuntimeError when it does not start.
    """
    ready, log_file = root / "service.json", root / "service.log"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "imagegen_pipeline.simulator", "--port", "0"]
    command += ["--ready-file", str(ready), "--idle-exit", str(ABANDONED_SECONDS)]
    command += ["--latency", str(latency), "--capacity", str(capacity)]
    if pictures is not None:
        command += ["--pictures", str(pictures)]
    with log_file.open("wb") as log:
        variables = {**os.environ, "PYTHONPATH": str(ROOT)}
        started = subprocess.Popen(  # noqa: S603 - our own command
            command, env=variables, stdout=log, stderr=log
        )
    before = os.environ.get(ADDRESS)
    try:
        url = f"http://127.0.0.1:{_port(started, ready, log_file)}"
        service = SimulatedProvider(url, psutil.Process(started.pid))
        service.use()
        service.watch()
        yield service
    finally:
        if before is None:
            os.environ.pop(ADDRESS, None)
        else:
            os.environ[ADDRESS] = before
        started.terminate()
        started.wait(timeout=30)


def _port(started: subprocess.Popen[bytes], ready: Path, log_file: Path) -> int:
    """Its port, once it listens."""
    deadline = time.monotonic() + _START_SECONDS
    while not ready.is_file():
        if started.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the simulator did not start: {log_file.read_text('utf-8')}")
        time.sleep(0.02)
    return int(json.loads(ready.read_text("utf-8"))["port"])
