"""Rows as Arrow tables and Parquet files."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from imagegen_pipeline.results.parquet import array_of, arrow_table

COLUMNS = {
    kind: (kind, f"A {kind}.") for kind in ("Int64", "Float64", "boolean", "string", "moment")
}
VALUES: dict[str, list[Any]] = {
    "Int64": [1, None, 0, -5, 2**62],
    "Float64": [0.1, None, 0.0, -1e300, 7],
    "boolean": [True, None, False, True, True],
    "string": ["a café", None, "", "“x”\n", "模型" * 3],
    "moment": ["2026-03-01T12:00:00.123+00:00", None, "1969-12-31T23:59:59.999+00:00", None, None],
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_arrays_are_those_of_pyarrow(kind: str, count: int) -> None:
    """Converted columns are valid, and equal to those that ``pyarrow.array`` makes."""
    values = (VALUES[kind] * 8)[:count]
    column = arrow_table([(value,) for value in values], {kind: COLUMNS[kind]})[kind]
    column.validate(full=True)
    source = pa.array(values, pa.string() if kind == "moment" else column.type)
    assert column.combine_chunks() == source.cast(column.type)


def test_rows_are_converted_by_column() -> None:
    """Rows have their values in the order of the columns; every column is described."""
    table = arrow_table(list(zip(*VALUES.values(), strict=True)), COLUMNS)
    assert table.column_names == list(COLUMNS)
    assert [field.metadata for field in table.schema] == [
        {b"description": text.encode()} for _, text in COLUMNS.values()
    ]
    assert table["string"].to_pylist() == VALUES["string"]


def test_a_text_with_a_lone_surrogate_is_refused() -> None:
    """Parquet texts are UTF-8."""
    with pytest.raises(UnicodeEncodeError):
        array_of(pa.string(), ["bad\udcff"])
