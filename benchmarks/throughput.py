"""How near one Dagster range run comes to what the service can do, and what its process adds.

1,000 prompts (JSON files), a service that takes 2 s a picture and 64 at once, prepared pictures of
512x768, one ``dagster asset materialize`` over the range with 64 at once, as a real process.

The limit is what the service alone needs: prompts x seconds / 64. It is held against the time from
the first submit (as the ledger has it) to the last event of a partition (as Dagster's log has it),
and against the whole process, from the shell's start to its exit. Beside the whole process stands
one of the same kind that makes nothing: a bare asset with the same partitions and checks that
sleeps the limit in one piece and then logs as many events by Dagster's own ``context.log_event``.

The least on this machine, with the same simulator: a bare pool of 64 threads that asks, downloads,
decodes once and writes a file to the disk, and keeps no account of anything.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bare_loop import BareLoop
from benchmarks.dagster_run import (
    EventTimes,
    Process,
    event_times,
    first_submit,
    materialize,
    register,
)
from benchmarks.figures import Figure, Result, Series, run_script
from benchmarks.prepared import SMALL, prepare
from benchmarks.scratch import scratch_project, write_prompts
from benchmarks.simulated_provider import simulated_provider

AT_ONCE = 64
SECONDS_A_PICTURE = 2.0
SIZES = (250, 500, 1_000)
QUICK_SIZES = (8, 16)
PREPARED, QUICK_PREPARED = 250, 4
"""Different pictures that the service has. Each is sent to several prompts, whose check for
the check for duplicates then warns; with a picture for each prompt a run takes about as long.
"""


@dataclass(frozen=True)
class Measured:
    """One range run of ours; times in seconds."""

    count: int
    submitting: float
    """From the first submit to the last event of a partition."""
    step: float
    """From the first submit to the end of the step."""
    process: Process
    events: int
    provider: Result

    @property
    def limit(self) -> float:
        """What the service alone needs."""
        return limit_of(self.count)


def limit_of(count: int) -> float:
    """Seconds that the provider needs for ``count`` pictures with all its capacity in use."""
    return count * SECONDS_A_PICTURE / AT_ONCE


def ours(count: int, pictures: Path) -> Measured:
    """One range run over so many prompts, in a project of its own."""
    with scratch_project() as root:
        write_prompts(root, count)
        with simulated_provider(
            root, latency=SECONDS_A_PICTURE, capacity=AT_ONCE, pictures=pictures
        ) as provider:
            keys = register(root)
            provider.watch()
            config = {"image_size": "x".join(map(str, SMALL))}
            process = materialize(root, keys, config=config, IMAGEGEN_CONCURRENCY=str(AT_ONCE))
            share = provider.share()
            billed = provider.billed()
            if billed != count:
                raise RuntimeError(f"{billed} pictures of {count} prompts were billed")
            began, events = first_submit(count), event_times("generated_images")
    return Measured(
        count,
        events.last_of_partitions - began,
        events.step_end - began,
        process,
        events.events,
        share,
    )


def bare(count: int) -> tuple[Process, EventTimes]:
    """The same of the asset that only sleeps and logs."""
    with scratch_project() as root:
        write_prompts(root, count)
        keys = register(root)
        process = materialize(
            root,
            keys,
            module="benchmarks.sleeping_asset",
            asset="sleeping",
            config={"seconds": limit_of(count)},
        )
        return process, event_times("sleeping")


def bare_pool(count: int, pictures: Path) -> float:
    """Seconds in which a bare pool makes so many pictures, from the first request on."""
    with tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as temporary:
        folder = Path(temporary)
        with simulated_provider(
            folder, latency=SECONDS_A_PICTURE, capacity=AT_ONCE, pictures=pictures
        ) as provider:
            began = time.perf_counter()
            BareLoop(provider, folder, SMALL, flush=True).in_a_pool(count, AT_ONCE)
            return time.perf_counter() - began


def measure(quick: bool) -> Figure:
    """How near a range run comes to the service's limit, from submit to event and as a process."""
    with tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as temporary:
        prepare(Path(temporary), SMALL, QUICK_PREPARED if quick else PREPARED)
        runs = [ours(count, Path(temporary)) for count in (QUICK_SIZES if quick else SIZES)]
        most = runs[-1]
        pool = bare_pool(most.count, Path(temporary))
    bare_process, bare_told = bare(most.count)
    if bare_told.events != most.events:
        raise RuntimeError(f"{bare_told.events} events beside {most.events}")
    waves = math.ceil(most.count / AT_ONCE) * SECONDS_A_PICTURE
    return Figure(
        "throughput",
        "SimulatedProvider-bound throughput",
        f"{most.count:,} prompts, {SECONDS_A_PICTURE:g} s a picture, {SMALL[0]}x{SMALL[1]}, "
        f"{AT_ONCE} at once, one Dagster range run. The limit is {most.limit:.1f} s.",
        results=[
            Result(
                "share of the limit",
                most.limit / most.submitting,
                goal=0.95,
                at_least=True,
                detail="from the first submit to the last partition's event",
            ),
            Result(
                f"the same of a bare pool of {AT_ONCE}",
                most.limit / pool,
                detail="asks, downloads, decodes once, writes to the disk",
            ),
            Result("that pool's time, beside ours", pool / most.submitting),
            Result("share of the limit, to the end of the step", most.limit / most.step),
            Result(
                "share of the limit, whole process",
                most.limit / most.process.seconds,
                goal=0.75,
                at_least=True,
                detail="from the shell's start to its exit",
            ),
            Result(
                "the same of a bare asset",
                most.limit / bare_process.seconds,
                detail="sleeps the limit, then logs as many events",
            ),
            Result("first submit to last event", most.submitting, "s"),
            Result("whole process", most.process.seconds, "s"),
            Result("whole process of the bare asset", bare_process.seconds, "s"),
            Result(
                "CPU of our process", 1000 * most.process.cpu_seconds / most.count, "ms a picture"
            ),
            Result(
                "CPU of the bare asset's process",
                1000 * bare_process.cpu_seconds / most.count,
                "ms a partition",
            ),
            most.provider,
        ],
        series=[
            Series(
                "A range run on a service of 2 s a picture",
                "prompts",
                "seconds",
                {
                    "first submit to last event": [(one.count, one.submitting) for one in runs],
                    "whole process": [(one.count, one.process.seconds) for one in runs],
                    "limit": [(one.count, one.limit) for one in runs],
                },
            )
        ],
        notes=[
            f"The service makes {AT_ONCE} at a time, so that nothing can be quicker than "
            f"{waves:g} s: {most.limit / waves:.3f} of the limit.",
            f"{most.events:,} events of partitions in each of the two runs.",
        ],
    )


if __name__ == "__main__":
    run_script(measure)
