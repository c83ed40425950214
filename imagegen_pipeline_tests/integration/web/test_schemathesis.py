"""The API conforms to its OpenAPI document, tested by Schemathesis."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from imagegen_pipeline_tests.integration.web.conftest import Served

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


def test_the_api_conforms_to_its_document(server: Served, tmp_path: Path) -> None:
    """All of Schemathesis's checks: no 5xx, every answer as described, wrong data refused, right
    data taken, wrong methods 405. The stream of events, which does not end, is left out.
    """
    server.make()
    done = subprocess.run(
        [
            *(str(SCHEMATHESIS), "run", f"{server.url}/openapi.json"),
            *("--checks", "all", "--max-examples", "8", "--seed", "1", "--workers", "1"),
            *("--exclude-path", "/api/events", "--request-timeout", "30"),
            *("--generation-database", "none", "--no-color"),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS.stem, "PYTHONPATH": str(HOOKS.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    logs = (server.project.results / "logs").glob("*.log")
    assert not any("Traceback" in file.read_text() for file in logs)
