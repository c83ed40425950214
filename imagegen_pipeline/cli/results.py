"""``imagegen results``: the table of what happened."""

from __future__ import annotations

import sys
from pathlib import Path

import click

SHOWN = ("attempt", "key", "state", "current", "seed", "seconds", "cost", "path", "error")


@click.command()
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
def results(form: str, output: Path | None) -> None:
    """Print the results: one row an attempt, and what in the sources is unreadable."""
    from imagegen_pipeline.pipeline import Pipeline
    from imagegen_pipeline.results import result_rows, results_table

    if form == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal: add --output FILE.")
    pipeline = Pipeline()
    try:
        table = results_table(result_rows(pipeline.ledger))
    finally:
        pipeline.close()
    if form == "table":
        shown = table[list(SHOWN)].to_string(index=False, na_rep="", max_colwidth=60)
        data = (shown if len(table) else "No attempts yet: `imagegen generate --help`.") + "\n"
        _write(data.encode(), output)
    elif form == "csv":
        _write(table.to_csv(index=False).encode(), output)
    elif form == "json":
        text = table.to_json(orient="records", force_ascii=False, indent=2)
        _write(f"{text}\n".encode(), output)
    else:
        _write(table.to_parquet(index=False), output)


def _write(data: bytes, output: Path | None) -> None:
    if output is not None:
        output.write_bytes(data)
        return
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
