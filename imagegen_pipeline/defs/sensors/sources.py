"""The sensor that sees what the sources have now: it registers, and says what has changed.

It is on by default, since it requests nothing and costs nothing. What is new or has changed is
reported as the source's version, by which Dagster shows the pictures made from an older one as out
of date; making them is another sensor's affair, or a person's.

A tick does what has changed and no more, within its time: it opens only sources that have changed,
and leaves to the next tick what does not fit.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from imagegen_pipeline.clock import Clock, SystemClock, TimeBudget
from imagegen_pipeline.dagster_ext.source_sync import (
    KINDS,
    MOST_KEYS,
    SourceSync,
    SyncCounts,
    position_of,
)
from imagegen_pipeline.defs.resources import PipelineResource

if TYPE_CHECKING:
    from imagegen_pipeline.domain.prompts import SourceProblem
    from imagegen_pipeline.domain.requests import ItemKind
    from imagegen_pipeline.ledger import ScanChange
    from imagegen_pipeline.pipeline import Pipeline
    from imagegen_pipeline.sources.scanner import ScanResult

SECONDS_BETWEEN_TICKS = 30
TICK_SECONDS = 40.0
"""Dagster allows a tick 60 seconds. The scan is not limited: a million rows take about 12."""
LISTED = 20
"""Problems that a tick writes into its log; all are in the results."""
CLOCK: Clock = SystemClock()
_WORDS: "Mapping[ItemKind, str]" = {"prompt": "prompts", "actor": "actors"}


@dg.sensor(
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks at the prompts' and actors' sources, registers what is new and reports "
    "what is new, has changed or is gone, so that its pictures are shown as out of date. Requests "
    "nothing.",
)
def sources_sensor(
    context: dg.SensorEvaluationContext, pipeline: PipelineResource
) -> dg.SensorResult:
    """Registers what is new in the sources, and reports what has changed."""
    work = pipeline.get()
    budget = TimeBudget(CLOCK, TICK_SECONDS)
    # Before the look: a ledger that was made anew is behind the cursor only until then.
    place = position_of(
        context.cursor, {kind: work.ledger.items.last_sequence(kind) for kind in KINDS}
    )
    scans = work.sources.scan()
    problems = _problems(work, scans)
    for problem in problems[:LISTED]:
        context.log.warning(problem.line)
    news = SourceSync(context.instance, work, place, new=True)
    told = news.tell(budget, most_keys=MOST_KEYS)
    return dg.SensorResult(
        skip_reason=" ".join(_said(scans, problems, told)),
        cursor=news.place.as_cursor(),
    )


def _problems(work: "Pipeline", scans: "Mapping[ItemKind, ScanResult]") -> "list[SourceProblem]":
    from imagegen_pipeline.app.source_problems import is_unused

    found = [problem for scan in scans.values() for problem in scan.problems]
    return [problem for problem in found if not is_unused(work, problem)]


def _said(
    scans: "Mapping[ItemKind, ScanResult]", problems: "Sequence[SourceProblem]", told: SyncCounts
) -> list[str]:
    """The tick in a few sentences: what is new, what was told, what is still to come."""
    said = [
        f"{_WORDS[kind].capitalize()}: {what}."
        for kind, scan in scans.items()
        if (what := _changes(scan.change))
    ]
    said = said or ["Nothing has changed in the sources."]
    if done := _counted(
        (told.registered, "registered"),
        (told.versions, "given a version"),
        (told.gone, "marked gone"),
        (told.back, "marked back"),
    ):
        said.append(f"Dagster: {done}.")
    away = {problem for scan in scans.values() for problem in scan.unreadable}
    # What is said of a whole source that was read is a note, such as on a column that it lacks.
    bad = [one for one in problems if one.location != one.container or one in away]
    if bad:
        said.append(f"{len(bad)} cannot be read: see the log.")
    if to_come := _counted((told.to_register, "to register"), (told.to_report, "to report")):
        said.append(f"The next ticks have {to_come}.")
    return said


def _changes(change: "ScanChange") -> str:
    return _counted(
        (len(change.new), "new"), (len(change.changed), "changed"), (len(change.gone), "gone")
    )


def _counted(*counts: tuple[int, str]) -> str:
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)
