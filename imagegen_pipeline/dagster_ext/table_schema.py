"""The columns of the results tables, for Dagster's metadata of the assets."""

import dagster as dg

from imagegen_pipeline.domain.result_columns import COLUMNS, NEVER_EMPTY

_TYPES = {
    "Int64": "int",
    "Float64": "float",
    "boolean": "bool",
    "string": "string",
    "moment": "timestamp (ms, UTC)",
}
_UNIQUE = ("attempt",)


def column_schema() -> dg.TableSchema:
    """The columns of both tables: type, description and constraints."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=_TYPES[kind],
                description=description,
                constraints=dg.TableColumnConstraints(
                    nullable=name not in NEVER_EMPTY, unique=name in _UNIQUE
                ),
            )
            for name, (kind, description) in COLUMNS.items()
        ]
    )
