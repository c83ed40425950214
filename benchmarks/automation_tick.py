"""What a tick of ``automation_sensor`` takes, with all pictures made and nothing or 100 new.

``python -m benchmarks.automation_tick [PROMPTS …]`` prints a Markdown table, one row a size, each
measured in a process of its own. The instance is the project's (SQLite). The events that are
there before are copies of a real one in Dagster's own table, since reporting 100,000 of them one
by one takes twenty minutes; those of the 100 new prompts are reported as ``sources_sensor`` does.
"""

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

from benchmarks.scratch import machine, scratch_project

SIZES = (1_000, 10_000, 100_000)
NEW = 100


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


def measure(prompts: int) -> dict[str, float]:
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
            for name in ("first", "unchanged", "100 new"):
                if name == "100 new":
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


def main(sizes: list[int]) -> None:
    """Measure each size in a process of its own, and print the table."""
    print(f"automation_sensor, all pictures made; {machine()}.\n")
    print("| prompts | first tick, s | unchanged, s | 100 new, s | peak MB |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.automation_tick", "--one", str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        found = re.search(r"^FIGURES (.*)$", done.stdout, re.MULTILINE)
        assert found is not None, done.stderr
        one = json.loads(found[1])
        cells = " | ".join(f"{one[name]:.2f}" for name in ("first", "unchanged", "100 new"))
        print(f"| {size:,} | {cells} | {one['MB']:.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print("FIGURES", json.dumps(measure(int(sys.argv[2]))))
    else:
        main([int(size) for size in sys.argv[1:]] or list(SIZES))
