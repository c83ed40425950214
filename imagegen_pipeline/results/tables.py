"""Rows as tables with typed columns, in the forms that people and programs read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.results.attempts import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

Columns = Mapping[str, tuple[str, str]]
"""For each column its pandas type and a sentence on what it holds."""


def results_table(rows: list[dict[str, Any]], columns: Columns = COLUMNS) -> pd.DataFrame:
    """The rows as a table with typed columns."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(columns))
    return table.astype({name: kind for name, (kind, _) in columns.items()})


def render(
    rows: list[dict[str, Any]],
    form: str,
    *,
    columns: Columns = COLUMNS,
    shown: Sequence[str] | None = None,
) -> bytes:
    """The rows as ``csv``, ``json``, ``parquet``, or a ``table`` for people.

    A table has the columns ``shown`` (by default all), and blanks for what is not known.
    """
    table = results_table(rows, columns)
    if form == "parquet":
        return bytes(table.to_parquet(index=False))
    if form == "csv":
        text = table.to_csv(index=False)
    elif form == "json":
        records = table.astype(object).where(table.notna(), None).to_dict("records")
        text = json.dumps(records, ensure_ascii=False, indent=2) + "\n"
    else:
        text = _as_text_table(table[list(shown or columns)])
    return text.encode()


def _as_text_table(table: pd.DataFrame) -> str:
    if table.empty:
        return ""
    text = table.astype(object).where(table.notna(), "")
    for name in table.select_dtypes("Float64").columns:
        digits = ".1f" if name == "seconds" else ".10g"
        text[name] = [format(value, digits) if value != "" else "" for value in text[name]]
    lines = text.to_string(index=False, max_colwidth=100).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def write_results(rows: list[dict[str, Any]], path: Path) -> pd.DataFrame:
    """Write the table as Parquet, whole or not at all; raises StoreError."""
    table = results_table(rows)
    spare = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            table.to_parquet(spare, index=False)
            spare.replace(path)
        finally:
            spare.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
    return table
