"""Tests of the reporter that reports a command's outcomes to Dagster in the background."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from imagegen_pipeline.cli import background_reporter
from imagegen_pipeline.cli.background_reporter import BackgroundReporter
from imagegen_pipeline.cli.progress import _Progress
from imagegen_pipeline.dagster_ext.reporter import DagsterReporter
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.cli.conftest import GENERATE, Invoke

ONE = (*GENERATE, "prompt", "--prompt", "a lighthouse at dusk")


def test_an_image_is_reported_after_its_line_is_printed(
    project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """Each outcome is shown before it is reported, and the command waits for the report."""
    events: list[str] = []

    def record(owner: type, name: str) -> None:
        call = getattr(owner, name)

        def recorded(*arguments: Any) -> None:
            call(*arguments)
            events.append(name)

        monkeypatch.setattr(owner, name, recorded)

    record(_Progress, "show")
    record(DagsterReporter, "report")
    assert invoke(*ONE).exit_code == 0
    assert events == ["show", "report"]


def test_dagster_is_not_imported_if_every_image_is_reused(project: Project, invoke: Invoke) -> None:
    """A command that only reuses images imports no part of Dagster."""
    invoke(*ONE)
    code = (
        "import sys\n"
        "from imagegen_pipeline.cli import imagegen\n"
        f"imagegen({list(ONE)!r}, standalone_mode=False)\n"
        "print('dagster' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.startswith("1 reused.")
    assert done.stdout.splitlines()[-1] == "False"


def test_dagster_is_opened_while_a_request_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance is opened before the first outcome if a request has been sent."""
    prepared = threading.Event()
    monkeypatch.setattr(DagsterReporter, "prepare", lambda _reporter: prepared.set())
    attempts = SimpleNamespace(unfinished_keys=lambda: ["prompt-x"])
    pipeline = cast("Pipeline", SimpleNamespace(ledger=SimpleNamespace(attempts=attempts)))
    with BackgroundReporter(pipeline):
        assert prepared.wait(30)


def test_a_failure_to_open_dagster_is_one_message(
    project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """The image is stored and one sentence names the fault, also when opening early fails."""
    calls = []

    def fail() -> None:
        calls.append(1)
        raise RuntimeError("no instance today")

    monkeypatch.setattr("imagegen_pipeline.dagster_ext.instance.open_instance", fail)
    monkeypatch.setattr(background_reporter, "_FIRST_CHECK", 0.0)
    monkeypatch.setattr(BackgroundReporter, "_has_sent", lambda _reporter: True)
    result = invoke(*ONE)
    assert result.exit_code == 0
    assert len(calls) == 2
    assert result.stderr.count("no instance today") == 1
    assert "`imagegen sync`" in result.stderr
    assert simulator.billed() == 1
