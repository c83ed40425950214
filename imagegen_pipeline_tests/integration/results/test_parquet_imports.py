"""Writing Parquet files imports only what it needs."""

from __future__ import annotations

import subprocess
import sys


def test_conversion_does_not_import_pandas() -> None:
    """A command that refreshes the table would start a quarter of a second later."""
    code = (
        "import sys, pyarrow\n"
        "from imagegen_pipeline.results.parquet import parquet_bytes, table_of_rows\n"
        "table = table_of_rows([])\n"
        "assert parquet_bytes([table], table.schema)\n"
        "print('pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"False\n"
