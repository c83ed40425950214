"""Ledger → tables: a row for each attempt, a row for each run or day, and the users' JSON log.

pandas is imported only where a table is made of the rows.
"""

from imagegen_pipeline.results.attempts import (
    COLUMNS,
    approved_rows,
    attempts_for_reading,
    result_rows,
    summary,
)
from imagegen_pipeline.results.json_log import write_json_log
from imagegen_pipeline.results.spending import (
    By,
    spending_columns,
    spending_for_reading,
    spending_rows,
)
from imagegen_pipeline.results.tables import render, results_table, write_results

__all__ = [
    "COLUMNS",
    "By",
    "approved_rows",
    "attempts_for_reading",
    "render",
    "result_rows",
    "results_table",
    "spending_columns",
    "spending_for_reading",
    "spending_rows",
    "summary",
    "write_json_log",
    "write_results",
]
