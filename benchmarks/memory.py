"""The most memory that a range run holds, over how many prompts it makes.

``dagster asset materialize`` as a process of its own over 100, 1,000 and 10,000 prompts, pictures
of 512x768 from a service without delay, 64 at once: the most that can be in memory together. The
peak is the kernel's own (``VmHWM``), read until the process ends.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from benchmarks.dagster_run import Process, first_submit, materialize, register
from benchmarks.figures import Figure, Result, Series, run_script
from benchmarks.prepared import SMALL, prepare
from benchmarks.scratch import scratch_project, write_prompts
from benchmarks.simulated_provider import simulated_provider

AT_ONCE = 64
SIZES = (100, 1_000, 10_000)
QUICK_SIZES = (10, 40)
PREPARED, QUICK_PREPARED = 64, 4
MEGABYTES_A_PROMPT = 0.7
"""Disk space of a picture, its preview, its rows and events."""


def range_run(count: int, pictures: Path) -> tuple[Process, Result]:
    """One range run over so many prompts, and the service's share of the processor."""
    with scratch_project() as root:
        write_prompts(root, count)
        with simulated_provider(root, pictures=pictures) as provider:
            keys = register(root)
            provider.watch()
            config = {"image_size": f"{SMALL[0]}x{SMALL[1]}"}
            process = materialize(root, keys, config=config, IMAGEGEN_CONCURRENCY=str(AT_ONCE))
            share = provider.share()
            first_submit(count)  # that all were made, each once
    return process, share


def check_room(count: int) -> None:
    """Raise RuntimeError unless the folder of scratch projects has space for the pictures."""
    free = shutil.disk_usage(tempfile.gettempdir()).free / 1e6
    if free < count * MEGABYTES_A_PROMPT:
        raise RuntimeError(
            f"{count:,} pictures need {count * MEGABYTES_A_PROMPT:,.0f} MB of space for temporary "
            f"files, and {free:,.0f} MB are free. Point TMPDIR at a larger disk."
        )


def measure(quick: bool) -> Figure:
    """The most memory that a range run holds, over how many prompts it makes."""
    sizes = QUICK_SIZES if quick else SIZES
    check_room(sizes[-1])
    with tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as temporary:
        pictures = Path(temporary) / "prepared"
        prepare(pictures, SMALL, QUICK_PREPARED if quick else PREPARED)
        runs = {count: range_run(count, pictures) for count in sizes}
    peaks = {count: process.peak_mb for count, (process, _) in runs.items()}
    few, most = sizes[0], sizes[-1]
    return Figure(
        "memory",
        "Memory of a range run",
        f"{few:,} to {most:,} prompts, {SMALL[0]}x{SMALL[1]}, no service delay, {AT_ONCE} at once, "
        "one Dagster range run each.",
        results=[
            Result(f"peak at {most:,} beside {few:,}", peaks[most] / peaks[few], goal=1.1),
            Result(f"peak at {most:,}", peaks[most], "MB", goal=400),
            *(Result(f"peak at {count:,}", peaks[count], "MB") for count in sizes[:-1]),
            runs[most][1],
        ],
        series=[
            Series(
                "Peak of memory of a range run",
                "prompts",
                "MB",
                {"range run": list(peaks.items())},
            ),
            Series(
                "A range run on a service without delay",
                "prompts",
                "seconds",
                {"whole process": [(count, run.seconds) for count, (run, _) in runs.items()]},
            ),
        ],
    )


if __name__ == "__main__":
    run_script(measure)
