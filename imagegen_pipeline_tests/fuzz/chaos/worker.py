"""A worker process: it opens everything itself and runs a batch to its end unless it is killed.

Workers are forked from a server that has the modules of the pipeline and of Dagster loaded, so
that they start in milliseconds; nothing is opened before the fork.
"""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path

from imagegen_pipeline_tests.conftest import OURS
from imagegen_pipeline_tests.fuzz.chaos.scratch import Round, Scratch

FAILED_EXIT = 70
"""The exit code of a worker that ended with an exception."""
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "imagegen_pipeline.cli",
        "imagegen_pipeline.dagster_ext.reporter",
        "imagegen_pipeline.cli.progress",
        "imagegen_pipeline.legacy.logs",
        "imagegen_pipeline.pipeline",
        "imagegen_pipeline.dagster_ext.instance",
        "imagegen_pipeline.dagster_ext.asset_events",
        "PIL.PngImagePlugin",
        "PIL.WebPImagePlugin",
        "psutil",
        "sqlalchemy.dialects.sqlite",
        "upath",
        "imagegen_pipeline_tests.fuzz.chaos.worker",
    ]
)


def start_worker(scratch: Scratch, wanted: Round, log: Path) -> BaseProcess:
    """Start a process that generates the items of a round; its output goes to ``log``."""
    work = _make_base_images if scratch.variant.provider == "runpod" else _make_images
    return _begin(scratch, log, work, wanted.folder)


class DagsterUnreadableError(Exception):
    """Dagster's instance cannot be opened; the text has the reason."""


def read_events(scratch: Scratch, log: Path) -> list[tuple[str, str, int]]:
    """Every materialization: partition, digest, attempt. Raises DagsterUnreadableError."""
    answer = log.with_suffix(".json")
    process = _begin(scratch, log, _write_events, answer)
    process.join(120)
    if process.exitcode != 0:
        process.kill()
        raise DagsterUnreadableError(log.read_text("utf-8").strip().rpartition("\n")[2])
    return [tuple(event) for event in json.loads(answer.read_text("utf-8"))]


def _begin(
    scratch: Scratch, log: Path, work: Callable[[Scratch, Path], int], path: Path
) -> BaseProcess:
    environment = {name: v for name, v in os.environ.items() if not name.startswith(OURS)}
    environment |= {**scratch.environment, "DAGSTER_DISABLE_TELEMETRY": "1"}
    # A daemon, so that none outlives whoever started it.
    process = _CONTEXT.Process(
        target=_run_worker, args=(scratch, environment, log, work, path), daemon=True
    )
    process.start()
    return process


def _run_worker(
    scratch: Scratch,
    environment: Mapping[str, str],
    log: Path,
    work: Callable[[Scratch, Path], int],
    path: Path,
) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    faulthandler.register(signal.SIGUSR1)  # prints the stacks of a hanging worker
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(scratch.root)
    try:
        code = work(scratch, path)
    except Exception:  # noqa: BLE001 - whatever it is, the killer must know
        traceback.print_exc()
        code = FAILED_EXIT
    sys.exit(code)


def _make_images(scratch: Scratch, folder: Path) -> int:
    from imagegen_pipeline.cli import imagegen

    command = ["generate", "--source", "json", "--input-dir", str(folder)]
    command += scratch.variant.arguments
    imagegen.main(command, prog_name="imagegen")  # exits with the command's code
    return 0


def _make_base_images(_scratch: Scratch, folder: Path) -> int:
    from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter
    from imagegen_pipeline.dagster_ext.instance import open_instance
    from imagegen_pipeline.pipeline import Pipeline

    os.environ["IMAGEGEN_ACTORS_DIR"] = str(folder)
    instance = open_instance()
    if instance is None:
        raise RuntimeError("the scratch project has no Dagster instance")
    with instance, closing(Pipeline()) as pipeline:
        reporter = RunlessReporter(instance, pipeline)
        actors = pipeline.scan_actors().actors
        for outcome in pipeline.generate_base_images(actors, pipeline.order()):
            sys.stderr.write(f"{outcome.status} {outcome.item_key}: {outcome.reason}\n")
            reporter.report(outcome)
        reporter.report_missed()
    return 0


def _write_events(scratch: Scratch, answer: Path) -> int:
    import dagster as dg

    from imagegen_pipeline.dagster_ext.instance import open_instance

    asset = dg.AssetKey(scratch.variant.asset)
    events, cursor = [], None
    instance = open_instance()
    if instance is None:
        raise RuntimeError("the scratch project has no Dagster instance")
    with instance:
        while True:
            found = instance.fetch_materializations(asset, limit=500, cursor=cursor)
            for record in found.records:
                made = record.asset_materialization
                if made is not None:
                    facts = made.metadata
                    reported = (made.partition, facts["sha256"].value, facts["attempt"].value)
                    events.append(reported)
            cursor = found.cursor
            if not found.has_more:
                break
    answer.write_text(json.dumps(events), encoding="utf-8")
    return 0
