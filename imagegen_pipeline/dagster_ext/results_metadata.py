"""The tables of results as Dagster shows them: columns, counts, money, plots, pictures."""

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg

from imagegen_pipeline.dagster_ext.table_schema import column_schema
from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.results import Statistics
from imagegen_pipeline.results import refresh_results as refresh_table
from imagegen_pipeline.results.contact_sheet import MOST, contact_sheet
from imagegen_pipeline.results.plots import plot_costs, plot_outcomes, plot_seconds

LISTED = 50
"""Keys and pictures that a table's metadata names."""
_log = logging.getLogger(__name__)

Metadata = dict[str, dg.MetadataValue]


def refresh_results(pipeline: Pipeline) -> Metadata:
    """Bring the table of results up to date; returns its metadata. Raises StoreError."""
    statistics = refresh_table(pipeline.ledger, pipeline.results_file)
    newest = pipeline.ledger.results.newest_pictures(MOST)
    return {
        **_about_the_table(statistics.rows, pipeline.results_file),
        **_numbers(statistics),
        "states": dg.MetadataValue.md(_states(statistics)),
        "out of date": listed_keys(pipeline.out_of_date()),
        "outcomes over time": _drawn(plot_outcomes, statistics, "Nothing has ended yet."),
        "seconds": _drawn(plot_seconds, statistics, "No picture has been made yet."),
        "cost by model": _drawn(plot_costs, statistics, _no_costs(statistics)),
        "newest pictures": _sheet(pipeline, newest, "No picture has been made yet."),
    }


def listed_keys(keys: Sequence[str]) -> dg.MetadataValue:
    """Partition keys as a list, the first of them by name."""
    shown = [f"- `{key}`" for key in keys[:LISTED]]
    more = [f"- … and {len(keys) - LISTED} more"] if len(keys) > LISTED else []
    return dg.MetadataValue.md("\n".join((*shown, *more)) or "none")


def approved_metadata(pipeline: Pipeline, rows: Sequence[Mapping[str, Any]]) -> Metadata:
    """How many pictures are approved, which were last, and where their table lies."""
    newest = sorted(rows, key=lambda row: str(row["verdict_at"]), reverse=True)
    lines = ["| key | approved | picture |", "| --- | --- | --- |"]
    lines += [
        f"| {row['key']} | {row['verdict_at'][:19]}Z | `{row['path']}` |"
        for row in islice(newest, LISTED)
    ]
    shown = [(row["key"], row["sha256"]) for row in islice(newest, MOST)]
    return {
        **_about_the_table(len(rows), pipeline.approved_file),
        "newest": dg.MetadataValue.md("\n".join(lines)),
        "newest pictures": _sheet(pipeline, shown, "Nothing is approved."),
    }


def _about_the_table(rows: int, path: Path) -> Metadata:
    return {
        "dagster/row_count": dg.MetadataValue.int(rows),
        "dagster/column_schema": dg.MetadataValue.table_schema(column_schema()),
        "path": dg.MetadataValue.path(str(path)),
    }


def _numbers(statistics: Statistics) -> Metadata:
    """Numbers that Dagster draws over time by itself; what is not known is a text."""
    outcomes, rate = statistics.outcomes, statistics.success_rate
    numbers: Metadata = {
        "pictures made": dg.MetadataValue.int(outcomes["made"]),
        "pictures shared": dg.MetadataValue.int(outcomes["shared"]),
        "failed": dg.MetadataValue.int(outcomes["failed"]),
        "without an answer": dg.MetadataValue.int(outcomes["unknown"]),
        "held for a person": dg.MetadataValue.int(outcomes["held"]),
        "under way": dg.MetadataValue.int(outcomes["open"]),
        "success rate": _or_words(None if rate is None else round(rate, 4), "nothing has ended"),
        "cost": _or_words(statistics.cost, "unknown"),
        "cost today": _or_words(statistics.cost_today, "unknown"),
        "charges of unknown price": dg.MetadataValue.int(statistics.unpriced),
        "charges of unknown price today": dg.MetadataValue.int(statistics.unpriced_today),
    }
    for provider in statistics.seconds:
        median, slow = statistics.percentiles(provider)
        numbers[f"{provider} median seconds"] = dg.MetadataValue.float(round(median, 3))
        numbers[f"{provider} 95th percentile seconds"] = dg.MetadataValue.float(round(slow, 3))
    return numbers


def _or_words(number: float | None, words: str) -> dg.MetadataValue:
    return dg.MetadataValue.text(words) if number is None else dg.MetadataValue.float(number)


def _states(statistics: Statistics) -> str:
    lines = ["| state | attempts |", "| --- | ---: |"]
    lines += [f"| {state} | {count} |" for state, count in statistics.states.items()]
    return "\n".join(lines)


def _no_costs(statistics: Statistics) -> str:
    if statistics.unpriced:
        return (
            f"No price is known: {statistics.unpriced:,} charges have none. Set IMAGEGEN_PRICES; "
            "what is made from then on has its cost."
        )
    return "Nothing has cost anything."


def _drawn(
    draw: Callable[[Statistics], bytes | None], statistics: Statistics, words: str
) -> dg.MetadataValue:
    return _image("png", lambda: draw(statistics), words)


def _sheet(pipeline: Pipeline, newest: Sequence[tuple[str, str]], words: str) -> dg.MetadataValue:
    def draw() -> bytes | None:
        return contact_sheet([(key, _preview(pipeline, digest)) for key, digest in newest])

    return _image("webp", draw, words)


def _preview(pipeline: Pipeline, digest: str) -> bytes:
    try:
        return pipeline.store.preview(digest) or b""
    except StoreError:  # its place on the sheet stays empty
        return b""


def _image(kind: str, draw: Callable[[], bytes | None], words: str) -> dg.MetadataValue:
    """An image in the page itself; ``words`` where there is nothing to draw.

    A fault in drawing is a fault of this program. It is told where the image would be and in the
    log, and nothing else fails of it: the table and the pictures are there.
    """
    try:
        data = draw()
    except Exception as error:  # noqa: BLE001 - see above
        _log.exception("a plot of the results could not be drawn")
        return dg.MetadataValue.text(f"This could not be drawn: {type(error).__name__}: {error}")
    if data is None:
        return dg.MetadataValue.text(words)
    coded = base64.b64encode(data).decode()
    return dg.MetadataValue.md(f"![](data:image/{kind};base64,{coded})")
