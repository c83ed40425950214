"""A project whose pictures have grown old, and short ways to clean it up."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.maintenance.clean_up import carry_out, plan_clean_up
from imagegen_pipeline.maintenance.plan import DAY, ActionResult, CleanUpPlan, RetentionPolicy
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.engine.bench import Bench

OLD_PICTURES = RetentionPolicy(pictures=180)


@pytest.fixture
def bench(project: Project, simulator: Simulator) -> Iterator[Bench]:
    """A pipeline that is closed after the test."""
    with closing(project.pipeline()) as pipeline:
        yield Bench(project, simulator, pipeline)


def age_file(file: Path, days: float) -> None:
    """As if a file had last been changed so many days ago."""
    about = file.stat()
    os.utime(file, (about.st_atime, about.st_mtime - days * DAY))


def age_pictures(pipeline: Pipeline, days: float = 200) -> None:
    """As if every picture had been stored so many days earlier."""
    with sqlite3.connect(pipeline.settings.data_dir / "imagegen.db") as connection:
        connection.execute("UPDATE attempts SET finished_at = finished_at - ?", (days * DAY,))
    connection.close()
    for attempt in stored(pipeline):
        file = file_of(pipeline, attempt)
        if file.exists():
            age_file(file, days)


def stored(pipeline: Pipeline) -> list[Attempt]:
    """Every attempt that has a picture, oldest first."""
    return [one for one, _ in pipeline.ledger.attempts.rows() if one.path is not None]


def file_of(pipeline: Pipeline, attempt: Attempt) -> Path:
    """Where an attempt's picture lies when it is at its place."""
    return pipeline.store.absolute(attempt.path or "")


def clean(
    pipeline: Pipeline, rules: RetentionPolicy = OLD_PICTURES, plan: CleanUpPlan | None = None
) -> list[ActionResult]:
    """One clean-up, by a plan of its own unless one is given."""
    return list(carry_out(pipeline, plan or plan_clean_up(pipeline, rules)))


def names(actions: Any) -> set[str]:
    """The names of the files of a plan."""
    return {action.file.name for action in actions}
