"""The time for 60 pictures of 2 s: with what users have today, and with this project.

Today, each measured in full on the same service:

- a sequential loop with ``requests``: ask, download, write, and their delay of 1 s;
- a plain pool of 32 threads that do the same without the delay;
- a Dagster run for each partition, one after the other, of an asset that does the same. The runs
  are made in one process, by ``execute_in_process``, which favours them: a run of its own process,
  as Dagster's launcher makes it, takes seconds more.

Ours, from the first submit to the last outcome: through the Python class, and through one Dagster
range run, whose last outcome is its last partition's event. What is short (the pools, the
Python API) is measured three times in turns, and the median taken.

The least on this machine: the pool of 32 that also decodes each picture once and flushes its
file to disk, because a paid picture that does not decode or is lost in a power cut is worth
nothing.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import dagster as dg
import requests

from benchmarks.bare_loop import BareLoop
from benchmarks.dagster_run import event_times, first_submit, materialize, register
from benchmarks.figures import Figure, Result, Series, run_script
from benchmarks.plain_client import keep_picture, prompt_texts
from benchmarks.prepared import SMALL, prepare
from benchmarks.python_batch import run_batch
from benchmarks.scratch import scratch_project, write_prompts
from benchmarks.simulated_provider import SimulatedProvider, simulated_provider
from imagegen_pipeline.dagster_ext.instance import open_instance

SECONDS_A_PICTURE = 2.0
DELAY = 1.0
PROMPTS, SIZES, ROUNDS = 60, (15, 30, 60), 3
QUICK_PROMPTS, QUICK_SIZES, QUICK_ROUNDS = 3, (3,), 1
MANY, POOL = 64, 32
PREPARED, QUICK_PREPARED = 32, 3
_QUIETLY = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


def loop(provider: SimulatedProvider, count: int, folder: Path) -> float:
    """Seconds of a sequential loop with the users' delay after each picture."""
    began = time.perf_counter()
    for number, text in enumerate(prompt_texts(count)):
        keep_picture(requests, provider.url, text, SMALL, folder / f"loop {number}.png")
        time.sleep(DELAY)
    return time.perf_counter() - began


def pool(provider: SimulatedProvider, count: int, folder: Path) -> float:
    """Seconds of a plain pool of threads."""
    began = time.perf_counter()
    with ThreadPoolExecutor(POOL) as threads:
        paths = (folder / f"pool {number}.png" for number in range(count))
        keep = partial(_keep, provider.url)
        list(threads.map(keep, prompt_texts(count), paths))
    return time.perf_counter() - began


def careful_pool(provider: SimulatedProvider, count: int, folder: Path) -> float:
    """Seconds of a pool that decodes each picture, and flushes its file."""
    began = time.perf_counter()
    BareLoop(provider, folder, SMALL, flush=True).in_a_pool(count, POOL)
    return time.perf_counter() - began


def _keep(address: str, text: str, path: Path) -> None:
    keep_picture(requests, address, text, SMALL, path)


def runs(provider: SimulatedProvider, count: int, folder: Path) -> float:
    """Seconds of a Dagster run for each partition, on an instance of the project's kind."""
    numbers = dg.StaticPartitionsDefinition([str(number) for number in range(count)])

    @dg.asset(partitions_def=numbers)
    def picture(context: dg.AssetExecutionContext) -> None:
        text = prompt_texts(count)[int(context.partition_key)]
        _keep(provider.url, text, folder / f"run {context.partition_key}.png")

    job = dg.Definitions(assets=[picture]).resolve_implicit_global_asset_job_def()
    with scratch_project():
        instance = open_instance()
        assert instance is not None
        with instance:
            began = time.perf_counter()
            for key in numbers.get_partition_keys():
                run = job.execute_in_process(_QUIETLY, instance=instance, partition_key=key)
                if not run.success:
                    raise RuntimeError(f"the run of {key} failed")
            return time.perf_counter() - began


def range_run(provider: SimulatedProvider, count: int) -> tuple[float, float]:
    """Seconds of one Dagster range run of ours with all at once: from the first submit to the last
    event of a partition, and of the whole process.
    """
    with scratch_project() as root:
        provider.use()
        write_prompts(root, count)
        keys = register(root)
        config = {"image_size": f"{SMALL[0]}x{SMALL[1]}"}
        process = materialize(root, keys, config=config, IMAGEGEN_CONCURRENCY=str(MANY))
        last = event_times("generated_images").last_of_partitions
        return last - first_submit(count), process.seconds


def in_turns(
    provider: SimulatedProvider, count: int, folder: Path, rounds: int
) -> dict[str, float]:
    """The short ones: the median of so many rounds each."""
    names = ("many", "pool", "careful pool", "as many")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        seconds["many"].append(run_batch(provider, count, SMALL, at_once=MANY).since_submit)
        seconds["pool"].append(pool(provider, count, folder))
        seconds["careful pool"].append(careful_pool(provider, count, folder))
        seconds["as many"].append(run_batch(provider, count, SMALL, at_once=POOL).since_submit)
    return {name: median(measured) for name, measured in seconds.items()}


def measure(quick: bool) -> Figure:
    """How much sooner 60 pictures are there than with a loop, a pool, or a run for each."""
    count, rounds = (QUICK_PROMPTS, QUICK_ROUNDS) if quick else (PROMPTS, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as temporary:
        folder = Path(temporary)
        prepare(folder / "prepared", SMALL, QUICK_PREPARED if quick else PREPARED)
        with simulated_provider(
            folder, latency=SECONDS_A_PICTURE, capacity=MANY, pictures=folder / "prepared"
        ) as provider:
            sizes = QUICK_SIZES if quick else SIZES
            short = {size: in_turns(provider, size, folder, rounds) for size in sizes}
            by_range, whole = range_run(provider, count)
            by_loop = loop(provider, count, folder)
            by_runs = runs(provider, count, folder)
            share = provider.share()
    ours = short[count]
    return Figure(
        "users_today",
        "Against what users have",
        f"{count} prompts, {SECONDS_A_PICTURE:g} s a picture, {SMALL[0]}x{SMALL[1]}. Ours: the "
        f"Python API, from the first submit to the last outcome.",
        results=[
            Result(
                "a sequential loop with their delay, beside ours",
                by_loop / ours["many"],
                goal=60,
                at_least=True,
                detail=f"{MANY} at once; {by_loop:.1f} s beside {ours['many']:.2f} s",
            ),
            Result(
                f"a plain pool of {POOL} threads, beside ours",
                ours["pool"] / ours["as many"],
                goal=0.97,
                at_least=True,
                detail=f"{POOL} at once; {ours['pool']:.2f} s beside {ours['as many']:.2f} s",
            ),
            Result(
                f"a pool of {POOL} that decodes and flushes, beside ours",
                ours["careful pool"] / ours["as many"],
                detail=f"{ours['careful pool']:.2f} s",
            ),
            Result(
                "a Dagster run for each partition, beside one range run of ours",
                by_runs / by_range,
                goal=10,
                at_least=True,
                detail=f"{by_runs:.1f} s beside {by_range:.2f} s",
            ),
            Result(
                "the same, beside the range run's whole process",
                by_runs / whole,
                detail=f"{whole:.1f} s",
            ),
            Result("the sequential loop, beside one range run of ours", by_loop / by_range),
            Result("the plain pool, beside one range run of ours", ours["pool"] / by_range),
            share,
        ],
        series=[
            Series(
                "Pictures of 2 s each",
                "prompts",
                "seconds",
                {
                    f"ours, {MANY} at once": [(n, one["many"]) for n, one in short.items()],
                    f"ours, {POOL} at once": [(n, one["as many"]) for n, one in short.items()],
                    f"a pool of {POOL}": [(n, one["pool"]) for n, one in short.items()],
                    "the same, decoding and flushing": [
                        (n, one["careful pool"]) for n, one in short.items()
                    ],
                },
            )
        ],
        notes=[
            f"Median of {rounds}, in turns, of the pools and the Python class; the loop and the "
            "runs were measured once, in full.",
        ],
    )


if __name__ == "__main__":
    run_script(measure)
