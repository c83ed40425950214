"""Plots of the results: small PNGs on white, legible in a light and in a dark page.

They use matplotlib's objects without ``pyplot``, so that threads share no state.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable
from itertools import cycle
from typing import TYPE_CHECKING

from imagegen_pipeline.results.statistics import (
    INTERVALS,
    OUTCOMES,
    Distributions,
    ModelCost,
    Statistics,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (8.0, 3.4)
"""Inches of 100 pixels."""
_DPI = 100
_PALETTE_COLORS = 64
"""Enough for smooth letters, at a fifth of the bytes of full colour."""
_COLORS = {
    "made": "#009E73",
    "shared": "#56B4E9",
    "failed": "#D55E00",
    "unknown": "#E69F00",
    "held": "#CC79A7",
}
"""Okabe and Ito's palette, which is safe for colour-blind readers."""
_LABELS = {"unknown": "no response", "held": "held"}
_PROVIDER_COLORS = ("#0072B2", "#E69F00", "#CC79A7", "#009E73")
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_TICKS = (
    *(_MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY),
)
"""Seconds between two labels of the time axis."""
_MAX_TICKS, _MAX_MODELS, _MAX_NAME = 7, 10, 80
_BINS = 36


def plot_outcomes(distributions: Distributions) -> bytes | None:
    """How attempts ended over time, as stacked bars; None if none has ended."""
    ended, interval = distributions.ended, distributions.interval
    starts = {start for counts in ended.values() for start in counts}
    if not starts:
        return None
    first, last = min(starts), max(starts)
    bars = range(first, last + interval, interval)

    def draw(axes: Axes) -> None:
        bottom = [0] * len(bars)
        for name in (name for name in OUTCOMES if name in ended):
            heights = [ended[name].get(start, 0) for start in bars]
            axes.bar(
                bars,
                heights,
                width=interval * 0.92,
                bottom=bottom,
                align="edge",
                color=_COLORS[name],
                label=f"{_LABELS.get(name, name)}: {sum(heights):,}",
            )
            bottom = [below + height for below, height in zip(bottom, heights, strict=True)]
        _integer_axis(axes)
        _time_axis(axes, first, last + interval, interval)
        axes.set_ylabel(f"attempts per {INTERVALS[interval]}")
        _legend_below_title(axes)

    return _png("How attempts ended", draw)


def _time_axis(axes: Axes, first: int, end: int, interval: int) -> None:
    distance = next(
        (one for one in _TICKS if one >= interval and (end - first) / one <= _MAX_TICKS),
        -(-(end - first) // _MAX_TICKS // interval) * interval,
    )
    round_time = min(distance, _DAY)
    start = -(-first // round_time) * round_time
    ticks = range(start, end, distance) or range(first, end, interval)
    is_one_day = first // _DAY == (end - 1) // _DAY
    form = "%H:%M" if is_one_day else ("%m-%d %H:%M" if distance < _DAY else "%Y-%m-%d")
    labels = [dt.datetime.fromtimestamp(tick, dt.UTC).strftime(form) for tick in ticks]
    axes.set_xticks(list(ticks), labels)
    margin = max(0, 12 - (end - first) // interval) * interval / 2  # keeps few bars narrow
    axes.set_xlim(first - margin, end + margin)
    day = dt.datetime.fromtimestamp(first, dt.UTC).strftime(" on %Y-%m-%d") if is_one_day else ""
    axes.set_xlabel(f"when they ended{day} (UTC)")


def plot_seconds(distributions: Distributions) -> bytes | None:
    """How long images took, by provider; None if none was generated."""
    import numpy as np

    durations = distributions.durations
    if not durations:
        return None
    shortest = max(min(one.seconds[0] for one in durations.values()), 0.001)
    longest = max(max(one.seconds[-1] for one in durations.values()), shortest)
    edges = np.geomspace(shortest / 1.2, longest * 1.2, _BINS + 1)

    def draw(axes: Axes) -> None:
        for (name, one), color in zip(durations.items(), cycle(_PROVIDER_COLORS)):
            median, slow = one.percentile(50), one.percentile(95)
            label = f"{name}: median {_short(median)} s, 95 % within {_short(slow)} s"
            percent = 100 * np.array(one.counts) / sum(one.counts)
            seconds = np.clip(one.seconds, edges[0], edges[-1])
            axes.hist(seconds, list(edges), weights=percent, color=color, alpha=0.6, label=label)
            axes.axvline(median, color=color, linewidth=1.5)
            axes.axvline(slow, color=color, linewidth=1.5, linestyle=":")
        axes.set_xscale("log")
        _seconds_axis(axes, edges)
        axes.set_xlabel("seconds from planned to stored (logarithmic)")
        axes.set_ylabel("% of the provider's images")
        _legend_below_title(axes)

    return _png("How long an image takes", draw)


def _seconds_axis(axes: Axes, edges: np.ndarray) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = float(edges[0]), float(edges[-1])
    marks = (1, 2, 5) if high / low < 2000 else (1,)
    ticks = [
        one
        for power in range(-4, 7)
        for mark in marks
        if low <= (one := mark * 10.0**power) <= high
    ]
    if len(ticks) < 2:
        ticks = [float(one) for one in (edges[0], edges[_BINS // 2], edges[-1])]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [_short(tick) for tick in ticks])
    axes.set_xlim(low, high)


def plot_costs(statistics: Statistics) -> bytes | None:
    """The cost of each model; None if no price is known or nothing was charged."""
    models = [one for one in statistics.models if one.cost]
    if not models:
        return None
    rows = _rows(list(statistics.models))

    def draw(axes: Axes) -> None:
        axes.barh(range(len(rows)), [one.cost or 0.0 for one in rows], color="#0072B2", height=0.42)
        highest = max(one.cost or 0.0 for one in rows)
        for row, one in enumerate(rows):
            style = {"va": "bottom", "fontsize": 9, "parse_math": False}
            axes.text(0, row - 0.24, _model_name(one), **style)  # type: ignore[arg-type]
            label_x = (one.cost or 0.0) + highest * 0.01
            axes.text(label_x, row, _charges(one), va="center", fontsize=9)
        axes.set_yticks([])
        axes.set_ylim(len(rows) - 0.6, -0.75)  # the first row on top
        axes.set_xlim(0, highest * 1.5)  # room for the labels
        axes.set_xlabel("money, in the currency of IMAGEGEN_PRICES")

    return _png("Cost by model", draw, rows=len(rows))


def _rows(models: list[ModelCost]) -> list[ModelCost]:
    """The models of highest cost; the others are one row."""
    if len(models) <= _MAX_MODELS:
        return models
    kept, others = models[: _MAX_MODELS - 1], models[_MAX_MODELS - 1 :]
    known = [one.cost for one in others if one.cost is not None]
    rest = ModelCost(
        "",
        f"{len(others)} others",
        sum(one.charges for one in others),
        sum(known) if known else None,
        sum(one.unpriced for one in others),
    )
    return [*kept, rest]


def _model_name(one: ModelCost) -> str:
    name = f"{one.model} ({one.provider})" if one.provider else one.model
    name = " ".join(name.split())
    name = name.encode("latin-1", "replace").decode("latin-1")  # the characters of the font
    return name if len(name) <= _MAX_NAME else f"...{name[-_MAX_NAME + 3 :]}"


def _charges(one: ModelCost) -> str:
    charges = f"{one.charges:,} charge{'' if one.charges == 1 else 's'}"
    if one.cost is None:
        return f"{charges} of unknown price"
    unpriced = f", {one.unpriced:,} of unknown price" if one.unpriced else ""
    return f"{one.cost:,.4g} for {charges}{unpriced}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


def _integer_axis(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_ylim(0, axes.get_ylim()[1] * 1.04)


def _legend_below_title(axes: Axes) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=len(OUTCOMES),
        frameon=False,
        fontsize=9,
        borderaxespad=0.1,
        handlelength=1.2,
        columnspacing=1.4,
    )


def _png(title: str, draw: Callable[[Axes], None], *, rows: int | None = None) -> bytes:
    from matplotlib.figure import Figure

    height = SIZE[1] if rows is None else 1.0 + 0.55 * rows
    figure = Figure(figsize=(SIZE[0], height), dpi=_DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    draw(axes)
    lines = 0 if axes.get_legend() is None else 1
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=6 + 18 * lines)
    return _encode(figure)


def _encode(figure: Figure) -> bytes:
    from PIL import Image

    full, out = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", pil_kwargs={"compress_level": 1})
    with Image.open(full) as image:
        reduced = image.convert("RGB").quantize(_PALETTE_COLORS, dither=Image.Dither.NONE)
    reduced.save(out, format="PNG", optimize=True)
    return out.getvalue()
