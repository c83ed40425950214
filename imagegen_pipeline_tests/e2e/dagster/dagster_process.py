"""``dagster dev`` as real processes: code server, webserver, daemon and runs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from imagegen_pipeline_tests.conftest import Project, until
from imagegen_pipeline_tests.e2e.dagster.webserver_client import WebserverClient


@contextlib.contextmanager
def dagster_dev(project: Project) -> Iterator[WebserverClient]:
    """Run ``dagster dev`` on a scratch project with the project's variables."""
    with socket.socket() as spare:
        spare.bind(("127.0.0.1", 0))
        port = spare.getsockname()[1]
    log = project.root / "dagster-dev.log"
    command = [str(Path(sys.executable).parent / "dagster"), "dev", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=project.root,
            env={**os.environ, **project.environment},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    server = WebserverClient(f"http://127.0.0.1:{port}")
    try:
        until(lambda: server.answers() or process.poll() is not None, seconds=180)
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        # Kill the whole group: waiting for Dagster to stop by itself takes a minute.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
