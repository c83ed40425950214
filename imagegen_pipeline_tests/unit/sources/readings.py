"""Readings of scratch sources, and assertions that their tests share."""

from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.prompts import SourceProblem
from imagegen_pipeline.sources.actors import ActorsFolder
from imagegen_pipeline.sources.json_files import JsonFolder
from imagegen_pipeline.sources.source_reader import SourceReading, read_source
from imagegen_pipeline.sources.sqlite import PromptDatabase


def read_actors(folder: Path) -> SourceReading:
    """The actors of a folder."""
    return read_source(ActorsFolder(folder))


def read_json_folder(folder: Path, **options: int) -> SourceReading:
    """The prompts of a folder of JSON files."""
    return read_source(JsonFolder(folder, **options))


def read_database(path: Path, **options: float) -> SourceReading:
    """The prompts of a database."""
    return read_source(PromptDatabase(path, **options))


def items_of(reading: SourceReading) -> list[Any]:
    """The prompts or actors of a reading."""
    return list(reading.source_items)


def only_problem(reading: SourceReading) -> SourceProblem:
    """The one problem of a reading: one line with a sentence and a remedy, which can be stored."""
    (problem,) = reading.problems
    assert problem.container == reading.container
    assert problem.message.endswith(".")
    assert problem.remedy
    assert problem.location in problem.line
    assert len(problem.line.splitlines()) == 1
    problem.line.encode()
    return problem


def is_unread(reading: SourceReading) -> bool:
    """Whether the container itself could not be read, so that nothing may be called gone."""
    return not reading.complete and not reading.source_items
