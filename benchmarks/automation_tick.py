"""What a tick of ``automation_sensor`` takes, with all pictures made and nothing or 100 new.

Each size is measured in a process of its own. The instance is the project's (SQLite). The events
that are there before are copies of a real one in Dagster's own table, since reporting 100,000 of
them one by one takes twenty minutes; those of the new prompts are reported as ``sources_sensor``
does.
"""

from __future__ import annotations

import json
import re
import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import dagster as dg

from benchmarks.figures import Figure, Result, Series, run_script
from benchmarks.scratch import ROOT, scratch_project

SIZES = (10_000, 30_000, 100_000)
QUICK = (20, 40, 80)
NEW = 100
TICKS = ("first", "unchanged", f"{NEW} new")
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


def ticks(prompts: int) -> dict[str, float]:
    """Seconds of each tick, and the peak of memory in MB."""
    from imagegen_pipeline.definitions import defs
    from imagegen_pipeline.defs.automation import automation_sensor
    from imagegen_pipeline.defs.instance import open_instance

    with scratch_project() as root:
        instance = open_instance()
        assert instance is not None
        with instance:
            keys = [key_of(number) for number in range(prompts)]
            instance.add_dynamic_partitions("prompts", keys)
            for asset in ("prompts", "generated_images"):
                report(instance, asset, keys[0])
                database = next(root.glob("**/storage/history/runs/index.db"))
                copy_events(database, asset, keys[0], keys[1:])
            repository = defs.get_repository_def()
            cursor = None
            figures = {}
            requested = 0
            for name in TICKS:
                if name == TICKS[-1]:
                    new = [key_of(prompts + number) for number in range(NEW)]
                    instance.add_dynamic_partitions("prompts", new)
                    for key in new:
                        report(instance, "prompts", key)
                start = time.perf_counter()
                with dg.build_sensor_context(
                    instance=instance, cursor=cursor, repository_def=repository
                ) as context:
                    data = automation_sensor.evaluate_tick(context)
                figures[name] = time.perf_counter() - start
                cursor = data.cursor
                requested = len(data.run_requests or [])
            assert requested == 1
    figures["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def in_a_process(prompts: int) -> dict[str, float]:
    """The ticks of one size, in a process of its own."""
    print(f"{prompts:,} prompts", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.automation_tick", "--one", str(prompts)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    found = re.search(r"^FIGURES (.*)$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    return dict(json.loads(found[1]))


def measure(quick: bool) -> Figure:
    """Seconds of each tick at three sizes."""
    sizes = QUICK if quick else SIZES
    found = {size: in_a_process(size) for size in sizes}
    largest = max(sizes)
    last = found[largest]
    lines = {
        label: [(float(size), one[name]) for size, one in found.items()]
        for name, label in LABELS.items()
    }
    return Figure(
        "automation_tick",
        "Automation's tick",
        f"One tick of automation_sensor over {largest:,} prompts, all pictures made.",
        results=[
            Result("a tick with nothing new", last["unchanged"], "s", goal=1.0),
            Result("the first tick", last["first"], "s"),
            Result(f"a tick with {NEW} new prompts", last[TICKS[-1]], "s"),
            Result("peak memory of its process", last["MB"], "MB"),
        ],
        series=[Series("A tick of automation_sensor", "prompts", "seconds", lines)],
        notes=["The sensor is off until it is switched on, and has 60 s for a tick."],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print("FIGURES", json.dumps(ticks(int(sys.argv[2]))))
    else:
        run_script(measure)
