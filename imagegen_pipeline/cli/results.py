"""``imagegen results``: the table of what happened."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imagegen_pipeline.results import By

SHOWN = ("attempt", "key", "state", "current", "seed", "seconds", "cost", "path", "error")

_NOTHING = "No attempts yet; `imagegen generate --help` says how to begin."
_NOTHING_APPROVED = "Nothing is approved; `imagegen serve` opens the gallery, where that is done."


@click.command(short_help="Print the table of what was made, what failed and why.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="The table shows the main columns; the others have all of them.",
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of stdout."
)
@click.option(
    "--by",
    type=click.Choice(["run", "day"]),
    help="What was made and spent, one row a run (or command), or one row a day (UTC).",
)
@click.option(
    "--approved",
    is_flag=True,
    help="Only the current pictures that were approved in the gallery.",
)
def results(form: str, output: Path | None, by: By | None, approved: bool) -> None:
    """Print the results: one row an attempt, and what in the sources is unreadable.

    With --by they are added up. `unknown` counts requests without an answer, each of which
    may be a charge; `unknown_price` counts charges that are not in the cost, since
    IMAGEGEN_PRICES does not tell their price; `reserved` is money set aside and not settled.

    \b
    imagegen results
    imagegen results --format csv --output results.csv
    imagegen results --format json | jq '.[] | select(.state == "failed") | .error'
    imagegen results --approved --format json | jq -r '.[].path'
    imagegen results --by day
    imagegen results --by run --format json | jq '.[-1] | {cost, unknown_price, unknown}'
    """
    from imagegen_pipeline.pipeline import Pipeline
    from imagegen_pipeline.results import approved_rows, each_result

    if form == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal: add --output FILE.")
    pipeline = Pipeline()
    try:
        rows = approved_rows(pipeline.ledger) if approved else each_result(pipeline.ledger)
        parts = _saying(_rendered(rows, form, by), _NOTHING_APPROVED if approved else _NOTHING)
        if output is not None:
            _write_whole(output, parts)
            return
        for part in parts:
            click.echo(part, nl=False)
    finally:
        pipeline.close()


def _saying(parts: Iterator[bytes], nothing: str) -> Iterator[bytes]:
    """The parts as they come; of an empty table people are told why it is empty."""
    for part in parts:
        if not part:
            click.echo(nothing, err=True)
        yield part


def _rendered(rows: Iterable[dict[str, Any]], form: str, by: By | None) -> Iterator[bytes]:
    from imagegen_pipeline import results as made

    if by is None:
        if form == "table":
            rows = made.attempts_for_reading(rows)
        return made.rendered(rows, form, shown=SHOWN)
    sums = made.spending_rows(rows, by)
    if form == "table":
        sums = made.spending_for_reading(sums)
    return made.rendered(sums, form, columns=made.spending_columns(by))


def _write_whole(path: Path, parts: Iterator[bytes]) -> None:
    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.storage.atomic_files import temporary_file

    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:  # a pipe or a device has no place to be moved to
                file.writelines(parts)
        else:
            place = path.resolve()
            temporary_file(place, parts).replace(place)
    except OSError as error:
        raise SetupError(
            f"{path} cannot be written: {error.strerror}.",
            remedy="Name a file in a folder that exists and can be written.",
        ) from error
