"""What a look at the sources brought, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass, field

from imagegen_pipeline.clock import Clock
from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.ledger import ScanChange


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What reading whole sources brought: prompts or actors, problems, and what changed."""

    prompts: tuple[Prompt, ...] = ()
    actors: tuple[Actor, ...] = ()
    problems: tuple[SourceProblem, ...] = ()
    change: ScanChange = field(default_factory=ScanChange)
    unreadable: tuple[SourceProblem, ...] = ()
    """The problems of sources that could not be read at all."""


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """What a look at sources saw: how many items were new, changed, gone, and as before among
    those that were read; what cannot be read; and the sources that are not read to their end.
    """

    new: int = 0
    changed: int = 0
    gone: int = 0
    unchanged: int = 0
    problems: tuple[SourceProblem, ...] = ()
    unreadable: tuple[SourceProblem, ...] = ()
    unfinished: tuple[str, ...] = ()

    def __add__(self, other: ScanSummary) -> ScanSummary:
        return ScanSummary(
            new=self.new + other.new,
            changed=self.changed + other.changed,
            gone=self.gone + other.gone,
            unchanged=self.unchanged + other.unchanged,
            problems=self.problems + other.problems,
            unreadable=self.unreadable + other.unreadable,
            unfinished=self.unfinished + other.unfinished,
        )


def seen(change: ScanChange) -> ScanSummary:
    """What was written down, as counts."""
    return ScanSummary(len(change.new), len(change.changed), len(change.gone), change.unchanged)


class ScanBudget:
    """Seconds that may pass; None: as many as it takes."""

    def __init__(self, clock: Clock, seconds: float | None = None) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock.monotonic() + seconds

    @property
    def is_spent(self) -> bool:
        """Whether the seconds have passed."""
        return self._end is not None and self._clock.monotonic() >= self._end
