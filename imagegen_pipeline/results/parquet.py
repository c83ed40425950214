"""Rows as Parquet files: typed columns with descriptions, written atomically."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.result_columns import COLUMNS, Columns
from imagegen_pipeline.results.attempt_rows import Values
from imagegen_pipeline.storage.atomic_files import temporary_file

if TYPE_CHECKING:
    import pyarrow as pa

_PANDAS = {
    "Int64": "int64",
    "Float64": "float64",
    "boolean": "bool",
    "string": "unicode",
    "moment": "datetimetz",
}
"""The ``pandas_type`` of each column type."""


def arrow_schema(columns: Columns = COLUMNS) -> pa.Schema:
    """The columns with their Parquet types and descriptions.

    The ``pandas`` metadata makes pandas read nullable types: integers stay integers beside nulls.
    """
    import pyarrow as pa

    kinds = {
        "Int64": pa.int64(),
        "Float64": pa.float64(),
        "boolean": pa.bool_(),
        "string": pa.string(),
        "moment": pa.timestamp("ms", "UTC"),
    }
    fields = [
        pa.field(name, kinds[kind], metadata={"description": description})
        for name, (kind, description) in columns.items()
    ]
    return pa.schema(fields, {"pandas": json.dumps(_pandas_metadata(columns))})


def _pandas_metadata(columns: Columns) -> dict[str, Any]:
    """See "Storing pandas DataFrame objects in Apache Parquet format" in pandas' documentation."""
    return {
        "index_columns": [],
        "column_indexes": [],
        "columns": [
            {
                "name": name,
                "field_name": name,
                "pandas_type": _PANDAS[kind],
                "numpy_type": "datetime64[ms, UTC]" if kind == "moment" else kind,
                "metadata": {"timezone": "UTC"} if kind == "moment" else None,
            }
            for name, (kind, _) in columns.items()
        ],
    }


def arrow_table(values: Sequence[Values], columns: Columns = COLUMNS) -> pa.Table:
    """Convert rows of values, in the order of the columns; moments are given as ISO 8601 texts."""
    import pyarrow as pa

    schema = arrow_schema(columns)
    by_column = zip(*values, strict=True) if values else [()] * len(schema)
    arrays = [_column(field.type, column) for field, column in zip(schema, by_column, strict=True)]
    return pa.table(arrays, schema=schema)


def _column(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return array_of(pa.string(), values).cast(kind)
    return array_of(kind, values)


def array_of(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    """Convert a column. ``pa.array`` would import pandas, a quarter of a second."""
    import pyarrow as pa

    validity = _bitmap([value is not None for value in values])
    if pa.types.is_string(kind):
        texts = [(value or "").encode() for value in values]
        offsets = array("i", accumulate(map(len, texts), initial=0))
        buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))]
    elif pa.types.is_boolean(kind):
        buffers = [validity, _bitmap([bool(value) for value in values])]
    else:
        code = "d" if pa.types.is_floating(kind) else "q"
        buffers = [validity, pa.py_buffer(array(code, (value or 0 for value in values)))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _bitmap(bits: Sequence[bool]) -> pa.Buffer:
    import pyarrow as pa

    number = int("".join("01"[bit] for bit in reversed(bits)) or "0", 2)
    return pa.py_buffer(number.to_bytes(-(-len(bits) // 8), "little"))


def table_of_rows(rows: Iterable[Mapping[str, Any]], columns: Columns = COLUMNS) -> pa.Table:
    """Convert rows that are given as mappings."""
    return arrow_table([tuple(row[name] for name in columns) for row in rows], columns)


def parquet_bytes(tables: Iterable[pa.Table], schema: pa.Schema) -> bytes:
    """Encode tables, one below the other, as one Parquet file with page checksums."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        for table in tables:
            writer.write_table(table)
    return bytes(sink.getvalue())


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table as one file, atomically; raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_file(path, parquet_bytes([table], table.schema))
        try:
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error


def write_results(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write rows as one Parquet file, atomically; raises StoreError."""
    write_parquet(table_of_rows(rows), path)
