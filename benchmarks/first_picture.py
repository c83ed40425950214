"""How soon `imagegen generate --source prompt` sends its request and has its image.

Each round starts a process of its own: the command, which also reports to Dagster and refreshes the
results table, and a plain script with ``requests`` that sends, downloads and writes. The simulator
takes two seconds for an image. A relay in front of it records when the request arrives.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from benchmarks.figures import Figure, Result, run_script
from benchmarks.scratch import ROOT, scratch_project
from benchmarks.simulated_provider import ADDRESS, simulated_provider

ROUNDS = 7
LATENCY = 2.0
SIZE = (256, 256)
SCRIPT = (
    "import sys, requests; from pathlib import Path; "
    "from benchmarks.plain_client import keep_picture; "
    f"keep_picture(requests, sys.argv[1], sys.argv[2], {SIZE}, Path('plain.png')); "
    "print('[1/1] plain.png', file=sys.stderr)"
)


@dataclass
class Relay:
    """Passes connections on to the simulator; knows when the last POST arrived."""

    target: tuple[str, int]
    server: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    posted_at: float = 0.0

    @property
    def url(self) -> str:
        """The address to use instead of the simulator's."""
        return f"http://127.0.0.1:{self.server.getsockname()[1]}"

    def run(self) -> None:
        """Serve until the socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                upstream = socket.create_connection(self.target)
                for pair in ((client, upstream), (upstream, client)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                if part.startswith(b"POST "):
                    self.posted_at = time.perf_counter()
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def relay(address: str) -> Iterator[Relay]:
    """A running relay."""
    parts = urlsplit(address)
    one = Relay((parts.hostname or "127.0.0.1", parts.port or 80))
    threading.Thread(target=one.run, daemon=True).start()
    try:
        yield one
    finally:
        one.server.close()


def measure(quick: bool) -> Figure:
    """Seconds to the request, to the image's line and to the end, beyond the service's time."""
    rounds = 1 if quick else ROUNDS
    seconds: dict[str, list[tuple[float, float, float]]] = {"command": [], "plain script": []}
    command = str(Path(sys.executable).parent / "imagegen")
    size = f"{SIZE[0]}x{SIZE[1]}"
    with (
        scratch_project() as root,
        simulated_provider(root, latency=LATENCY) as service,
        relay(service.url) as between,
    ):
        for number in range(rounds + 1):  # the first round warms the disk's cache
            prompt = f"a lighthouse by night, number {number}"
            ways = {
                "command": [
                    command,
                    "generate",
                    "--source",
                    "prompt",
                    "--prompt",
                    prompt,
                    "--image-size",
                    size,
                ],
                "plain script": [sys.executable, "-c", SCRIPT, between.url, f"{prompt}, plain"],
            }
            for name, arguments in ways.items():
                taken = run_once(arguments, between)
                if number:
                    seconds[name].append(taken)
    figure = Figure(
        "first_picture",
        "First picture",
        f"One prompt, each time in a new process; the median of {rounds} rounds. The service takes "
        f"{LATENCY:g} s, which is subtracted.",
    )
    columns = ("first request sent", "image's line printed", "whole command, Dagster included")
    for name, goals in (("command", (0.6, None, 1.2)), ("plain script", (None, None, None))):
        for column, goal, values in zip(
            columns, goals, zip(*seconds[name], strict=True), strict=True
        ):
            label = f"{name}: {column}" if name == "command" else f"{name}: {column.split(',')[0]}"
            figure.results.append(Result(label, median(values), "s", goal=goal))
    return figure


def run_once(arguments: list[str], between: Relay) -> tuple[float, float, float]:
    """Seconds from the start to the request, to the line and to the end."""
    environment = {**os.environ, ADDRESS: between.url, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - commands of this script
        arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        line_at, output = 0.0, ""
        for line in process.stderr or ():
            output += line
            if line.startswith("[1/1]"):
                line_at = time.perf_counter()
    ended = time.perf_counter()
    if process.returncode or not line_at:
        raise RuntimeError(f"{arguments[0]} failed: {output}")
    return (between.posted_at - began, line_at - began - LATENCY, ended - began - LATENCY)


if __name__ == "__main__":
    run_script(measure)
