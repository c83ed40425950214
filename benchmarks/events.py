"""What Dagster's events cost a range run: bare assets that only log, and this project's own.

All runs are in one process, in turns, each on instances of the same kind (SQLite); the number
given is the best of the rounds. The service is the simulator without any delay, with pictures of
64x64 pixels, so that what is measured is Dagster and this project. A run's planned events are
written when it is made, which is measured by itself, without executing it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

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
    range_tags,
    register,
    run,
    stock,
    timed,
)
from benchmarks.scratch import scratch_project, write_prompts
from benchmarks.simulated_provider import simulated_provider

SIZES = {250: 2, 500: 2, 1_000: 2}
"""Partitions, and rounds."""
QUICK = {5: 1, 10: 1, 20: 1}
RUNS: tuple[str, ...] = ("bare, stock", "bare, ours", "bare with a picture's metadata, stock")
RUNS += ("bare with a picture's metadata, ours", "prompts", "pictures, all reused")
RUNS += ("pictures, all new",)
PLANNED = ("bare, stock", "bare, ours", "pictures with their checks, ours")
Piece = Callable[[], object]
Seconds = dict[str, float]


def measure(quick: bool) -> Figure:
    """Milliseconds a partition of each kind of run, at three sizes."""
    sizes = QUICK if quick else SIZES
    found = {size: measure_size(size, rounds) for size, rounds in sizes.items()}
    largest = max(found)
    each = {size: {name: 1e3 * s / size for name, s in one.items()} for size, one in found.items()}
    last = each[largest]
    figure = Figure(
        "events",
        "Events",
        f"Range runs over {', '.join(f'{size:,}' for size in sizes)} partitions, in turns; the "
        f"best of {', '.join(str(rounds) for rounds in sizes.values())} rounds.",
    )
    of = f"a partition, of {largest:,}"
    figure.results = [Result(name, last[name], "ms", detail=of) for name in RUNS]
    figure.results += [
        Result(f"making the run: {name}", last[f"planned: {name}"], "ms", detail=of)
        for name in PLANNED
    ]
    figure.results += [
        Result(f"{name}, beside a bare asset on stock storage", last[name] / last[RUNS[0]])
        for name in RUNS[1:]
    ]
    figure.series = [
        _series("What a partition costs a range run", each, {name: name for name in RUNS}),
        _series(
            "What a partition costs when its run is made",
            each,
            {name: f"planned: {name}" for name in PLANNED},
        ),
    ]
    figure.notes = [
        "A bare asset logs one materialization for each partition. A picture's run logs its five "
        "checks, too; with `all new` there are also the request, the files and the ledger's "
        "transactions, each flushed to disk, and the simulator's own work on the same cores.",
    ]
    return figure


def _series(title: str, each: dict[int, Seconds], names: dict[str, str]) -> Series:
    lines = {
        label: [(float(size), one[name]) for size, one in each.items()]
        for label, name in names.items()
    }
    return Series(title, "partitions", "ms a partition", lines)


def measure_size(size: int, rounds: int) -> Seconds:
    """The best seconds of each piece over so many partitions, in a project of its own."""
    best: Seconds = {}
    with project(size) as (instances, keys):
        reported = _events_of_a_picture(instances["ours"], keys)
        for number in range(rounds):
            for name, piece in pieces(instances, keys, reported, seed=number + 1).items():
                print(f"{size:,}: round {number + 1}, {name}", file=sys.stderr, flush=True)
                seconds = timed(piece)
                best[name] = min(best.get(name, seconds), seconds)
    return best


@contextmanager
def project(size: int) -> Iterator[tuple[dict[str, dg.DagsterInstance], list[str]]]:
    """A project with so many prompts: its own instance and a stock one, and the keys."""
    with ExitStack() as stack:
        root = stack.enter_context(scratch_project())
        stack.enter_context(simulated_provider(root))
        write_prompts(root, size)
        keys = register()
        instances = {
            "stock": stack.enter_context(stock(root / "stock", keys)),
            "ours": stack.enter_context(ours()),
        }
        yield instances, keys


def _events_of_a_picture(instance: dg.DagsterInstance, keys: Sequence[str]) -> ReportedEvents:
    """What a run logs of a picture, its checks left out."""
    from imagegen_pipeline.definitions import defs

    run(instance, defs, IMAGES, keys[:2], SMALL)
    reported = newest_events(instance, keys[0])
    return ReportedEvents(reported.metadata, reported.tags)


def pieces(
    instances: dict[str, dg.DagsterInstance],
    keys: Sequence[str],
    reported: ReportedEvents,
    *,
    seed: int,
) -> dict[str, Piece]:
    """What is measured in a round. ``seed``: another one makes other pictures."""
    from imagegen_pipeline.definitions import defs

    small, large = bare_definitions(ReportedEvents()), bare_definitions(reported)
    config = {IMAGES: {"config": {**SMALL[IMAGES]["config"], "seed": seed}}}
    named: dict[str, Piece] = {}
    for place, instance in instances.items():
        named[f"bare, {place}"] = _run(instance, small, "bare", keys)
        named[f"bare with a picture's metadata, {place}"] = _run(instance, large, "bare", keys)
        named[f"planned: bare, {place}"] = _made(instance, small, "bare", keys)
    own = instances["ours"]
    named["planned: pictures with their checks, ours"] = _made(own, defs, IMAGES, keys)
    named["prompts"] = _run(own, defs, PROMPTS, keys)
    named["pictures, all new"] = lambda: run(own, defs, IMAGES, keys, config)
    named["pictures, all reused"] = lambda: run(own, defs, IMAGES, keys, config)
    return named


def _run(
    instance: dg.DagsterInstance, defs: dg.Definitions, asset: str, keys: Sequence[str]
) -> Piece:
    return lambda: run(instance, defs, asset, keys)


def _made(
    instance: dg.DagsterInstance, defs: dg.Definitions, asset: str, keys: Sequence[str]
) -> Piece:
    """A run over all the keys is made, with its planned events, and not executed."""
    whole = defs.resolve_implicit_global_asset_job_def()
    chosen = {dg.AssetKey(asset)}
    job = whole.get_subset(asset_selection=chosen)
    return lambda: instance.create_run_for_job(job, tags=range_tags(keys), asset_selection=chosen)


if __name__ == "__main__":
    run_script(measure)
