"""Plots of the results."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from PIL import Image

from imagegen_pipeline.results import plots
from imagegen_pipeline.results.plots import plot_costs, plot_outcomes, plot_seconds
from imagegen_pipeline_tests.unit.results.rows import UNREADABLE, distributions, row, statistics

MINUTE, DAY = 60.0, 86_400.0
LARGEST = 25_000
"""Bytes of a plot: each is stored in Dagster's database at each refresh."""


def rectangles(patches: Iterable[Patch]) -> list[Rectangle]:
    """The bars of a plot."""
    return [patch for patch in patches if isinstance(patch, Rectangle)]


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The axes of each plot that is drawn."""
    drawn: list[Axes] = []
    encode = plots._encode

    def record(figure: Figure) -> bytes:
        drawn.append(figure.axes[0])
        return encode(figure)

    monkeypatch.setattr(plots, "_encode", record)
    return drawn


def opened(data: bytes | None) -> Image.Image:
    """Decode a plot."""
    assert data is not None
    assert len(data) <= LARGEST
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    return image


def many(count: int = 500, span: float = DAY, **facts: Any) -> list[Any]:
    """Attempts spread over ``span`` seconds, one of nine failed."""
    return [
        row(
            "failed" if number % 9 == 0 else "stored",
            ago=span * number / count,
            seconds=2.0 + number % 40,
            **facts,
        )
        for number in range(count)
    ]


def test_nothing_to_draw_is_none() -> None:
    """Without ended attempts, generated images or known costs there is no plot."""
    for rows in ((), (UNREADABLE,), (row("submitted"),)):
        numbers = distributions(*rows)
        assert plot_outcomes(numbers) is plot_seconds(numbers) is None
        assert plot_costs(statistics(*rows)) is None
    assert plot_seconds(distributions(row("failed"))) is None
    assert plot_costs(statistics(row())) is None, "no price is known"


def all_plots(*rows: Any) -> list[bytes | None]:
    """The three plots of these rows."""
    numbers = distributions(*rows)
    return [plot_outcomes(numbers), plot_seconds(numbers), plot_costs(statistics(*rows))]


def test_plots_have_a_white_background() -> None:
    """They are opaque, so they are legible in a light and in a dark page."""
    for plot in all_plots(*many(cost=0.2)):
        image = opened(plot)
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
def test_bars_fit_the_span(axes: list[Axes], span: float, name: str) -> None:
    """From minutes to decades: at most about 60 bars, which count every attempt."""
    image = opened(plot_outcomes(distributions(*many(span=span))))
    (drawn,) = axes
    assert drawn.get_ylabel() == f"attempts per {name}"
    assert sum(bar.get_height() for bar in rectangles(drawn.patches)) == 500
    assert span > 50 * 365 * DAY or len(drawn.patches) <= 2 * 61
    assert 2 <= len(drawn.get_xticks()) <= 8
    assert image.width == 800


def test_the_legend_counts_each_outcome(axes: list[Axes]) -> None:
    """Outcomes without attempts are left out."""
    rows = [row(), row(), row(shared_from=1), row("failed"), row("expired"), row("held")]
    opened(plot_outcomes(distributions(*rows)))
    legend = axes[0].get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["made: 2", "shared: 1", "failed: 2", "held: 1"]


def test_one_attempt_is_plotted() -> None:
    """A single image that took no time is drawn."""
    for plot in all_plots(row(seconds=0.0, cost=0.01)):
        opened(plot)


def test_the_legend_names_the_percentiles_of_each_provider(axes: list[Axes]) -> None:
    """Each provider's bars add up to 100 %, however few images it has."""
    fast = [row(seconds=3.0)] * 999
    slow = [row(seconds=80.0, provider="runpod")]
    opened(plot_seconds(distributions(*fast, *slow)))
    legend = axes[0].get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["duomi: median 3 s, 95 % within 3 s", "runpod: median 80 s, 95 % within 80 s"]
    heights = [bar.get_height() for bar in rectangles(axes[0].patches)]
    assert heights.count(pytest.approx(100)) == 2


def test_costs_name_the_charges_of_unknown_price(axes: list[Axes]) -> None:
    """Their number is beside the cost, or in its place."""
    rows = [row(model="a", cost=0.5), row(model="a"), row(model="b")]
    opened(plot_costs(statistics(*rows)))
    labels = [text.get_text() for text in axes[0].texts]
    assert labels == [
        *("a (duomi)", "0.5 for 2 charges, 1 of unknown price"),
        *("b (duomi)", "1 charge of unknown price"),
    ]


def test_model_names_are_plain_text() -> None:
    """A name may look like a formula, be very long, or have characters that the font lacks."""
    names = ("$x^", "a_b$c$", "\\frac{1}{", "模型", "n" * 500, "two\nlines")
    opened(plot_costs(statistics(*(row(model=name, cost=0.5) for name in names))))


def test_models_of_low_cost_share_a_row(axes: list[Axes]) -> None:
    """The models of highest cost have their own bars; the others are added up."""
    rows = [row(model=f"model {number}", cost=float(number)) for number in range(1, 41)]
    opened(plot_costs(statistics(*rows)))
    bars = [bar.get_width() for bar in rectangles(axes[0].patches)]
    assert len(bars) == 10
    assert sum(bars) == sum(range(1, 41))
    assert "31 others" in [text.get_text() for text in axes[0].texts]
