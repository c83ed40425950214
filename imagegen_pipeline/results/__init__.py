"""Ledger → tables: a row for each attempt, a row for each run or day, and the users' JSON log.

The table of attempts lies on disk as a folder of Parquet files that is brought up to date in
parts. pandas, pyarrow and matplotlib are imported only where something is made with them.
"""

from imagegen_pipeline.domain.result_columns import COLUMNS, NEVER_EMPTY, Columns
from imagegen_pipeline.results.attempt_rows import (
    approved_rows,
    attempts_for_reading,
    each_result,
    result_rows,
)
from imagegen_pipeline.results.json_log import write_json_log
from imagegen_pipeline.results.parquet import write_results
from imagegen_pipeline.results.refresh import refresh_results
from imagegen_pipeline.results.spending import (
    By,
    spending_columns,
    spending_for_reading,
    spending_rows,
)
from imagegen_pipeline.results.statistics import Statistics
from imagegen_pipeline.results.table import rendered, results_table

__all__ = [
    "COLUMNS",
    "NEVER_EMPTY",
    "By",
    "Columns",
    "Statistics",
    "approved_rows",
    "attempts_for_reading",
    "each_result",
    "refresh_results",
    "rendered",
    "result_rows",
    "results_table",
    "spending_columns",
    "spending_for_reading",
    "spending_rows",
    "write_json_log",
    "write_results",
]
