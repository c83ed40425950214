"""A pipeline, and helpers to age and clean up its images."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.maintenance.clean_up import carry_out, plan_clean_up
from imagegen_pipeline.maintenance.plan import (
    DAY,
    ActionResult,
    CleanUpPlan,
    PlannedAction,
    RetentionPolicy,
)
from imagegen_pipeline.pipeline import Pipeline

OLD_PICTURES = RetentionPolicy(pictures=180)


def age_file(file: Path, days: float) -> None:
    """Move a file's modification time back by some days."""
    about = file.stat()
    os.utime(file, (about.st_atime, about.st_mtime - days * DAY))


def age_pictures(pipeline: Pipeline, days: float = 200) -> None:
    """Move the time at which every image was stored back by some days."""
    with sqlite3.connect(pipeline.settings.data_dir / "imagegen.db") as connection:
        connection.execute("UPDATE attempts SET finished_at = finished_at - ?", (days * DAY,))
    connection.close()
    for attempt in stored(pipeline):
        file = file_of(pipeline, attempt)
        if file.exists():
            age_file(file, days)


def stored(pipeline: Pipeline) -> list[Attempt]:
    """Every attempt with an image, oldest first."""
    return [one for one, _ in pipeline.ledger.attempts.rows() if one.path is not None]


def file_of(pipeline: Pipeline, attempt: Attempt) -> Path:
    """The path of an attempt's image."""
    return pipeline.store.absolute(attempt.path or "")


def clean(
    pipeline: Pipeline, policy: RetentionPolicy = OLD_PICTURES, plan: CleanUpPlan | None = None
) -> list[ActionResult]:
    """Carry out a plan, by default a new one."""
    return list(carry_out(pipeline, plan or plan_clean_up(pipeline, policy)))


def names(actions: Iterable[PlannedAction]) -> set[str]:
    """The names of the files of these actions."""
    return {action.file.name for action in actions}
