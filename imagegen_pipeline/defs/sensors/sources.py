"""``sources_sensor``: scans the sources and reports them to Dagster. On by default: it is free.

New and edited items are reported as data versions, by which Dagster shows images of older versions
as stale. The sensor requests no runs: ``automation_sensor`` or a person does.

A tick stays within its time: it opens only sources that have changed, and leaves to the next tick
what does not fit.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from imagegen_pipeline.clock import Clock, SystemClock, TimeBudget
from imagegen_pipeline.dagster_ext.source_sync import (
    KINDS,
    MAX_KEYS_PER_TICK,
    ChangePosition,
    SourceSync,
    SyncCounts,
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
"""Problems that a tick logs; the results table has all of them."""
CLOCK: Clock = SystemClock()
_WORDS: "Mapping[ItemKind, str]" = {"prompt": "prompts", "actor": "actors"}


@dg.sensor(
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Scans the sources of prompts and actors, registers new items as partitions and "
    "reports new, edited and deleted items, so that Dagster shows their images as stale. Requests "
    "no runs and costs nothing.",
)
def sources_sensor(
    context: dg.SensorEvaluationContext, pipeline: PipelineResource
) -> dg.SensorResult:
    """Registers new source items and reports changed ones."""
    work = pipeline.get()
    budget = TimeBudget(CLOCK, TICK_SECONDS)
    # Read before the scan: only until then is a recreated ledger behind the cursor.
    newest = {kind: work.ledger.items.last_sequence(kind) for kind in KINDS}
    position = ChangePosition.from_cursor(context.cursor, newest)
    scans = work.sources.scan()
    problems = _problems(work, scans)
    for problem in problems[:LISTED]:
        context.log.warning(problem.line)
    sync = SourceSync(context.instance, work, position, new=True)
    counts = sync.run(budget, max_keys=MAX_KEYS_PER_TICK)
    return dg.SensorResult(
        skip_reason=" ".join(_summary(scans, problems, counts)),
        cursor=sync.position.as_cursor(),
    )


def _problems(work: "Pipeline", scans: "Mapping[ItemKind, ScanResult]") -> "list[SourceProblem]":
    from imagegen_pipeline.app.source_problems import is_unused

    problems = [problem for scan in scans.values() for problem in scan.problems]
    return [problem for problem in problems if not is_unused(work, problem)]


def _summary(
    scans: "Mapping[ItemKind, ScanResult]",
    problems: "Sequence[SourceProblem]",
    counts: SyncCounts,
) -> list[str]:
    """The tick in a few sentences: what the scans found, what was reported, and what remains."""
    sentences = [
        f"{_WORDS[kind].capitalize()}: {changes}."
        for kind, scan in scans.items()
        if (changes := _changes(scan.change))
    ]
    sentences = sentences or ["Nothing has changed in the sources."]
    if reported := _join(
        (counts.registered, "registered"),
        (counts.versions, "given a version"),
        (counts.gone, "marked gone"),
        (counts.back, "marked back"),
    ):
        sentences.append(f"Dagster: {reported}.")
    unreadable = {problem for scan in scans.values() for problem in scan.unreadable}
    # A problem of a whole source that was read is a note, such as on a missing column.
    bad = [one for one in problems if one.location != one.container or one in unreadable]
    if bad:
        sentences.append(f"{len(bad)} cannot be read: see the log.")
    if remaining := _join((counts.to_register, "to register"), (counts.to_report, "to report")):
        sentences.append(f"The next ticks have {remaining}.")
    return sentences


def _changes(change: "ScanChange") -> str:
    return _join(
        (len(change.new), "new"), (len(change.changed), "changed"), (len(change.gone), "gone")
    )


def _join(*counts: tuple[int, str]) -> str:
    return ", ".join(f"{count:,} {word}" for count, word in counts if count)
