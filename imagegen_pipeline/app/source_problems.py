"""Problems of the sources, without those of sources that are not in use."""

from __future__ import annotations

from imagegen_pipeline.domain.prompts import SourceProblem
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.sources.source_paths import absolute, display_path


def is_unused(pipeline: Pipeline, problem: SourceProblem) -> bool:
    """Whether the problem is a missing source at its default path that never existed."""
    settings = pipeline.settings
    at_default = {
        display_path(absolute(path))
        for path, setting in (
            (settings.prompt_db, settings.prompt_db_path),
            (settings.prompt_json_dir, settings.prompt_json_path),
            (settings.actors_dir, settings.actors_path),
        )
        if setting is None and not path.exists()
    }
    if problem.location not in at_default:
        return False
    return not pipeline.ledger.items.has_any(problem.container)


def problems_in_use(pipeline: Pipeline) -> list[SourceProblem]:
    """The problems of the last scans, without those of sources that are not in use."""
    problems = pipeline.ledger.items.problems()
    return [problem for problem in problems if not is_unused(pipeline, problem)]
