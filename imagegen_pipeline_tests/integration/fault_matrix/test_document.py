"""The documented table equals the tested one."""

from __future__ import annotations

import subprocess
import sys

from imagegen_pipeline_tests.conftest import ROOT
from imagegen_pipeline_tests.integration.fault_matrix.concurrent_rows import concurrent_rows
from imagegen_pipeline_tests.integration.fault_matrix.machine_rows import machine_rows
from imagegen_pipeline_tests.integration.fault_matrix.table import SERVICE_ROWS, as_markdown

DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- fault matrix -->\n", "<!-- end -->"


def test_the_document_holds_the_matrix() -> None:
    """``docs/reliability.md`` has the table as ``python -m …fault_matrix`` prints it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    _, found, rest = text.partition(BEGIN)
    assert found, f"{DOCUMENT} has no line {BEGIN.strip()}"
    shown, _, _ = rest.partition(END)
    assert shown.strip() == as_markdown().strip(), (
        "print it anew: python -m imagegen_pipeline_tests.integration.fault_matrix"
    )


def test_the_command_prints_the_matrix() -> None:
    """The command's output can be pasted into the document."""
    command = [sys.executable, "-m", "imagegen_pipeline_tests.integration.fault_matrix"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == as_markdown()


def test_every_row_is_there_once() -> None:
    """No two rows test the same."""
    ids = [row.id for row in SERVICE_ROWS]
    ids += [row.id for row, _ in machine_rows()] + [case.id for case in concurrent_rows()]
    assert len(set(ids)) == len(ids)
