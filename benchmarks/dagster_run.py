"""A Dagster range run as a user starts it: a process of ``dagster asset materialize``."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.scratch import ROOT
from imagegen_pipeline.dagster_ext.instance import open_instance
from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.pipeline import Pipeline

OURS = "imagegen_pipeline.definitions"
_LOOK_SECONDS = 0.05
_OF_PARTITIONS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}


@dataclass(frozen=True)
class Process:
    """A process from start to exit: wall seconds, CPU seconds and peak memory in MB."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True)
class EventTimes:
    """When a run's events were written, in seconds since the epoch, and how many of partitions."""

    last_of_partitions: float
    step_end: float
    events: int


def run_command(*command: str, log: Path, **environment: str) -> Process:
    """Run one of the virtual environment's commands in the current folder, on this checkout.

    Raises RuntimeError, with the end of what it printed, when it fails.
    """
    program = str(Path(sys.executable).parent / command[0])
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    before, peak = _cpu_of_children(), 0.0
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - commands of this project and of Dagster
            [program, *command[1:]], env=variables, stdout=output, stderr=output
        )
        while process.poll() is None:
            peak = max(peak, _peak_mb(process.pid))
            time.sleep(_LOOK_SECONDS)
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)[:200]}: {log.read_text('utf-8')[-3000:]}")
    return Process(seconds, _cpu_of_children() - before, peak)


def _cpu_of_children() -> float:
    """Seconds of a core that all ended child processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_mb(pid: int) -> float:
    """The most memory that a running process has held so far, as Linux counts it; 0 when it has
    just ended. (``ru_maxrss`` would count this process's memory in, from before the exec.)
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def register(root: Path) -> list[str]:
    """Scan the sources, register them in Dagster, and return the prompt partitions in order."""
    run_command("imagegen", "sync", log=root / "sync.log")
    with _instance() as instance:
        return list(instance.get_dynamic_partitions("prompts"))


def materialize(
    root: Path,
    keys: Sequence[str],
    *,
    module: str = OURS,
    asset: str = "generated_images",
    config: Mapping[str, Any] | None = None,
    **environment: str,
) -> Process:
    """One run over all partitions from the first key to the last."""
    options = ["-m", module, "--select", asset, "--partition-range", f"{keys[0]}...{keys[-1]}"]
    if config is not None:
        options += ["--config-json", json.dumps({"ops": {asset: {"config": dict(config)}}})]
    log = root / f"{asset}.log"
    return run_command("dagster", "asset", "materialize", *options, log=log, **environment)


def event_times(asset: str) -> EventTimes:
    """What the newest run has written of an asset; raises RuntimeError unless it succeeded."""
    with _instance() as instance:
        (newest,) = instance.get_run_records(limit=1)
        run = newest.dagster_run
        if run.status is not dg.DagsterRunStatus.SUCCESS:
            raise RuntimeError(f"the run of {asset} ended as {run.status}")
        entries = instance.all_logs(run.run_id, of_type=_OF_PARTITIONS)
        times = [entry.timestamp for entry in entries if _is_of_partition(entry)]
        ends = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
        return EventTimes(max(times), max(entry.timestamp for entry in ends), len(times))


def _is_of_partition(entry: dg.EventLogEntry) -> bool:
    event = entry.get_dagster_event()
    found = event.event_specific_data
    if isinstance(found, dg.AssetCheckEvaluation):
        return found.partition is not None
    return event.partition is not None


def _instance() -> dg.DagsterInstance:
    instance = open_instance()
    if instance is None:
        raise RuntimeError("the current folder is no project")
    return instance


def first_submit(count: int) -> float:
    """When the first picture was submitted, by the ledger; in seconds since the epoch.

    Raises RuntimeError unless exactly ``count`` were made, each at the first attempt.
    """
    with closing(Pipeline()) as pipeline:
        attempts = [attempt for attempt, _ in pipeline.ledger.attempts.rows()]
    stored = [one for one in attempts if one.state is State.STORED]
    if not len(stored) == len(attempts) == count:
        raise RuntimeError(f"{len(stored)} of {count} made in {len(attempts)} attempts")
    return min(one.submitted_at for one in stored if one.submitted_at is not None)
