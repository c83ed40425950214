"""Rows as tables with typed columns, in the forms that people and programs read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.result_columns import COLUMNS, Columns
from imagegen_pipeline.results.parquet import parquet_bytes, table_of_rows

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
_CHUNK = 10_000
"""Rows that are in memory at a time."""


def results_table(rows: Sequence[Row], columns: Columns = COLUMNS) -> pd.DataFrame:
    """The rows as a table with typed columns; moments are texts (ISO 8601)."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(columns))
    kinds = {name: kind for name, (kind, _) in columns.items()}
    return table.astype({name: "string" if k == "moment" else k for name, k in kinds.items()})


def rendered(
    rows: Iterable[Row],
    form: str,
    *,
    columns: Columns = COLUMNS,
    shown: Sequence[str] | None = None,
) -> Iterator[bytes]:
    """The rows as ``csv``, ``json``, ``parquet``, or a ``table`` for people, in parts: any number
    of rows will do, but for a table, whose columns are as wide as its widest row.

    A table has the columns ``shown`` (by default all), and blanks for what is not known.
    """
    if form == "table":
        main = {name: columns[name] for name in shown or columns}
        yield _as_text_table(results_table([{n: row[n] for n in main} for row in rows], main))
        return
    forms = {"csv": _csv, "json": _json, "parquet": _parquet}
    yield from forms[form](_chunks(rows), columns)


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    several = iter(rows)
    while chunk := list(islice(several, _CHUNK)):
        yield chunk


def _csv(chunks: Iterator[list[Row]], columns: Columns) -> Iterator[bytes]:
    yield results_table([], columns).to_csv(index=False).encode()
    for chunk in chunks:
        yield results_table(chunk, columns).to_csv(index=False, header=False).encode()


def _json(chunks: Iterator[list[Row]], columns: Columns) -> Iterator[bytes]:
    before = "[\n"
    for chunk in chunks:
        table = results_table(chunk, columns)
        records = table.astype(object).where(table.notna(), None).to_dict("records")
        text = json.dumps(records, ensure_ascii=False, indent=2)
        yield before.encode() + text.removeprefix("[\n").removesuffix("\n]").encode()
        before = ",\n"
    yield b"[]\n" if before == "[\n" else b"\n]\n"


def _parquet(chunks: Iterator[list[Row]], columns: Columns) -> Iterator[bytes]:
    yield parquet_bytes((table_of_rows(chunk, columns) for chunk in chunks), columns)


def _as_text_table(table: pd.DataFrame) -> bytes:
    if table.empty:
        return b""
    text = table.astype(object).where(table.notna(), "")
    for name in table.select_dtypes("Float64").columns:
        digits = ".1f" if name == "seconds" else ".10g"
        text[name] = [format(value, digits) if value != "" else "" for value in text[name]]
    lines = text.to_string(index=False, max_colwidth=100).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines).encode()
