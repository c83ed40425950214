"""A batch in a separate process that is not root, cannot write, or is killed.

``python -m imagegen_pipeline_tests.integration.fault_matrix.child_process PROVIDER FAULT`` in a
project's folder prints the outcomes, or why the batch was refused, as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

from PIL import Image
from sqlalchemy import Engine, event

from imagegen_pipeline.domain.errors import ImagegenError
from imagegen_pipeline.domain.requests import Outcome, Status
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline_tests.conftest import ROOT
from imagegen_pipeline_tests.integration.engine.harness import FakeClock
from imagegen_pipeline_tests.integration.fault_matrix.four_items import (
    FourItems,
    Run,
    nothing,
    run_batches,
)

NOBODY = 65534
SMALL_FILE = 512


def run_in_child(items: FourItems, how: str) -> Run:
    """Run the batch in a child process; returns it with the counts afterwards."""
    if how == "nobody":
        _make_readable(items)
    done = subprocess.run(
        [sys.executable, "-m", __name__, items.provider, how],
        cwd=items.project.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    expected = -signal.SIGKILL if how.startswith("killed") else 0
    assert done.returncode == expected, done.stderr
    message = json.loads(done.stdout or "{}")
    outcomes = tuple(_outcome(facts) for facts in message.get("outcomes", ()))
    refused = _RefusedError(**message["refused"]) if "refused" in message else None
    with items.opened() as (pipeline, _):
        return Run(outcomes, items.ledger_counts(pipeline), refused=refused)


class _RefusedError(ImagegenError):
    """The error with which the child process refused the batch."""

    def __init__(self, kind: str, error: str, remedy: str) -> None:
        super().__init__(error, remedy=remedy)
        self.kind = kind  # type: ignore[misc]


def _make_readable(items: FourItems) -> None:
    """Make everything but the image folder writable for the child's user."""
    if os.geteuid() != 0:
        return  # this process is not root: the folder's mode holds for it
    root = items.project.root
    for path in (root, *root.rglob("*")):
        shutil.chown(path, NOBODY, NOBODY)
    shutil.chown(items.pictures, 0, 0)


def _outcome(facts: dict[str, Any]) -> Outcome:
    return Outcome(**{**facts, "status": Status(facts["status"]), "warnings": ()})


def main(provider: str, how: str) -> None:
    """Run the batch of this folder."""
    Image.init()  # nobody may not be allowed to read what is imported later
    with closing(Pipeline()) as pipeline:
        pipeline.engine_context = replace(pipeline.engine_context, clock=FakeClock())
        before: Callable[[], object] = nothing
        if how == "nobody":
            before = drop_privileges
        elif how == "limited":
            stop_growing_after_download(pipeline)
        else:
            die_when_writing(how.partition(":")[2])
        print(json.dumps(_report(pipeline, provider, before)))  # noqa: T201


def _report(pipeline: Pipeline, provider: str, before: Callable[[], object]) -> dict[str, Any]:
    try:
        outcomes = run_batches(pipeline, provider, before=before)
    except ImagegenError as error:
        facts = {"kind": error.kind, "error": str(error), "remedy": error.remedy}
        return {"refused": facts}
    return {"outcomes": [_plain(outcome) for outcome in outcomes]}


def _plain(outcome: Outcome) -> dict[str, Any]:
    return asdict(replace(outcome, attempt=None))


def drop_privileges() -> None:
    """Stop being root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


class _LastDownload(Downloader):
    """A downloader; after its second image no file may grow."""

    def __init__(self, inner: Downloader) -> None:
        self._inner = inner

    def fetch(self, url: str) -> bytes:
        """Download the image, then set the limit."""
        data = self._inner.fetch(url)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILE, hard))
        return data


def stop_growing_after_download(pipeline: Pipeline) -> None:
    """Have the system refuse longer files once an image has been downloaded."""
    engine_context = pipeline.engine_context
    pipeline.engine_context = replace(
        engine_context, downloader=_LastDownload(engine_context.downloader)
    )


def die_when_writing(state: str) -> None:
    """Kill this process in the transaction that writes this state, after its change."""
    changes = ("INSERT INTO attempts", "UPDATE attempts SET state")

    def look(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if statement.startswith(changes) and state in tuple(parameters):
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "after_cursor_execute", look)


if __name__ == "__main__":
    main(*sys.argv[1:])
