"""How long the code location and the command take to load, beside a bare Dagster location.

Every run and every tick of a sensor's process begins with the location's import, and the UI and its
daemon with one each. Each import is a process of its own, the compared ones in turns, eleven rounds
after one that warms the disk's cache; the number given is the median. The bare location has one
asset and imports Dagster alone. The import is timed inside the process, and the process from start
to end as whoever starts it sees it: the end is not the same, since this project's objects of
Dagster's are out of the garbage collector's sight.
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
AS_MANY = """from typing import Optional

import dagster as dg


class Store(dg.ConfigurableResource):
    key: str = ""
    url: str = ""


class ExampleConfig(dg.Config):
    keys: list[str] = []
    limit: Optional[int] = None
    again: bool = False
    model: Optional[str] = None
    size: Optional[str] = None
    steps: Optional[int] = None


def asset(number):
    @dg.asset(name=f"asset_{number}")
    def one(context: dg.AssetExecutionContext, config: ExampleConfig, store: Store) -> None:
        "An asset."

    return one


def job(number):
    @dg.op(name=f"op_{number}")
    def work(context: dg.OpExecutionContext, config: ExampleConfig, store: Store) -> None:
        "An op."

    @dg.job(name=f"job_{number}", config={"ops": {f"op_{number}": {"config": {"again": True}}}})
    def one() -> None:
        work()

    return one


def sensor(number):
    @dg.sensor(name=f"sensor_{number}")
    def one(context: dg.SensorEvaluationContext, store: Store) -> dg.SkipReason:
        return dg.SkipReason("nothing")

    return one


defs = dg.Definitions(
    assets=[asset(number) for number in range(7)],
    jobs=[job(number) for number in range(6)],
    sensors=[sensor(number) for number in range(5)],
    resources={"store": Store()},
)
"""
"""As many definitions as this project has, with nothing behind them."""
OURS, THEIRS, THEIRS_AS_MANY = (
    "imagegen_pipeline.definitions",
    "bare_location",
    "as_many_definitions",
)
MARKER = "SECONDS "
TIMED = (
    f"import time; b = time.perf_counter(); import {{}}; print('{MARKER}', time.perf_counter() - b)"
)
"""Imports a module and prints how long that took."""
BESIDE = "beside a bare location"


def measure(quick: bool) -> Figure:
    """Seconds from a process's start to its end."""
    rounds = 2 if quick else ROUNDS
    with tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as temporary:
        (Path(temporary) / f"{THEIRS}.py").write_text(BARE, "utf-8")
        (Path(temporary) / f"{THEIRS_AS_MANY}.py").write_text(AS_MANY, "utf-8")
        seconds = in_turns(commands(), Path(temporary), rounds)
        validate = in_turns(validations(), Path(temporary), 1 if quick else 3)
    figure = Figure(
        "start_up",
        "Start-up",
        f"Each as a process of its own, in turns; the median of {rounds} rounds.",
    )
    imports = {name: (f"{name}, import", f"{name}, process") for name in ("location", "bare")}
    pairs = [
        zip(*(seconds[imports[name][kind]] for name in imports), strict=True) for kind in (0, 1)
    ]
    ratios = [median(ours / bare for ours, bare in pair) for pair in pairs]
    figure.results = [
        Result("import of the code location", ratios[0], goal=1.15, detail=BESIDE),
        Result("a process that imports it", ratios[1], goal=1.15, detail=BESIDE),
        Result("imagegen --help", median(seconds["help"]), "s", goal=0.3),
    ]
    shown = {name: values for name, values in seconds.items() if name != "help"} | validate
    figure.results += [Result(name, median(values), "s") for name, values in shown.items()]
    figure.notes = [
        "Each ratio is the median of the rounds' own ratios: both were measured within seconds.",
        "`as many definitions`: 7 assets, 6 jobs and 5 sensors with resources and configurations, "
        "as this project has, and nothing behind them: what Dagster itself takes for them.",
    ]
    return figure


def commands() -> dict[str, list[str]]:
    """What is compared; each starts one process."""
    return {
        "location": [sys.executable, "-c", TIMED.format(OURS)],
        "bare": [sys.executable, "-c", TIMED.format(THEIRS)],
        "bare with as many definitions": [sys.executable, "-c", TIMED.format(THEIRS_AS_MANY)],
        "help": [str(Path(sys.executable).parent / "imagegen"), "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }


def validations() -> dict[str, list[str]]:
    """Dagster's own command, which loads a location as its servers do."""
    dagster = str(Path(sys.executable).parent / "dagster")
    return {
        f"dagster definitions validate, {name}": [dagster, "definitions", "validate", "-m", module]
        for name, module in (("location", OURS), ("bare", THEIRS))
    }


def in_turns(named: dict[str, list[str]], place: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each command, by its name; the first round counts for nothing."""
    kept = {key: value for key, value in os.environ.items() if "IMAGEGEN" not in key}
    environment = {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT), str(place)))}
    seconds: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        for name, command in named.items():
            began = time.perf_counter()
            done = subprocess.run(  # noqa: S603 - commands of this script
                command, cwd=place, env=environment, check=True, stdout=subprocess.PIPE, text=True
            )
            measured = {name: time.perf_counter() - began}
            if MARKER in done.stdout:
                inside = float(done.stdout.split(MARKER)[1])
                measured = {f"{name}, import": inside, f"{name}, process": measured[name]}
            if number:
                for what, value in measured.items():
                    seconds.setdefault(what, []).append(value)
    return seconds


if __name__ == "__main__":
    run_script(measure)
