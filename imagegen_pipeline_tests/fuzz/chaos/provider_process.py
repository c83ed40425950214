"""The simulator as a separate process that is never killed: it knows what was billed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from imagegen_pipeline_tests.conftest import Simulator, until
from imagegen_pipeline_tests.fuzz.chaos.variants import Variant

IDLE_SECONDS = 300


@contextmanager
def provider_process(folder: Path, variant: Variant) -> Iterator[Simulator]:
    """Run a simulator with the answers of ``variant`` inside a ``with`` block."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready.json"
    command = [
        *(sys.executable, "-m", "imagegen_pipeline.simulator", "--port", "0"),
        *("--ready-file", str(ready), "--idle-exit", str(IDLE_SECONDS)),
        *("--latency", str(variant.latency), "--duomi-answer", variant.answer),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: ready.is_file() or process.poll() is not None)
        port = json.loads(ready.read_text("utf-8"))["port"]
        yield Simulator(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=20)


def accepted(simulator: Simulator, variant: Variant) -> int:
    """The number of accepted requests."""
    url = f"{simulator.url}/_sim/stats"
    counts: dict[str, Any] = requests.get(url, params={"prompts": "0"}, timeout=10).json()
    return int(counts[variant.provider]["accepted"])
