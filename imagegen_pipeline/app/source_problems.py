"""Filters out problems of default source locations that the project does not use."""

from __future__ import annotations

from imagegen_pipeline.domain.prompts import SourceProblem
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.sources.source_paths import absolute, display_path


def is_unused(pipeline: Pipeline, problem: SourceProblem) -> bool:
    """Whether the source is at its default location and has never existed there."""
    settings = pipeline.settings
    unused_defaults = {
        display_path(absolute(location))
        for location, configured in (
            (settings.prompt_db, settings.prompt_db_path),
            (settings.prompt_json_dir, settings.prompt_json_path),
            (settings.actors_dir, settings.actors_path),
        )
        if configured is None and not location.exists()
    }
    if problem.location not in unused_defaults:
        return False
    return not pipeline.ledger.items.has_any(problem.container)


def problems_in_use(pipeline: Pipeline) -> list[SourceProblem]:
    """What the last scan could not read, without unused default locations."""
    problems = pipeline.ledger.items.problems()
    return [problem for problem in problems if not is_unused(pipeline, problem)]
