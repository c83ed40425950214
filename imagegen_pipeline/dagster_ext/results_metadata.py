"""The metadata of the results tables in Dagster: columns, counts, costs, plots, image previews."""

import base64
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg

from imagegen_pipeline.dagster_ext.table_schema import column_schema
from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.results.contact_sheet import MAX_PICTURES, contact_sheet
from imagegen_pipeline.results.dataset import refresh_dataset
from imagegen_pipeline.results.plots import plot_costs, plot_outcomes, plot_seconds
from imagegen_pipeline.results.statistics import (
    Distributions,
    Statistics,
    read_distributions,
    read_statistics,
)

LISTED = 50
"""Keys and images that a table's metadata lists."""
_log = logging.getLogger(__name__)

Metadata = dict[str, dg.MetadataValue]


def refresh_table(pipeline: Pipeline) -> Metadata:
    """Bring the results table up to date; returns its columns, counts and costs, without plots.

    Raises StoreError and LedgerError.
    """
    return _refresh(pipeline)[1]


def refresh_results(pipeline: Pipeline) -> Metadata:
    """Bring the results table up to date; returns its metadata with plots and a contact sheet.

    Raises StoreError and LedgerError.
    """
    statistics, metadata = _refresh(pipeline)
    distributions = read_distributions(pipeline.ledger)
    newest = pipeline.ledger.results.newest_pictures(MAX_PICTURES)
    return {
        **metadata,
        **_percentiles(distributions),
        "out of date": listed_keys(pipeline.out_of_date()),
        "outcomes over time": _image(
            "png", lambda: plot_outcomes(distributions), "No attempt has ended yet."
        ),
        "seconds": _image(
            "png", lambda: plot_seconds(distributions), "No image has been generated yet."
        ),
        "cost by model": _image("png", lambda: plot_costs(statistics), _no_costs(statistics)),
        "newest pictures": _sheet(pipeline, newest, "No image has been generated yet."),
    }


def _refresh(pipeline: Pipeline) -> tuple[Statistics, Metadata]:
    refresh_dataset(pipeline.ledger, pipeline.results_file)
    statistics = read_statistics(pipeline.ledger, time.time())
    return statistics, {
        **_table_facts(statistics.rows, pipeline.results_file),
        **_counts(statistics),
        "states": dg.MetadataValue.md(_states(statistics)),
    }


def listed_keys(keys: Sequence[str]) -> dg.MetadataValue:
    """Partition keys as a Markdown list of limited length."""
    shown = [f"- `{key}`" for key in keys[:LISTED]]
    more = [f"- … and {len(keys) - LISTED} more"] if len(keys) > LISTED else []
    return dg.MetadataValue.md("\n".join((*shown, *more)) or "none")


def approved_metadata(pipeline: Pipeline, rows: Sequence[Mapping[str, Any]]) -> Metadata:
    """The metadata of the approved images: their number, the newest ones, and the path."""
    newest = sorted(rows, key=lambda row: str(row["verdict_at"]), reverse=True)
    lines = ["| key | approved | picture |", "| --- | --- | --- |"]
    lines += [
        f"| {row['key']} | {row['verdict_at'][:19]}Z | `{row['path']}` |"
        for row in islice(newest, LISTED)
    ]
    shown = [(row["key"], row["sha256"]) for row in islice(newest, MAX_PICTURES)]
    return {
        **_table_facts(len(rows), pipeline.approved_file),
        "newest": dg.MetadataValue.md("\n".join(lines)),
        "newest pictures": _sheet(pipeline, shown, "No image is approved."),
    }


def _table_facts(rows: int, path: Path) -> Metadata:
    return {
        "dagster/row_count": dg.MetadataValue.int(rows),
        "dagster/column_schema": dg.MetadataValue.table_schema(column_schema()),
        "path": dg.MetadataValue.path(str(path)),
    }


def _counts(statistics: Statistics) -> Metadata:
    """Counts and costs, which Dagster plots over time; an unknown number is a text."""
    outcomes, rate = statistics.outcomes, statistics.success_rate
    return {
        "pictures made": dg.MetadataValue.int(outcomes["made"]),
        "pictures shared": dg.MetadataValue.int(outcomes["shared"]),
        "failed": dg.MetadataValue.int(outcomes["failed"]),
        "unknown": dg.MetadataValue.int(outcomes["unknown"]),
        "held": dg.MetadataValue.int(outcomes["held"]),
        "in progress": dg.MetadataValue.int(outcomes["open"]),
        "success rate": _number(None if rate is None else round(rate, 4), "no attempt has ended"),
        "cost": _number(statistics.cost, "unknown"),
        "cost today": _number(statistics.cost_today, "unknown"),
        "charges of unknown price": dg.MetadataValue.int(statistics.unpriced),
        "charges of unknown price today": dg.MetadataValue.int(statistics.unpriced_today),
    }


def _percentiles(distributions: Distributions) -> Metadata:
    numbers: Metadata = {}
    for provider, seconds in distributions.durations.items():
        for name, percent in (("median", 50), ("95th percentile", 95)):
            value = round(seconds.percentile(percent), 3)
            numbers[f"{provider} {name} seconds"] = dg.MetadataValue.float(value)
    return numbers


def _number(number: float | None, text: str) -> dg.MetadataValue:
    return dg.MetadataValue.text(text) if number is None else dg.MetadataValue.float(number)


def _states(statistics: Statistics) -> str:
    lines = ["| state | attempts |", "| --- | ---: |"]
    lines += [f"| {state} | {count} |" for state, count in statistics.states.items()]
    return "\n".join(lines)


def _no_costs(statistics: Statistics) -> str:
    if statistics.unpriced:
        return (
            f"No price is known of {statistics.unpriced:,} charges. Set IMAGEGEN_PRICES; it "
            "applies to later images."
        )
    return "Nothing has been charged."


def _sheet(pipeline: Pipeline, newest: Sequence[tuple[str, str]], text: str) -> dg.MetadataValue:
    def draw() -> bytes | None:
        return contact_sheet([(key, _preview(pipeline, digest)) for key, digest in newest])

    return _image("webp", draw, text)


def _preview(pipeline: Pipeline, digest: str) -> bytes:
    try:
        return pipeline.store.preview(digest) or b""
    except StoreError:  # its cell on the sheet stays empty
        return b""


def _image(kind: str, draw: Callable[[], bytes | None], text: str) -> dg.MetadataValue:
    """An image embedded in Markdown; ``text`` if there is nothing to draw.

    A bug in drawing is shown in the image's place and logged, and does not fail the run: the
    table and the images are stored.
    """
    try:
        data = draw()
    except Exception as error:  # noqa: BLE001 - see above
        _log.exception("A plot of the results failed.")
        return dg.MetadataValue.text(f"The plot failed: {type(error).__name__}: {error}")
    if data is None:
        return dg.MetadataValue.text(text)
    encoded = base64.b64encode(data).decode()
    return dg.MetadataValue.md(f"![](data:image/{kind};base64,{encoded})")
