"""Which sources nobody uses: that they cannot be read is no trouble."""

from __future__ import annotations

from imagegen_pipeline.domain.prompts import SourceProblem
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.sources.source_paths import absolute, shown


def is_unused(pipeline: Pipeline, problem: SourceProblem) -> bool:
    """Whether this is a source that nobody named, and that never was there."""
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
    return not pipeline.ledger.items.has_any(problem.container)


def problems_in_use(pipeline: Pipeline) -> list[SourceProblem]:
    """What the last looks at the sources could not read, without those that nobody uses."""
    found = pipeline.ledger.items.problems()
    return [problem for problem in found if not is_unused(pipeline, problem)]
