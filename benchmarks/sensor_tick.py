"""What a tick of ``sources_sensor`` costs: the first ones, with nothing changed, with 100 changes.

    python benchmarks/sensor_tick.py 1000 10000 100000 --million

Makes a scratch project of each size in a temporary folder, once with a database of prompts and
once with a folder of JSON files (``--million``: a database of a million, 3 GB with its ledger),
measures each step in a process of its own, and prints a table in Markdown: seconds, in brackets
those of the processor, and the most memory. Requests nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SIZES = (1_000, 10_000, 100_000)
MILLION = 1_000_000
CHANGES = 100
MOST_TICKS = 6
"""First ticks that are measured. Dagster's events take about 10 ms each whatever we do, so of a
large project the rest of them is skipped, and their rate told.
"""
LEFT_ALONE_SECONDS = 2.5
"""As long as a source has to be left alone for its stamp to be believed."""
TEXT = "a lighthouse on a rocky coast at dusk, with long shadows and a calm sea, number {0}, " * 4


def make_project(root: Path, source: str, size: int) -> None:
    """A project with ``size`` prompts in one source."""
    shutil.copy(ROOT / "dagster.yaml", root / "dagster.yaml")
    (root / "data" / "prompt_json").mkdir(parents=True)
    if source == "database":
        with closing(sqlite3.connect(_database(root))) as connection:
            images = "id INTEGER PRIMARY KEY, original_filename TEXT, descriptive_name TEXT"
            connection.execute(f"CREATE TABLE images ({images})")
            columns = "id INTEGER PRIMARY KEY, image_id INTEGER, image_prompt TEXT"
            connection.execute(f"CREATE TABLE prompts ({columns})")
            connection.commit()
    add(root, source, range(1, size + 1))


def _database(root: Path) -> Path:
    return root / "data" / "llm_video_batch.db"


def add(root: Path, source: str, numbers: range, text: str = TEXT) -> None:
    """Write prompts with these numbers, new ones or others in place of what was there."""
    if source == "database":
        with closing(sqlite3.connect(_database(root))) as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO prompts VALUES (?, ?, ?)",
                ((number, number, text.format(number)) for number in numbers),
            )
            connection.commit()
        return
    for number in numbers:
        path = root / "data" / "prompt_json" / f"prompt_{number:07}.json"
        path.write_text(json.dumps({"image_prompt": text.format(number)}), encoding="utf-8")


def ticks(root: Path) -> Iterator[dict[str, Any]]:
    """Tick after tick in this process: seconds that passed and of the processor, the most memory so
    far in MB, and what was said.
    """
    import dagster as dg

    from imagegen_pipeline.defs.instance import open_instance
    from imagegen_pipeline.defs.resources import PipelineResource
    from imagegen_pipeline.defs.watching import sources_sensor

    kept = root / "cursor"
    instance = open_instance()
    assert instance is not None
    with instance:
        while True:
            cursor = kept.read_text() if kept.exists() else None
            began, cpu = time.perf_counter(), time.process_time()
            with dg.build_sensor_context(
                instance=instance, cursor=cursor, resources={"pipeline": PipelineResource()}
            ) as context:
                result = sources_sensor(context)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            assert isinstance(result, dg.SensorResult)
            kept.write_text(result.cursor or "")
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            said = result.skip_reason.skip_message if result.skip_reason else ""
            yield {"seconds": seconds, "cpu": cpu, "MB": most, "said": said}


def step(root: Path, name: str) -> list[dict[str, Any]]:
    """The ticks of one step, in this process."""
    measured = []
    for tick in ticks(root):
        measured.append(tick)
        print(name, tick, file=sys.stderr, flush=True)
        if name != "first" or "next tick" not in str(tick["said"]):
            return measured
        if len(measured) >= MOST_TICKS:
            _skip_the_rest(root)
            return measured
    return measured


def _skip_the_rest(root: Path) -> None:
    """Read the source to its end, and have Dagster told of everything that is not told yet."""
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    pipeline.sources.look()
    newest = {kind: pipeline.ledger.items.last_sequence(kind) for kind in ("prompt", "actor")}
    pipeline.close()
    (root / "cursor").write_text(json.dumps({"registered": newest, "reported": newest}))


def measure(root: Path, name: str) -> list[dict[str, Any]]:
    """One step in a process of its own."""
    command = [sys.executable, __file__, "--step", name]
    environment = {key: value for key, value in os.environ.items() if "IMAGEGEN" not in key}
    done = subprocess.run(  # noqa: S603 - this very file
        command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return list(json.loads(done.stdout))


def row(source: str, size: int) -> str:
    """The table's row for one project."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        make_project(root, source, size)
        time.sleep(LEFT_ALONE_SECONDS)
        first = measure(root, "first")
        cells = [f"{size:,}", source, _of_first(first), told(measure(root, "unchanged"))]
        add(root, source, range(size + 1, size + CHANGES + 1))
        cells.append(told(measure(root, "new")))
        add(root, source, range(1, size + 1, size // CHANGES), text="edited {0}")
        cells.append(told(measure(root, "edited")))
        return " | ".join(cells)


def told(measured: list[dict[str, Any]]) -> str:
    """Seconds (those of the processor) and memory of a step's only tick."""
    (tick,) = measured
    return f"{tick['seconds']:.2f} s ({tick['cpu']:.2f} s), {tick['MB']:.0f} MB"


def _of_first(measured: list[dict[str, Any]]) -> str:
    """After how many ticks all is registered, and how many events were written in which time."""
    said = [str(tick["said"]) for tick in measured]
    registered = sum("to register" in words or "reads on" in words for words in said) + 1
    events = sum(_count(words, "given a version") for words in said)
    seconds = sum(tick["seconds"] for tick in measured)
    when = f"after {registered}" if registered <= len(said) else f"not after {len(said)}"
    most = max(tick["MB"] for tick in measured)
    return f"{when}; {events:,} events in {seconds:.0f} s, {most:.0f} MB"


def _count(words: str, what: str) -> int:
    found = re.search(rf"([\d,]+) {what}", words)
    return int(found[1].replace(",", "")) if found else 0


def main() -> None:
    """Measure each size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--million", action="store_true", help="a database of a million, too")
    parser.add_argument("--step")
    given = parser.parse_args()
    if given.step:
        print(json.dumps(step(Path.cwd(), given.step)))
        return
    heads = ("prompts", "source", "registered in ticks", "nothing changed")
    heads += (f"{CHANGES} new", f"{CHANGES} edited")
    print(f"| {' | '.join(heads)} |\n| ---: | --- | --- |{' ---: |' * 3}", flush=True)
    projects = [(source, size) for size in given.sizes for source in ("database", "JSON files")]
    for source, size in projects + [("database", MILLION)] * given.million:
        print(f"| {row(source, size)} |", flush=True)


if __name__ == "__main__":
    main()
