"""What everything besides the picture costs, where the service costs nothing.

500 pictures of 1080x1920 in 2 to 5 MB, from a service without delay. Ours, through the Python
API, does all that it ever does: the ledger, digests, measures, previews, files whole and on disk.
Beside it two bare loops that ask, download over a kept connection, decode once and write (without
waiting for the disk): a plain one, and a pool of as many threads as ours has. The goal is held
against the plain one; the pool, which does a third of the work on both cores, shows what that
costs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bare_loop import BareLoop
from benchmarks.figures import Figure, Result, Series, run_script
from benchmarks.prepared import LARGE, LARGE_MEGABYTES, prepare
from benchmarks.python_batch import run_batch
from benchmarks.simulated_provider import SimulatedProvider, simulated_provider

AT_ONCE = 4
"""Twice the cores, so that one thread decodes while another is at the network or the disk."""
SIZES = (125, 250, 500)
QUICK_SIZES = (4, 8)
PREPARED, QUICK_PREPARED = 24, 3


@dataclass(frozen=True)
class Taken:
    """Seconds, and those of a core that this process used."""

    seconds: float
    cpu_seconds: float


def timed(work: Callable[[], object]) -> Taken:
    """What a piece of work takes."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return Taken(time.perf_counter() - began, time.process_time() - used)


def side_by_side(provider: SimulatedProvider, count: int) -> dict[str, Taken]:
    """So many pictures, in each of the three ways."""
    made = run_batch(provider, count, LARGE, at_once=AT_ONCE)
    taken = {"ours": Taken(made.seconds, made.cpu_seconds)}
    with tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as temporary:
        bare = BareLoop(provider, Path(temporary), LARGE)
        taken["one by one"] = timed(lambda: bare.one_by_one(count))
    with tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as temporary:
        bare = BareLoop(provider, Path(temporary), LARGE)
        taken["pool"] = timed(lambda: bare.in_a_pool(count, AT_ONCE))
    return taken


def measure(quick: bool) -> Figure:
    """How near the engine comes to a bare loop that downloads, decodes and writes."""
    with tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as temporary:
        folder = Path(temporary)
        files = prepare(
            folder / "prepared", LARGE, QUICK_PREPARED if quick else PREPARED, LARGE_MEGABYTES
        )
        megabytes = [path.stat().st_size / 1e6 for path in files]
        with simulated_provider(folder, pictures=folder / "prepared") as provider:
            sizes = QUICK_SIZES if quick else SIZES
            taken = {count: side_by_side(provider, count) for count in sizes}
            share = provider.share()
    most = sizes[-1]
    seconds = {name: one.seconds for name, one in taken[most].items()}
    each = {name: 1000 * one.cpu_seconds / most for name, one in taken[most].items()}
    return Figure(
        "cpu_bound",
        "CPU-bound",
        f"{most} pictures of {LARGE[0]}x{LARGE[1]} in {min(megabytes):.1f} to {max(megabytes):.1f} "
        f"MB, no service delay, {AT_ONCE} at once; the Python class beside bare loops.",
        results=[
            Result(
                "a bare loop, beside ours",
                seconds["one by one"] / seconds["ours"],
                goal=0.9,
                at_least=True,
            ),
            Result(f"a bare pool of {AT_ONCE}, beside ours", seconds["pool"] / seconds["ours"]),
            Result("ours", most / seconds["ours"], "pictures a second"),
            Result("plain loop", most / seconds["one by one"], "pictures a second"),
            Result("pool", most / seconds["pool"], "pictures a second"),
            Result("CPU of ours", each["ours"], "ms a picture"),
            Result("CPU of the plain loop", each["one by one"], "ms a picture"),
            Result("CPU of the pool", each["pool"], "ms a picture"),
            share,
        ],
        series=[
            Series(
                "Pictures of 1080x1920 without any delay",
                "prompts",
                "seconds",
                {
                    name: [(count, by_name[name].seconds) for count, by_name in taken.items()]
                    for name in seconds
                },
            )
        ],
    )


if __name__ == "__main__":
    run_script(measure)
