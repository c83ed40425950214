"""What a look at the sources brought, said to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.domain.prompts import SourceProblem
    from imagegen_pipeline.pipeline import Found, Pipeline


def say_problems(found: Found) -> tuple[SourceProblem, ...]:
    """Name on stderr what cannot be read; returns what of it is a failure.

    A note on a source that was read (a column that it lacks) is said, and fails nothing.
    """
    for problem in found.problems:
        mark = "note" if _is_note(problem, found) else "unreadable"
        click.echo(f"{mark} {problem.line}", err=True)
    return tuple(problem for problem in found.problems if not _is_note(problem, found))


def _is_note(problem: SourceProblem, found: Found) -> bool:
    return problem.location == problem.container and problem not in found.unreadable


def is_unused(pipeline: Pipeline, problem: SourceProblem) -> bool:
    """Whether this is a source that nobody named, and that never was there."""
    from imagegen_pipeline.sources.places import absolute, shown

    settings = pipeline.settings
    at_default = {
        shown(absolute(place))
        for place, named in (
            (settings.prompt_db, settings.prompt_db_path),
            (settings.prompt_json_dir, settings.prompt_json_path),
            (settings.actors_dir, settings.actors_path),
        )
        if named is None and not place.exists()
    }
    if problem.location not in at_default:
        return False
    items = pipeline.ledger.items
    keys = [*items.keys("prompt"), *items.keys("actor")]
    return all(item.thing.container != problem.container for item in items.get(keys).values())
