"""A range run over pictures that are all there, beside a bare asset that logs the same events.

The pictures are made once, on the simulator with 64x64 pixels and no delay. Then,
in one process and in turns, ``generated_images`` runs over all of them, and a bare asset over as
many partitions of an instance with the same kind of storage (SQLite, Dagster's own): a
materialization each with the metadata and tags of a real picture's, and the same evaluations of
checks, by ``context.log_event``. Beside them: the bare asset without checks, the command once more
over all of them, and what the project does to find out that nothing is due, without such a run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

import dagster as dg

from benchmarks.figures import Figure, Result, Series, run_script
from benchmarks.range_run import (
    IMAGES,
    PROMPTS,
    SMALL,
    ReportedEvents,
    bare_definitions,
    newest_events,
    ours,
    register,
    run,
    stock,
    timed,
)
from benchmarks.scratch import ROOT, scratch_project, write_prompts
from benchmarks.simulated_provider import simulated_provider

SIZES = {250: 1, 500: 1, 1_000: 1, 10_000: 1}
"""Partitions, and rounds."""
MOST_BARE = 1_000
"""To this size the bare asset runs, too: at 10,000 Dagster takes a quarter of an hour. What
is compared is the time a partition, and the plot shows that it does not change with their number.
"""
QUICK = {5: 1, 10: 1, 20: 1}
OURS, BARE = "generated_images, all reused", "bare asset, the same events"
NO_CHECKS, COMMAND = "bare asset without checks", "imagegen generate --source json, all reused"
STALE, MISSING = "refresh_stale finds nothing", "refresh_stale with missing finds nothing"
SKIPS = (STALE, MISSING)
Seconds = dict[str, float]


def measure(quick: bool) -> Figure:
    """Seconds of each way to do nothing, at three sizes."""
    sizes = QUICK if quick else SIZES
    found = {size: measure_size(size, rounds) for size, rounds in sizes.items()}
    largest = max(found)
    last = found[largest]
    both = max(size for size in found if BARE in found[size])
    bare_each, our_each = found[both][BARE] / both, last[OURS] / largest
    figure = Figure(
        "nothing_to_do",
        "Nothing to do",
        f"{largest:,} partitions, all made; runs over all of them in one process.",
    )
    figure.results = [
        Result(
            "a range run over them, a partition",
            our_each / bare_each,
            goal=1.3,
            detail=f"beside: {BARE}, of {both:,}",
        ),
        Result(f"the same, both of {both:,}", found[both][OURS] / found[both][BARE], goal=1.3),
        Result(f"{BARE}, of {both:,}", found[both][BARE], "s"),
        Result(f"{NO_CHECKS}, of {both:,}", found[both][NO_CHECKS], "s"),
        *(Result(name, seconds, "s") for name, seconds in last.items()),
        Result(
            "skipped before the run", last[MISSING] / last[OURS], detail="of a range run's time"
        ),
    ]
    figure.series = [
        _series("Runs over pictures that are all there", found, (OURS, BARE, NO_CHECKS, COMMAND)),
        _series("Finding out that nothing is due", found, SKIPS),
    ]
    figure.notes = [
        "The bare asset's events are those of one real picture, under each partition's own key.",
        "`refresh_stale` scans all sources and the ledger, and makes what is stale; with "
        "`missing`, what has no picture, too. It writes no event for what is there.",
    ]
    return figure


def _series(title: str, found: dict[int, Seconds], names: Sequence[str]) -> Series:
    lines = {
        name: [(float(size), one[name]) for size, one in found.items() if name in one]
        for name in names
    }
    return Series(title, "partitions, all made", "seconds", lines)


def measure_size(size: int, rounds: int) -> Seconds:
    """Seconds of each piece, the median of the rounds, in a project of its own."""
    seconds: dict[str, list[float]] = {}
    with scratch_project() as root, simulated_provider(root):
        write_prompts(root, size)
        keys = register()
        _tell(size, f"the pictures are made: {timed(lambda: run_batch(keys)):.0f} s")
        with ours() as own, stock(root / "stock", keys) as theirs:
            named = pieces(own, theirs, keys)
            named[COMMAND] = lambda: generate(root)
            for number in range(rounds):
                for name, piece in named.items():
                    _tell(size, f"round {number + 1}, {name}")
                    seconds.setdefault(name, []).append(timed(piece))
    return {name: median(values) for name, values in seconds.items()}


def pieces(
    own: dg.DagsterInstance, theirs: dg.DagsterInstance, keys: Sequence[str]
) -> dict[str, Callable[[], object]]:
    """What is measured in a round, but for the command."""
    from imagegen_pipeline.definitions import defs

    run(own, defs, PROMPTS, keys)  # else the first run would report the prompts, too
    run(own, defs, IMAGES, keys[:2], SMALL)  # what a picture's events are like
    reported = newest_events(own, keys[0])
    assert reported.checks
    with_checks, without = (
        bare_definitions(reported),
        bare_definitions(ReportedEvents(reported.metadata, reported.tags)),
    )
    bare: dict[str, Callable[[], object]] = {
        BARE: lambda: run(theirs, with_checks, "bare", keys),
        NO_CHECKS: lambda: run(theirs, without, "bare", keys),
    }
    return {
        OURS: lambda: run(own, defs, IMAGES, keys, SMALL),
        **(bare if len(keys) <= MOST_BARE else {}),
        STALE: lambda: refresh(own, missing=False),
        MISSING: lambda: refresh(own, missing=True),
    }


def refresh(instance: dg.DagsterInstance, *, missing: bool) -> None:
    """The job that makes what is out of date, and with ``missing`` what is not there."""
    from imagegen_pipeline.definitions import defs

    job = defs.resolve_job_def("refresh_stale")
    config = {"ops": {"make_up_to_date": {"config": {"missing": missing}}}}
    assert job.execute_in_process(run_config=config, instance=instance).success


def run_batch(keys: Sequence[str]) -> None:
    """Make all pictures without reporting to Dagster, which takes longer than making them."""
    from imagegen_pipeline.domain.parameters import PromptParameters
    from imagegen_pipeline.pipeline import Pipeline

    with closing(Pipeline()) as work:
        prompts = list(work.prompts(keys).values())
        parameters = PromptParameters(image_size="64x64")
        with work.generate_images(prompts, parameters, work.order(concurrency=16)) as batch:
            assert all(outcome.ok for outcome in batch)


def generate(root: Path) -> None:
    """The command over all prompts."""
    command = [str(Path(sys.executable).parent / "imagegen"), "generate", "--source", "json"]
    command += ["--image-size", "64x64", "--delay", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)  # noqa: S603


def _tell(size: int, words: str) -> None:
    print(f"{size:,}: {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_script(measure)
