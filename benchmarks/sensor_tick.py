"""What a tick of ``sources_sensor`` costs: the first ones, with nothing changed, with 100 changes.

Makes a scratch project of each size in a temporary folder, once with a database of prompts and
once with a folder of JSON files, and measures each step in a process of its own: seconds by the
wall, and the most memory. Requests nothing.
"""

from __future__ import annotations

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

from benchmarks.figures import Figure, Result, Series, run_script
from benchmarks.scratch import ROOT

SIZES = (10_000, 30_000, 100_000)
QUICK = (100, 200, 400)
SOURCES = ("database", "JSON files")
STEPS = {
    "unchanged": "nothing new",
    "new": "100 new prompts",
    "edited": "100 edited prompts",
}
CHANGES = 100
_GOALS = {"unchanged": 1.0}
"""Seconds."""
MOST_TICKS = 3
"""First ticks that are measured. Dagster's events take about 10 ms each whatever we do, so of a
large project the rest of them is skipped, and their rate given.
"""
STABLE_AFTER_SECONDS = 2.5
"""The age of the last change of a source at which its change token is trusted."""
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
    far in MB, and what was messages.
    """
    import dagster as dg

    from imagegen_pipeline.dagster_ext.instance import open_instance
    from imagegen_pipeline.defs.resources import PipelineResource
    from imagegen_pipeline.defs.sensors.sources import sources_sensor

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
            messages = result.skip_reason.skip_message if result.skip_reason else ""
            yield {"seconds": seconds, "cpu": cpu, "MB": most, "message": messages}


def step(root: Path, name: str) -> list[dict[str, Any]]:
    """The ticks of one step, in this process."""
    measured = []
    for tick in ticks(root):
        measured.append(tick)
        print(name, tick, file=sys.stderr, flush=True)
        if name != "first" or "next tick" not in str(tick["message"]):
            return measured
        if len(measured) >= MOST_TICKS:
            _skip_the_rest(root)
            return measured
    return measured


def _skip_the_rest(root: Path) -> None:
    """Read the source to its end and report everything to Dagster."""
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    pipeline.sources.scan()
    newest = {kind: pipeline.ledger.items.last_sequence(kind) for kind in ("prompt", "actor")}
    pipeline.close()
    (root / "cursor").write_text(json.dumps({"registered": newest, "reported": newest}))


def in_a_process(root: Path, name: str) -> list[dict[str, Any]]:
    """One step in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.sensor_tick", "--step", name]
    environment = {key: value for key, value in os.environ.items() if "IMAGEGEN" not in key}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(  # noqa: S603 - this very file
        command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return list(json.loads(done.stdout))


def measure_project(source: str, size: int) -> dict[str, Any]:
    """The steps of one project: each one's tick by its name, and of the first ticks, in words."""
    with tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as temporary:
        root = Path(temporary)
        print(f"{size:,} prompts in {source}", file=sys.stderr, flush=True)
        make_project(root, source, size)
        time.sleep(STABLE_AFTER_SECONDS)
        found: dict[str, Any] = {"first": _of_first(in_a_process(root, "first"))}
        found["unchanged"] = _only(in_a_process(root, "unchanged"))
        add(root, source, range(size + 1, size + CHANGES + 1))
        found["new"] = _only(in_a_process(root, "new"))
        add(root, source, range(1, size + 1, size // CHANGES), text="edited {0}")
        found["edited"] = _only(in_a_process(root, "edited"))
        return found


def _only(measured: list[dict[str, Any]]) -> dict[str, Any]:
    (tick,) = measured
    return tick


def _of_first(measured: list[dict[str, Any]]) -> str:
    """After how many ticks all is registered, and how many events were written in which time."""
    messages = [str(tick["message"]) for tick in measured]
    registered = sum("to register" in words for words in messages) + 1
    events = sum(_count(words, "given a version") for words in messages)
    seconds = sum(tick["seconds"] for tick in measured)
    when = (
        f"after {registered} ticks"
        if registered <= len(messages)
        else f"after more than {len(messages)}"
    )
    most = max(tick["MB"] for tick in measured)
    return f"all registered {when}, {events:,} events written in {seconds:.0f} s, {most:.0f} MB"


def _count(words: str, what: str) -> int:
    found = re.search(rf"([\d,]+) {what}", words)
    return int(found[1].replace(",", "")) if found else 0


def measure(quick: bool) -> Figure:
    """Seconds of each tick at three sizes, from either source."""
    sizes = QUICK if quick else SIZES
    found = {(one, size): measure_project(one, size) for size in sizes for one in SOURCES}
    largest = max(sizes)
    figure = Figure(
        "sensor_tick",
        "Sources' tick",
        f"One tick of sources_sensor over {largest:,} prompts, each step in a process of its own.",
    )
    for source in SOURCES:
        last = found[source, largest]
        figure.results += [
            Result(label, last[name]["seconds"], "s", goal=_GOALS.get(name), detail=source)
            for name, label in STEPS.items()
        ]
        memory = last["unchanged"]["MB"]
        figure.results.append(Result("peak memory, nothing new", memory, "MB", detail=source))
        figure.notes.append(f"First ticks with {largest:,} from {source}: {last['first']}.")
    figure.series = [
        Series(
            f"A tick of sources_sensor: {label}",
            "prompts",
            "seconds",
            {one: [(float(n), found[one, n][name]["seconds"]) for n in sizes] for one in SOURCES},
        )
        for name, label in STEPS.items()
    ]
    figure.notes.append(
        f"Of the first ticks, {MOST_TICKS} at most are measured; the rest of the events is skipped."
    )
    return figure


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(step(Path.cwd(), sys.argv[2])))
    else:
        run_script(measure)
