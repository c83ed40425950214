"""The table in pictures."""

from __future__ import annotations

import io
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from imagegen_pipeline.results import plots
from imagegen_pipeline.results.plots import plot_costs, plot_outcomes, plot_seconds
from imagegen_pipeline_tests.results.rows import UNREADABLE, row, statistics

MINUTE, DAY = 60.0, 86_400.0
LARGEST = 25_000
"""Bytes of a plot: each stands in Dagster's database, for each refresh."""


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """What is drawn from now on, as matplotlib has it."""
    drawn: list[Axes] = []
    save = plots._few_colors

    def keep(figure: Figure) -> bytes:
        drawn.append(figure.axes[0])
        return save(figure)

    monkeypatch.setattr(plots, "_few_colors", keep)
    return drawn


def opened(data: bytes | None) -> Image.Image:
    """A plot as a page shows it."""
    assert data is not None
    assert len(data) <= LARGEST
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    return image


def many(count: int = 500, span: float = DAY, **facts: Any) -> list[Any]:
    """Attempts spread over a time, a few of them failed."""
    return [
        row(
            "failed" if number % 9 == 0 else "stored",
            ago=span * number / count,
            seconds=2.0 + number % 40,
            **facts,
        )
        for number in range(count)
    ]


def test_nothing_makes_no_plot() -> None:
    """Where there is nothing to draw, nothing is drawn."""
    for rows in ((), (UNREADABLE,), (row("submitted"),)):
        numbers = statistics(*rows)
        assert plot_outcomes(numbers) is plot_seconds(numbers) is plot_costs(numbers) is None
    assert plot_seconds(statistics(row("failed"))) is None
    assert plot_costs(statistics(row())) is None, "no price is known"


def test_plots_stand_on_white() -> None:
    """They are read in a light and in a dark page: nothing of them is transparent."""
    numbers = statistics(*many(cost=0.2))
    for plot in (plot_outcomes, plot_seconds, plot_costs):
        image = opened(plot(numbers))
        assert "transparency" not in image.info
        assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("span", "name"),
    [
        (10 * MINUTE, "minute"),
        (3 * 60 * MINUTE, "5 minutes"),
        (DAY, "hour"),
        (30 * DAY, "day"),
        (365 * DAY, "week"),
        (20 * 365 * DAY, "52 weeks"),
        (200 * 365 * DAY, "52 weeks"),
    ],
)
def test_bars_fit_the_span_and_none_is_lost(axes: list[Axes], span: float, name: str) -> None:
    """From minutes to decades: at most a few dozen bars, which hold every attempt."""
    image = opened(plot_outcomes(statistics(*many(span=span))))
    (drawn,) = axes
    assert drawn.get_ylabel() == f"attempts per {name}"
    assert sum(bar.get_height() for bar in drawn.patches) == 500
    assert span > 50 * 365 * DAY or len(drawn.patches) <= 2 * plots._MOST_BARS
    assert 2 <= len(drawn.get_xticks()) <= 8
    assert image.width == 800


def test_the_legend_counts_each_outcome(axes: list[Axes]) -> None:
    """What has not happened is not in it."""
    rows = [row(), row(), row(shared_from=1), row("failed"), row("expired"), row("held")]
    opened(plot_outcomes(statistics(*rows)))
    legend = axes[0].get_legend()
    assert legend is not None
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["made: 2", "shared: 1", "failed: 2", "held for a person: 1"]


def test_one_attempt_is_a_plot_too() -> None:
    """A single picture, made in no time at all, is drawn like any other."""
    numbers = statistics(row(seconds=0.0, cost=0.01))
    for plot in (plot_outcomes, plot_seconds, plot_costs):
        opened(plot(numbers))


def test_seconds_name_the_median_and_the_slow_ones(axes: list[Axes]) -> None:
    """Each service has its own, and a few slow pictures among many fast ones are seen."""
    fast = [row(seconds=3.0)] * 999
    slow = [row(seconds=80.0, provider="runpod")]
    opened(plot_seconds(statistics(*fast, *slow)))
    legend = axes[0].get_legend()
    assert legend is not None
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["duomi: median 3 s, 95 % within 3 s", "runpod: median 80 s, 95 % within 80 s"]
    heights = [bar.get_height() for bar in axes[0].patches]
    assert heights.count(pytest.approx(100)) == 2


def test_costs_say_what_is_not_in_them(axes: list[Axes]) -> None:
    """Charges of unknown price are named, beside a cost or without one."""
    rows = [row(model="a", cost=0.5), row(model="a"), row(model="b")]
    opened(plot_costs(statistics(*rows)))
    told = [text.get_text() for text in axes[0].texts]
    assert told == [
        *("a (duomi)", "0.5 for 2 charges, 1 of unknown price"),
        *("b (duomi)", "1 charge of unknown price"),
    ]


def test_names_of_models_are_texts_and_no_more() -> None:
    """A name may look like a formula, be very long, or have letters that the font has not."""
    names = ("$x^", "a_b$c$", "\\frac{1}{", "模型", "n" * 500, "two\nlines")
    opened(plot_costs(statistics(*(row(model=name, cost=0.5) for name in names))))


def test_many_models_are_a_few_rows(axes: list[Axes]) -> None:
    """The dearest have bars of their own; the others are one."""
    rows = [row(model=f"model {number}", cost=float(number)) for number in range(1, 41)]
    opened(plot_costs(statistics(*rows)))
    bars = [bar.get_width() for bar in axes[0].patches]
    assert len(bars) == 10
    assert sum(bars) == sum(range(1, 41))
    assert "31 others" in [text.get_text() for text in axes[0].texts]
