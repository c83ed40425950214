"""What a look at the sources brought, said to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.domain.prompts import SourceProblem
    from imagegen_pipeline.sources.scan_results import ScanResult, ScanSummary


def say_problems(found: ScanResult | ScanSummary) -> tuple[SourceProblem, ...]:
    """Name on stderr what cannot be read; returns what of it is a failure.

    A note on a source that was read (a column that it lacks) is said, and fails nothing.
    """
    for problem in found.problems:
        mark = "note" if _is_note(problem, found) else "unreadable"
        click.echo(f"{mark} {problem.line}", err=True)
    return tuple(problem for problem in found.problems if not _is_note(problem, found))


def _is_note(problem: SourceProblem, found: ScanResult | ScanSummary) -> bool:
    return problem.location == problem.container and problem not in found.unreadable
