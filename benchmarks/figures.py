"""What a benchmark has measured, in a form that a table and plots are made of.

A figure is saved as ``benchmarks/measured/{name}.json``, so that the report can be written again
without measuring again, and one figure can be measured alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.scratch import ROOT

MEASURED = ROOT / "benchmarks" / "measured"


def machine() -> str:
    """The machine in a few words, without names or paths."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


@dataclass(frozen=True)
class Result:
    """One number. ``goal`` is its bound, from below if ``at_least``; None: it is only shown.

    ``unit`` is empty for a ratio. ``detail`` describes it in a few words.
    """

    name: str
    value: float
    unit: str = ""
    goal: float | None = None
    at_least: bool = False
    detail: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


@dataclass(frozen=True)
class Series:
    """One plot: how something grows. ``lines`` are points (x, y), by label."""

    title: str
    x_label: str
    y_label: str
    lines: dict[str, list[tuple[float, float]]]


@dataclass
class Figure:
    """What one script has measured. ``work`` is a sentence: what was done, on how much."""

    name: str
    title: str
    work: str
    results: list[Result] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    machine: str = field(default_factory=machine)
    measured_at: str = field(
        default_factory=lambda: time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    )

    def save(self) -> Path:
        """Save it where the report reads."""
        MEASURED.mkdir(exist_ok=True)
        path = MEASURED / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", "utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> Figure:
        """What was saved."""
        raw = json.loads(path.read_text("utf-8"))
        raw["results"] = [Result(**one) for one in raw["results"]]
        raw["series"] = [Series(**one) for one in raw["series"]]
        return cls(**raw)

    def markdown(self) -> str:
        """Its table."""
        lines = [
            f"### {self.title}",
            "",
            self.work,
            "",
            "| | measured | goal | |",
            "| --- | ---: | ---: | --- |",
        ]
        for one in self.results:
            sign = "≥" if one.at_least else "≤"
            goal = "" if one.goal is None else f"{sign} {number(one.goal)}{_with_space(one.unit)}"
            met = {None: "", True: "met", False: "**not met**"}[one.is_met]
            shown = f"{number(one.value)}{_with_space(one.unit)}"
            name = f"{one.name} ({one.detail})" if one.detail else one.name
            lines.append(f"| {name} | {shown} | {goal} | {met} |")
        lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines).rstrip() + "\n"


def number(value: float) -> str:
    """With three digits that mean something, and never as 1e+05."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _with_space(unit: str) -> str:
    return f" {unit}" if unit else ""


def run_script(measure: Callable[[bool], Figure]) -> None:
    """The command line of every script: measure, print the table, save.

    ``--quick`` measures little, to see that the script works, and saves nothing.
    """
    parser = argparse.ArgumentParser(description=(measure.__doc__ or "").strip())
    parser.add_argument("--quick", action="store_true", help="little work; nothing is saved")
    quick = parser.parse_args().quick
    figure = measure(quick)
    print(figure.markdown())
    if not quick:
        figure.save()
