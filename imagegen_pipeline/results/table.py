"""Rows as text tables, CSV, JSON and Parquet, with typed columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.result_columns import COLUMNS, Columns
from imagegen_pipeline.results.parquet import arrow_schema, parquet_bytes, table_of_rows

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
_CHUNK = 10_000
"""Rows in memory at a time."""


def data_frame(rows: Sequence[Row], columns: Columns = COLUMNS) -> pd.DataFrame:
    """Convert rows to typed columns; moments are ISO 8601 texts."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(columns))
    kinds = {name: kind for name, (kind, _) in columns.items()}
    return table.astype({name: "string" if k == "moment" else k for name, k in kinds.items()})


def render(
    rows: Iterable[Row],
    form: str,
    *,
    columns: Columns = COLUMNS,
    shown: Sequence[str] | None = None,
) -> Iterator[bytes]:
    """Encode rows as ``csv``, ``json``, ``parquet`` or a text ``table``, in parts.

    Rows are streamed, except for a text table, whose column widths depend on every row. A text
    table has the columns ``shown`` (default: all), with blanks for nulls.
    """
    if form == "table":
        selected = {name: columns[name] for name in shown or columns}
        records = [{name: row[name] for name in selected} for row in rows]
        yield _text_table(data_frame(records, selected))
        return
    encoders = {"csv": _csv, "json": _json, "parquet": _parquet}
    yield from encoders[form](_chunks(rows), columns)


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def _csv(chunks: Iterator[list[Row]], columns: Columns) -> Iterator[bytes]:
    yield data_frame([], columns).to_csv(index=False).encode()
    for chunk in chunks:
        yield data_frame(chunk, columns).to_csv(index=False, header=False).encode()


def _json(chunks: Iterator[list[Row]], columns: Columns) -> Iterator[bytes]:
    separator = "[\n"
    for chunk in chunks:
        table = data_frame(chunk, columns)
        records = table.astype(object).where(table.notna(), None).to_dict("records")
        text = json.dumps(records, ensure_ascii=False, indent=2)
        yield separator.encode() + text.removeprefix("[\n").removesuffix("\n]").encode()
        separator = ",\n"
    yield b"[]\n" if separator == "[\n" else b"\n]\n"


def _parquet(chunks: Iterator[list[Row]], columns: Columns) -> Iterator[bytes]:
    tables = (table_of_rows(chunk, columns) for chunk in chunks)
    yield parquet_bytes(tables, arrow_schema(columns))


def _text_table(table: pd.DataFrame) -> bytes:
    if table.empty:
        return b""
    text = table.astype(object).where(table.notna(), "")
    for name in table.select_dtypes("Float64").columns:
        digits = ".1f" if name == "seconds" else ".10g"
        text[name] = [format(value, digits) if value != "" else "" for value in text[name]]
    lines = text.to_string(index=False, max_colwidth=100).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines).encode()
