"""The local simulator's process: one for each data folder, started when needed."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from imagegen_pipeline.domain.errors import SetupError

IDLE_EXIT_SECONDS = 900
START_SECONDS = 30


_started: list[subprocess.Popen[bytes]] = []
"""Processes started here, so that each is reaped when it has ended."""


def ensure_simulator(folder: Path) -> str:
    """The address of the simulator of ``folder``, which is started if none answers.

    Raises SetupError if it does not start. It ends by itself after 15 minutes without a
    request.
    """
    ready = folder / "simulator.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / "simulator.lock"):
            address = _running_address(ready)
            if address is None:
                ready.unlink(missing_ok=True)
                address = _start(ready, folder / "simulator.log")
    except OSError as error:
        raise SetupError(
            f"The local simulator cannot use {error.filename or folder}: "
            f"{error.strerror or error}.",
            remedy="Make the folder writable, or set IMAGEGEN_DATA_DIR to another one.",
        ) from error
    return address


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _running_address(ready: Path) -> str | None:
    """The address in the ready file, if that simulator still runs and answers."""
    try:
        facts = json.loads(ready.read_text("utf-8"))
        address, pid = f"http://127.0.0.1:{int(facts['port'])}", int(facts["pid"])
        os.kill(pid, 0)  # raises if it has ended: another program may have its port now
        with requests.Session() as session:
            session.trust_env = False  # a proxy cannot reach this machine's own ports
            stats = session.get(f"{address}/_sim/stats", params={"prompts": "0"}, timeout=10)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):  # requests' are OSErrors
        return None
    return address if stats.ok else None


def _start(ready: Path, log: Path) -> str:
    _started[:] = [process for process in _started if process.poll() is None]
    command = [
        *(sys.executable, "-m", "imagegen_pipeline.simulator"),
        *("--port", "0", "--ready-file", str(ready), "--idle-exit", str(IDLE_EXIT_SECONDS)),
    ]
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _started.append(process)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        address = _running_address(ready)
        if address is not None:
            return address
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.terminate()
    raise SetupError(
        f"The local simulator did not start: see {log}.",
        remedy="Or start one with `imagegen simulate` and set IMAGEGEN_SIMULATOR to its address.",
    )
