"""Prints what a scan could not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.domain.prompts import SourceProblem
    from imagegen_pipeline.sources.scan_results import ScanResult, ScanSummary


def print_problems(scan: ScanResult | ScanSummary) -> tuple[SourceProblem, ...]:
    """Print a scan's problems to stderr; returns those that are failures.

    A note about a source that was read, such as a missing column, is printed and is no failure.
    """
    for problem in scan.problems:
        label = "note" if _is_note(problem, scan) else "unreadable"
        click.echo(f"{label} {problem.line}", err=True)
    return tuple(problem for problem in scan.problems if not _is_note(problem, scan))


def _is_note(problem: SourceProblem, scan: ScanResult | ScanSummary) -> bool:
    return problem.location == problem.container and problem not in scan.unreadable
