"""What a tick of ``automation_sensor`` takes, with all pictures made and nothing or 100 new.

Evaluating a condition over 100,000 partitions is Dagster's own work. So the same ticks are taken
of a bare location with the same condition and the same events, and of one with Dagster's
``eager()``; what is ours is what lies above the first.

Each is measured in a process of its own, the largest size in turns. The instance is the project's
(SQLite), or for the bare locations Dagster's own. The events that are there before are copies of a
real one in Dagster's own table, since reporting 100,000 of them one by one takes twenty minutes;
those of the new prompts are reported as ``sources_sensor`` does.
"""

from __future__ import annotations

import json
import re
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

import dagster as dg

from benchmarks.bare_location import bare_instance, bare_location
from benchmarks.figures import Figure, Result, Series, run_script
from benchmarks.scratch import ROOT, scratch_project

SIZES = (10_000, 30_000, 100_000)
QUICK = (20, 40, 80)
TURNS = 3
NEW = 100
OURS, BARE, EAGER = "ours", "a bare location", "a bare location with eager()"
Place = tuple[dg.DagsterInstance, Path, dg.AutomationConditionSensorDefinition, dg.Definitions]
TICKS = ("first", "unchanged", f"{NEW} new")
MOST_ADDED = 1.15
LABELS = {"first": "first tick", "unchanged": "nothing new", f"{NEW} new": f"{NEW} new prompts"}


def key_of(number: int) -> str:
    """The partition key of a prompt."""
    return f"json-prompt-{number:06}"


def report(instance: dg.DagsterInstance, asset: str, key: str) -> None:
    """An event as the sensors and runs write it."""
    tags = {"dagster/data_version": f"v-{key}", "dagster/data_version_is_user_provided": "true"}
    instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key, tags=tags))


def copy_events(database: Path, asset: str, first: str, keys: list[str]) -> None:
    """Give every key the event that the first one has, its tags with it."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.row_factory = sqlite3.Row
        shown = json.dumps([asset])
        query = "SELECT * FROM event_logs WHERE asset_key = ? AND partition = ?"
        row = dict(connection.execute(query, (shown, first)).fetchone())
        original = row.pop("id")
        tags = connection.execute(
            "SELECT * FROM asset_event_tags WHERE event_id = ?", (original,)
        ).fetchall()
        (newest,) = connection.execute("SELECT MAX(id) FROM event_logs").fetchone()
        for number, key in enumerate(keys, start=newest + 1):
            new = {**row, "id": number, "partition": key, "event": row["event"].replace(first, key)}
            insert(connection, "event_logs", new)
            for tag in tags:
                of_new = {
                    **dict(tag),
                    "event_id": number,
                    "value": tag["value"].replace(first, key),
                }
                of_new.pop("id", None)
                insert(connection, "asset_event_tags", of_new)


def insert(connection: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    """One row, by its columns' names."""
    names = ", ".join(row)
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608


@contextmanager
def place_of(kind: str) -> Iterator[Place]:
    """An instance, its folder, the sensor and its location."""
    from imagegen_pipeline.dagster_ext.instance import open_instance
    from imagegen_pipeline.definitions import defs
    from imagegen_pipeline.defs.sensors.automation import (
        automation_sensor,
        source_changed_condition,
    )

    if kind == OURS:
        with scratch_project() as root:
            opened = open_instance()
            assert opened is not None
            with opened:
                yield opened, root, automation_sensor, defs
        return
    condition = (
        source_changed_condition(backlog=False) if kind == BARE else dg.AutomationCondition.eager()
    )
    with bare_instance() as (instance, folder):
        yield instance, folder, *bare_location(condition)


def ticks(prompts: int, kind: str) -> dict[str, float]:
    """Seconds of each tick, of CPU too, and the peak of memory in MB."""
    figures = {}
    with place_of(kind) as (instance, root, sensor, defs):
        fill(instance, root, prompts)
        repository = defs.get_repository_def()
        cursor, requested = None, 0
        for name in TICKS:
            if name == TICKS[-1]:
                add_prompts(instance, range(prompts, prompts + NEW))
            start, cpu = time.perf_counter(), time.process_time()
            with dg.build_sensor_context(
                instance=instance, cursor=cursor, repository_def=repository
            ) as context:
                data = sensor.evaluate_tick(context)
            figures[name] = time.perf_counter() - start
            figures[f"CPU: {name}"] = time.process_time() - cpu
            cursor = data.cursor
            requested = len(data.run_requests or [])
        assert requested >= 1
    figures["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def fill(instance: dg.DagsterInstance, root: Path, prompts: int) -> None:
    """So many prompts, and a picture of each."""
    keys = [key_of(number) for number in range(prompts)]
    instance.add_dynamic_partitions("prompts", keys)
    for asset in ("prompts", "generated_images"):
        report(instance, asset, keys[0])
        database = next(root.glob("**/history/runs/index.db"))
        copy_events(database, asset, keys[0], keys[1:])


def add_prompts(instance: dg.DagsterInstance, numbers: range) -> None:
    """New prompts, as ``sources_sensor`` reports them."""
    keys = [key_of(number) for number in numbers]
    instance.add_dynamic_partitions("prompts", keys)
    for key in keys:
        report(instance, "prompts", key)


def in_a_process(prompts: int, kind: str) -> dict[str, float]:
    """The ticks of one size and kind, in a process of its own."""
    print(f"{prompts:,} prompts, {kind}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.automation_tick", "--one", str(prompts), kind]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    found = re.search(r"^FIGURES (.*)$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    return dict(json.loads(found[1]))


def in_turns(prompts: int, turns: int) -> dict[str, dict[str, float]]:
    """The medians of each kind."""
    kinds = (OURS, BARE, EAGER)
    found = [{kind: in_a_process(prompts, kind) for kind in kinds} for _ in range(turns)]
    return {
        kind: {name: median(turn[kind][name] for turn in found) for name in found[0][kind]}
        for kind in kinds
    }


def measure(quick: bool) -> Figure:
    """Seconds of each tick at three sizes, beside those of a bare location."""
    *smaller, largest = QUICK if quick else SIZES
    found = {size: in_a_process(size, OURS) for size in smaller}
    last = in_turns(largest, 1 if quick else TURNS)
    found[largest] = ours = last[OURS]
    lines = {
        label: [(float(size), one[name]) for size, one in found.items()]
        for name, label in LABELS.items()
    }
    return Figure(
        "automation_tick",
        "Automation's tick",
        f"One tick of automation_sensor over {largest:,} prompts, all pictures made.",
        results=[
            *beside(last, "unchanged", "a tick with nothing new", goal=MOST_ADDED),
            *beside(last, "first", "the first tick"),
            *beside(last, TICKS[-1], f"a tick with {NEW} new prompts"),
            Result("peak memory of its process", ours["MB"], "MB"),
            Result("the same of a bare location", last[BARE]["MB"], "MB"),
        ],
        series=[Series("A tick of automation_sensor", "prompts", "seconds", lines)],
        notes=[
            f"Median of {TURNS}, in turns. The bare location has two assets, the same condition, "
            "and Dagster's own sensor and storage.",
            "The sensor is off until it is switched on, and has 60 s for a tick.",
        ],
    )


def beside(
    found: dict[str, dict[str, float]], name: str, label: str, goal: float | None = None
) -> list[Result]:
    """A tick of ours by that of a bare location, in CPU's seconds, and the seconds of each."""
    ours, bare, eager = (found[kind] for kind in (OURS, BARE, EAGER))
    cpu = f"CPU: {name}"
    detail = f"CPU beside a bare location's, {ours[cpu]:.3g} s beside {bare[cpu]:.3g} s"
    return [
        Result(label, ours[cpu] / bare[cpu], goal=goal, detail=detail),
        Result(f"{label}, seconds", ours[name], "s"),
        Result("the same of a bare location", bare[name], "s"),
        Result("the same of a bare location with eager()", eager[name], "s"),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print("FIGURES", json.dumps(ticks(int(sys.argv[2]), sys.argv[3])))
    else:
        run_script(measure)
