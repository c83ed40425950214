"""Prints what a scan could not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.domain.prompts import SourceProblem
    from imagegen_pipeline.sources.scanner import ScanResult


def print_problems(result: ScanResult) -> tuple[SourceProblem, ...]:
    """Print every problem on stderr; returns the problems that are failures.

    A note on a source that was read (a column that it lacks) is no failure.
    """
    for problem in result.problems:
        mark = "note" if result.is_note(problem) else "unreadable"
        click.echo(f"{mark} {problem.line}", err=True)
    return tuple(problem for problem in result.problems if not result.is_note(problem))
