"""The table in pictures: small PNGs on white, to be read in a light and in a dark page.

Drawn with matplotlib's objects alone, so that threads share nothing. matplotlib is imported when
something is drawn.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from imagegen_pipeline.results.statistics import OUTCOMES, ModelCost, Statistics

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (8.0, 3.4)
"""Inches, of a hundred pixels."""
_DPI = 100
_COLORS_LEFT = 64
"""A plot has few colours: so many are enough for smooth letters, and a fifth of the bytes."""
_COLORS = {
    "made": "#009E73",
    "shared": "#56B4E9",
    "failed": "#D55E00",
    "unknown": "#E69F00",
    "held": "#CC79A7",
}
"""Told apart by those too who do not see red or green (Okabe and Ito's)."""
_WORDS = {"unknown": "no answer", "held": "held for a person"}
_SERVICE_COLORS = ("#0072B2", "#E69F00", "#CC79A7", "#009E73")
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_STEPS: Mapping[int, str] = {
    _MINUTE: "minute",
    5 * _MINUTE: "5 minutes",
    15 * _MINUTE: "quarter of an hour",
    _HOUR: "hour",
    3 * _HOUR: "3 hours",
    6 * _HOUR: "6 hours",
    _DAY: "day",
    7 * _DAY: "week",
    28 * _DAY: "4 weeks",
    364 * _DAY: "52 weeks",
}
"""Seconds of a bar, and its name."""
_TICKS = (
    *(_MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY),
)
"""Seconds between two times that are written below the bars, at round times of the day."""
_MOST_BARS, _MOST_TICKS = 60, 7
_MOST_MODELS = 10
_LONGEST_NAME = 80
_BINS = 36


def plot_outcomes(statistics: Statistics) -> bytes | None:
    """How attempts ended over time, as bars of a minute to a year; None when none has ended."""
    import numpy as np

    moments = {name: part for name, part in statistics.ended.items() if len(part)}
    if not moments:
        return None
    every = np.concatenate(list(moments.values()))
    step = _step_for(int(every.min()), int(every.max()))
    first = int(every.min()) // step * step
    edges = np.arange(first, int(every.max()) + step + 1, step)
    counts = {name: np.histogram(part, edges)[0] for name, part in moments.items()}

    def draw(axes: Axes) -> None:
        below = np.zeros(len(edges) - 1)
        for name in (name for name in OUTCOMES if name in counts):
            label = f"{_WORDS.get(name, name)}: {len(moments[name]):,}"
            axes.bar(
                edges[:-1],
                counts[name],
                width=step * 0.92,
                bottom=below,
                align="edge",
                color=_COLORS[name],
                label=label,
            )
            below += counts[name]
        _whole_numbers(axes)
        _time_axis(axes, first, int(edges[-1]), step)
        axes.set_ylabel(f"attempts per {_STEPS[step]}")
        _legend_below_title(axes)

    return _png("How attempts ended", draw)


def _step_for(first: int, last: int) -> int:
    fitting = (step for step in _STEPS if (last - first) / step < _MOST_BARS)
    return next(fitting, max(_STEPS))


def _time_axis(axes: Axes, first: int, end: int, step: int) -> None:
    every = next(
        (one for one in _TICKS if one >= step and (end - first) / one <= _MOST_TICKS),
        -(-(end - first) // _MOST_TICKS // step) * step,
    )
    round_time = min(every, _DAY)
    start = -(-first // round_time) * round_time
    ticks = range(start, end, every) or range(first, end, step)
    is_one_day = first // _DAY == (end - 1) // _DAY
    form = "%H:%M" if is_one_day else ("%m-%d %H:%M" if every < _DAY else "%Y-%m-%d")
    labels = [dt.datetime.fromtimestamp(tick, dt.UTC).strftime(form) for tick in ticks]
    axes.set_xticks(list(ticks), labels)
    lone = max(0, 12 - (end - first) // step) * step / 2  # a few bars do not fill the width
    axes.set_xlim(first - lone, end + lone)
    day = dt.datetime.fromtimestamp(first, dt.UTC).strftime(" on %Y-%m-%d") if is_one_day else ""
    axes.set_xlabel(f"when they ended{day} (UTC)")


def plot_seconds(statistics: Statistics) -> bytes | None:
    """How long pictures took, by service; None when none was made."""
    import numpy as np

    seconds = {name: part for name, part in statistics.seconds.items() if len(part)}
    if not seconds:
        return None
    shortest = max(min(float(part.min()) for part in seconds.values()), 0.001)
    longest = max(max(float(part.max()) for part in seconds.values()), shortest)
    edges = np.geomspace(shortest / 1.2, longest * 1.2, _BINS + 1)

    def draw(axes: Axes) -> None:
        for (name, part), color in zip(seconds.items(), _SERVICE_COLORS, strict=False):
            median, slow = statistics.percentiles(name)
            label = f"{name}: median {_short(median)} s, 95 % within {_short(slow)} s"
            weights = np.full(len(part), 100 / len(part))
            shown = np.clip(part, edges[0], edges[-1])
            axes.hist(shown, list(edges), weights=weights, color=color, alpha=0.6, label=label)
            axes.axvline(median, color=color, linewidth=1.5)
            axes.axvline(slow, color=color, linewidth=1.5, linestyle=":")
        axes.set_xscale("log")
        _seconds_axis(axes, edges)
        axes.set_xlabel("seconds from planned to stored (logarithmic)")
        axes.set_ylabel("% of the service's pictures")
        _legend_below_title(axes)

    return _png("How long a picture takes", draw)


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
    """What each model has cost; None when no price is known, or nothing was charged."""
    models = [one for one in statistics.models if one.cost]
    if not models:
        return None
    rows = _rows(list(statistics.models))

    def draw(axes: Axes) -> None:
        places = range(len(rows))
        axes.barh(places, [one.cost or 0.0 for one in rows], color="#0072B2", height=0.42)
        most = max(one.cost or 0.0 for one in rows)
        for place, one in enumerate(rows):
            name = {"va": "bottom", "fontsize": 9, "parse_math": False}
            axes.text(0, place - 0.24, _shown(one), **name)  # type: ignore[arg-type]
            axes.text((one.cost or 0.0) + most * 0.01, place, _told(one), va="center", fontsize=9)
        axes.set_yticks([])
        axes.set_ylim(len(rows) - 0.6, -0.75)  # the first on top
        axes.set_xlim(0, most * 1.5)  # room for the words
        axes.set_xlabel("money, in the currency of IMAGEGEN_PRICES")

    return _png("What each model has cost", draw, rows=len(rows))


def _rows(models: list[ModelCost]) -> list[ModelCost]:
    """Those that fit; the others are one row."""
    if len(models) <= _MOST_MODELS:
        return models
    kept, others = models[: _MOST_MODELS - 1], models[_MOST_MODELS - 1 :]
    known = [one.cost for one in others if one.cost is not None]
    rest = ModelCost(
        "",
        f"{len(others)} others",
        sum(one.charges for one in others),
        sum(known) if known else None,
        sum(one.unpriced for one in others),
    )
    return [*kept, rest]


def _shown(one: ModelCost) -> str:
    name = f"{one.model} ({one.provider})" if one.provider else one.model
    name = " ".join(name.split()).encode("latin-1", "replace").decode("latin-1")  # has the font
    return name if len(name) <= _LONGEST_NAME else f"...{name[-_LONGEST_NAME + 3 :]}"


def _told(one: ModelCost) -> str:
    charges = f"{one.charges:,} charge{'' if one.charges == 1 else 's'}"
    if one.cost is None:
        return f"{charges} of unknown price"
    unpriced = f", {one.unpriced:,} of unknown price" if one.unpriced else ""
    return f"{one.cost:,.4g} for {charges}{unpriced}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


def _whole_numbers(axes: Axes) -> None:
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
    return _few_colors(figure)


def _few_colors(figure: Figure) -> bytes:
    from PIL import Image

    drawn, out = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", pil_kwargs={"compress_level": 1})
    with Image.open(drawn) as image:
        few = image.convert("RGB").quantize(_COLORS_LEFT, dither=Image.Dither.NONE)
    few.save(out, format="PNG", optimize=True)
    return out.getvalue()
