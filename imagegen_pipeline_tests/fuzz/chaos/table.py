"""The runs as a Markdown table."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from imagegen_pipeline_tests.fuzz.chaos.harness import Run

_COLUMNS = (
    *("variant", "items", "kills", "rounds", "pictures", "held", "unknown attempts", "billed"),
    *("billed twice outside the window", "lost", "corrupt", "events missing", "seconds", "seed"),
)


def machine() -> str:
    """The machine of the measurement, without its name."""
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {system}"


def table(runs: Sequence[Run]) -> str:
    """A heading that describes the machine, and a row for each run."""
    lines = [
        f"Measured on {machine()}.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"| --- |{' ---: |' * (len(_COLUMNS) - 1)}",
        *(f"| {' | '.join(_cells(run))} |" for run in runs),
    ]
    return "\n".join(lines) + "\n"


def _cells(run: Run) -> list[str]:
    evidence, broken = run.evidence, run.broken
    items = len(evidence.finish.source_items)
    numbers = (
        *(items, run.kills, run.rounds, evidence.pictures, items - evidence.pictures),
        *(len(evidence.unknown_rows), evidence.billed.total(), len(broken["billed twice"])),
        *(len(broken["lost"]), len(broken["corrupt"]), len(broken["events"])),
        *(round(run.seconds), run.plan.seed),
    )
    return [run.plan.variant.title, *(str(number) for number in numbers)]
