"""How long the code location and the command take to load, beside a bare Dagster location.

Every run and every tick of a sensor's process begins with the location's import, and the UI and its
daemon with one each. Each import is a process of its own, the compared ones in turns, eleven rounds
after one that warms the disk's cache; what is told is the median. The bare location has one asset
and imports Dagster alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, Result, run_script
from benchmarks.scratch import ROOT

ROUNDS = 11
BARE = """import dagster as dg


@dg.asset
def one() -> None: ...


defs = dg.Definitions(assets=[one])
"""
OURS, THEIRS = "imagegen_pipeline.definitions", "bare_location"
BESIDE = "beside a bare location"


def measure(quick: bool) -> Figure:
    """Seconds from a process's start to its end."""
    rounds = 2 if quick else ROUNDS
    with tempfile.TemporaryDirectory(prefix="imagegen-bench-") as place:
        (Path(place) / f"{THEIRS}.py").write_text(BARE, "utf-8")
        seconds = in_turns(commands(), Path(place), rounds)
        validate = in_turns(validations(), Path(place), 1 if quick else 3)
    figure = Figure(
        "start_up",
        "Start-up",
        f"Each as a process of its own, in turns; the median of {rounds} rounds.",
    )
    location, bare = median(seconds["location"]), median(seconds["bare"])
    ratio = median(a / b for a, b in zip(seconds["location"], seconds["bare"], strict=True))
    figure.results = [
        Result("import of the code location", ratio, goal=1.15, detail=BESIDE),
        Result("imagegen --help", median(seconds["help"]), "s", goal=0.3),
        Result("import of the code location", location, "s"),
        Result("import of the bare location", bare, "s"),
        Result("python -c pass", median(seconds["python"]), "s"),
        Result("dagster definitions validate", median(validate["location"]), "s"),
        Result("dagster definitions validate, bare", median(validate["bare"]), "s"),
    ]
    figure.notes = [
        "The ratio is the median of the rounds' own ratios: both were measured within seconds.",
        f"Of the location's import {location - bare:.2f} s are this project's.",
    ]
    return figure


def commands() -> dict[str, list[str]]:
    """What is compared; each starts one process."""
    return {
        "location": [sys.executable, "-c", f"import {OURS}"],
        "bare": [sys.executable, "-c", f"import {THEIRS}"],
        "help": [str(Path(sys.executable).parent / "imagegen"), "--help"],
        "python": [sys.executable, "-c", "pass"],
    }


def validations() -> dict[str, list[str]]:
    """Dagster's own command, which loads a location as its servers do."""
    dagster = str(Path(sys.executable).parent / "dagster")
    return {
        name: [dagster, "definitions", "validate", "-m", module]
        for name, module in (("location", OURS), ("bare", THEIRS))
    }


def in_turns(named: dict[str, list[str]], place: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each command, by its name; the first round counts for nothing."""
    kept = {key: value for key, value in os.environ.items() if "IMAGEGEN" not in key}
    environment = {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT), str(place)))}
    seconds: dict[str, list[float]] = {name: [] for name in named}
    for number in range(rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        for name, command in named.items():
            began = time.perf_counter()
            subprocess.run(command, cwd=place, env=environment, check=True, capture_output=True)  # noqa: S603
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    run_script(measure)
