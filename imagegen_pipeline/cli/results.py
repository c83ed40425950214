"""``imagegen results``: the results table."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imagegen_pipeline.results.spending import By

SHOWN = ("attempt", "key", "state", "current", "seed", "seconds", "cost", "path", "error")

_NO_ATTEMPTS = "No attempts yet. `imagegen generate --help` explains how to start."
_NONE_APPROVED = "No image is approved. Approve images in the gallery (`imagegen serve`)."


@click.command(short_help="Print the results: what was made, what failed and why.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="The table has the main columns; the other formats have all columns.",
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of stdout."
)
@click.option(
    "--by",
    type=click.Choice(["run", "day"]),
    help="Counts and costs, one row per run (or command) or per day (UTC).",
)
@click.option(
    "--approved",
    is_flag=True,
    help="Only the current images that are approved.",
)
def results(form: str, output: Path | None, by: By | None, approved: bool) -> None:
    """Print the results: one row per attempt and per unreadable source item.

    With --by, one row per run or day. `unknown` counts requests without a response, each of
    which may be a charge; `unknown_price` counts charges that are not in the cost, since
    IMAGEGEN_PRICES has no price for them; `reserved` is money reserved for unknown costs.

    \b
    imagegen results
    imagegen results --format csv --output results.csv
    imagegen results --format json | jq '.[] | select(.state == "failed") | .error'
    imagegen results --approved --format json | jq -r '.[].path'
    imagegen results --by day
    imagegen results --by run --format json | jq '.[-1] | {cost, unknown_price, unknown}'
    """
    from imagegen_pipeline.pipeline import Pipeline
    from imagegen_pipeline.results.attempt_rows import approved_rows, iter_result_rows

    if form == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is binary: add --output FILE.")
    pipeline = Pipeline()
    try:
        rows = approved_rows(pipeline.ledger) if approved else iter_result_rows(pipeline.ledger)
        empty_message = _NONE_APPROVED if approved else _NO_ATTEMPTS
        parts = _with_empty_message(_render(rows, form, by), empty_message)
        if output is not None:
            _write_file(output, parts)
            return
        for part in parts:
            click.echo(part, nl=False)
    finally:
        pipeline.close()


def _with_empty_message(parts: Iterator[bytes], message: str) -> Iterator[bytes]:
    """The parts; for an empty text table ``message`` is printed to stderr."""
    for part in parts:
        if not part:
            click.echo(message, err=True)
        yield part


def _render(rows: Iterable[dict[str, Any]], form: str, by: By | None) -> Iterator[bytes]:
    from imagegen_pipeline.results.attempt_rows import rows_for_display
    from imagegen_pipeline.results.spending import (
        spending_columns,
        spending_for_display,
        spending_rows,
    )
    from imagegen_pipeline.results.table import render

    if by is None:
        return render(rows_for_display(rows) if form == "table" else rows, form, shown=SHOWN)
    totals = spending_rows(rows, by)
    if form == "table":
        totals = spending_for_display(totals)
    return render(totals, form, columns=spending_columns(by))


def _write_file(path: Path, parts: Iterator[bytes]) -> None:
    """Write a file atomically; a pipe or a device is written in place."""
    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.storage.atomic_files import temporary_file

    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                file.writelines(parts)
        else:
            target = path.resolve()
            temporary_file(target, parts).replace(target)
    except OSError as error:
        raise SetupError(
            f"{path} cannot be written: {error.strerror}.",
            remedy="Name a file in a folder that exists and can be written.",
        ) from error
