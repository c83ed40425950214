"""``python -m imagegen_pipeline_tests.integration.fault_matrix`` prints the matrix as Markdown."""

from __future__ import annotations

import sys

from imagegen_pipeline_tests.integration.fault_matrix.table import as_markdown

sys.stdout.write(as_markdown())
