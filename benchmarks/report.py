"""The report: what was measured, as one table of goals, a table for each figure, and plots.

``python -m benchmarks.report`` writes it from what is saved in ``benchmarks/measured/``, without
measuring anything. In ``RESULTS.md`` only the part between two marks is written; the rest is prose.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # before pyplot is imported, so that it needs no display

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from benchmarks.figures import MEASURED, Figure, Result, Series, number

FIGURES = (
    "throughput",
    "users_today",
    "cpu_bound",
    "nothing_to_do",
    "events",
    "memory",
    "start_up",
    "first_picture",
    "sensor_tick",
    "automation_tick",
    "ledger",
)
"""Each figure's script, in the order of the report."""

RESULTS = MEASURED.parent / "RESULTS.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SIZE = (7.0, 4.0)
"""Of a plot, in inches of 100 dots."""


def write_report(measured: Path = MEASURED, results: Path = RESULTS) -> list[Figure]:
    """Write what is saved in ``measured`` between the marks of ``results``, plots beside it.

    A figure without a file stands in the table as not measured. The figures that were found are
    returned. ValueError: ``results`` has no marks.
    """
    prose = results.read_text("utf-8")
    if not 0 <= prose.find(BEGIN) < prose.find(END):
        raise ValueError(f"{results.name} needs a line {BEGIN} and below it a line {END}.")
    figures = [Figure.load(path) for path in _paths(measured) if path.exists()]
    plots = results.parent / "plots"
    plots.mkdir(exist_ok=True)
    for old in plots.glob("*.png"):
        old.unlink()
    parts = [_goals(figures, plots, [path.stem for path in _paths(measured) if not path.exists()])]
    parts += [_figure(figure, plots) for figure in figures]
    before, rest = prose.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    results.write_text(
        "".join((before, BEGIN, "\n\n", "\n".join(parts), "\n", END, after)), "utf-8"
    )
    return figures


def _paths(measured: Path) -> list[Path]:
    return [measured / f"{name}.json" for name in FIGURES]


def _goals(figures: list[Figure], plots: Path, missing: list[str]) -> str:
    """The table with a row for each goal, and the plot of all of them."""
    machines = list(dict.fromkeys(figure.machine for figure in figures))
    days = sorted({figure.measured_at[:10] for figure in figures})
    differ = len(machines) > 1 or len(days) > 1
    lines = ["## Goals", "", *_where(machines, days), ""]
    lines += ["| figure | measured | goal | |" + " on |" * differ]
    lines += ["| --- | ---: | ---: | --- |" + " --- |" * differ]
    for figure in figures:
        on = f" {figure.measured_at[:10]}, {_letter(figure, machines)} |" if differ else ""
        for one in figure.results:
            if one.goal is not None:
                met = "met" if one.is_met else "**not met**"
                cells = (_named(figure, one), _measured(one), _goal(one), met)
                lines.append(f"| {' | '.join(cells)} |{on}")
    lines += [f"| {name} | not measured | | |{' |' * differ}" for name in missing]
    goals = [(figure, one) for figure in figures for one in figure.results if one.goal]
    if goals:
        _plot_goals(goals, plots / "goals.png")
        lines += ["", f"![Each goal, and how far it is passed]({plots.name}/goals.png)"]
    return "\n".join(lines) + "\n"


def _where(machines: list[str], days: list[str]) -> list[str]:
    if not machines:
        return ["No figure has been measured yet: `make bench`."]
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    if len(machines) == 1:
        several = " Not all on one day: see the last column." if len(days) > 1 else ""
        return [f"Measured on {machines[0]}; {when}.{several}"]
    named = [f"- {chr(65 + number)}: {name}" for number, name in enumerate(machines)]
    return [f"Measured on {len(machines)} machines ({when}): see the last column.", "", *named]


def _letter(figure: Figure, machines: list[str]) -> str:
    return chr(65 + machines.index(figure.machine)) if len(machines) > 1 else "same machine"


def _named(figure: Figure, one: Result) -> str:
    """A goal with a label that no other goal has."""
    return f"{figure.title}: {one.name}" + (f" ({one.detail})" if one.detail else "")


def _measured(one: Result) -> str:
    return f"{number(one.value)} {one.unit}".rstrip()


def _goal(one: Result) -> str:
    assert one.goal is not None
    return f"{'≥' if one.at_least else '≤'} {number(one.goal)} {one.unit}".rstrip()


def _figure(figure: Figure, plots: Path) -> str:
    """A figure's own table, its notes and its plots, with what the dashed lines are."""
    lines = [figure.markdown()]
    for count, series in enumerate(figure.series, start=1):
        path = plots / f"{figure.name}-{count}.png"
        summaries = plot(series, path)
        lines += [f"![{series.title}]({plots.name}/{path.name})", ""]
        if summaries:
            lines += [f"Dashed: the nearest straight line. {'; '.join(summaries)}.", ""]
    return "\n".join(lines)


def plot(series: Series, path: Path) -> list[str]:
    """Draw how something grows, beside the straight line nearest to it (least squares).

    What each straight line is, and how far the points are from it, is returned in words.
    """
    drawing, axes = plt.subplots(figsize=SIZE, dpi=100, layout="constrained")
    summaries = []
    for label, points in series.lines.items():
        across, up = (np.array(values, dtype=float) for values in zip(*points, strict=True))
        (line,) = axes.plot(across, up, marker="o", label=label)
        if len(points) > 2:
            slope, start = np.polyfit(across, up, 1)
            ends = np.array([0.0, across.max()])
            axes.plot(ends, start + slope * ends, "--", linewidth=1, color=line.get_color())
            off = float(np.abs(up - start - slope * across).max() / up.max()) if up.max() else 0.0
            summaries.append(
                f"{label}: {_straight(start, slope, across.max(), series.y_label)}, "
                f"no point further from it than {off:.0%} of the highest"
            )
    axes.set(title=series.title, xlabel=series.x_label, ylabel=series.y_label)
    _from_zero(axes)
    if len(series.lines) > 1:
        axes.legend(fontsize=8)
    drawing.savefig(path, metadata={"Software": None})
    plt.close(drawing)
    return summaries


def _straight(start: float, slope: float, most: float, unit: str) -> str:
    """In words: from where to where."""
    begin = 0.0 if abs(start) < most * abs(slope) / 1000 else float(start)
    return f"from {number(begin)} to {number(float(start + slope * most))} ({unit})"


def _from_zero(axes: Axes) -> None:
    """Both axes start at 0, with space above and thousands separators."""
    axes.set_xlim(left=0)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
    axes.grid(alpha=0.3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def _plot_goals(goals: Sequence[tuple[Figure, Result]], path: Path) -> None:
    """A bar for each goal, to the right where it is passed. The scale is one of ratios."""
    rows = range(len(goals))
    ratios = [_passed(one) for _, one in goals]
    height = max(2.0, 0.9 + 0.3 * len(goals))
    drawing, axes = plt.subplots(figsize=(SIZE[0] + 3, height), dpi=100, layout="constrained")
    colours = ["tab:green" if one.is_met else "tab:red" for _, one in goals]
    axes.barh(rows, [ratio - 1 for ratio in ratios], left=1, color=colours, height=0.6)
    axes.set_xscale("log")
    least, most = min(0.5, *ratios), max(2.0, *ratios)
    axes.set_xlim(least / 1.15, most * 8)
    for row, (_, one) in enumerate(goals):
        label = f" {_measured(one)} (goal {_goal(one)})"
        axes.text(max(1.0, ratios[row]), row, label, va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_yticks(rows, [_named(figure, one) for figure, one in goals], fontsize=8)
    axes.set_xlabel("times as good as the goal asks for (right of 1: met)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    drawing.savefig(path, metadata={"Software": None})
    plt.close(drawing)


def _passed(one: Result) -> float:
    """1.0: exactly the goal; more is better, whichever way the goal bounds it."""
    assert one.goal is not None
    least = 1e-3 * one.goal  # a bar has an end, also for nothing at all
    value = max(one.value, least)
    return value / one.goal if one.at_least else one.goal / value


if __name__ == "__main__":
    write_report()
    print(
        f"Written: {RESULTS.relative_to(Path.cwd()) if Path.cwd() in RESULTS.parents else RESULTS}"
    )
