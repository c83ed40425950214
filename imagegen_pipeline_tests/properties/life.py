"""One process: the engine's real parts behind doors that count its steps and may close for good."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from imagegen_pipeline.domain.errors import LedgerError

if TYPE_CHECKING:
    from imagegen_pipeline.engine import Batch
    from imagegen_pipeline.ledger.attempts import Attempt
    from imagegen_pipeline_tests.properties.witness import Answer
    from imagegen_pipeline_tests.properties.world import World

_T = TypeVar("_T")
LEDGER_STEPS = (
    "attempts.submitted",
    "attempts.sending",
    "attempts.submitting",
    "attempts.completed",
    "attempts.stored",
    "attempts.plan",
    "attempts.unknown",
    "attempts.failed",
    "attempts.not_accepted",
    "attempts.held",
    "attempts.expired",
    "leases.acquire",
    "leases.release",
)
PROVIDER_STEPS = ("provider.submit", "provider.poll", "downloader.fetch", "provider.cancel")
DISK_STEPS = ("disk.link", "disk.fsync", "disk.replace", "disk.unlink")
STEPS = (*PROVIDER_STEPS, *LEDGER_STEPS, *DISK_STEPS)
"""What leaves a mark outside the process: dying anywhere else is dying after one of these."""
_HEARTBEAT = 15.0
_LONGEST = 5000
"""More steps than any life has that comes to an end."""


class Killed(BaseException):
    """The process is gone; no ``except`` and no ``finally`` of it has any effect."""


@dataclass(frozen=True)
class Mishap:
    """What befalls a process at the ``nth`` time that it comes to a step, before or after it.

    ``killed``; ``stopped`` (Ctrl-C), ``terminated`` (which leaves jobs at the service);
    ``full``: the ledger or the disk, whichever the step is of, cannot be written then, or
    from then on (``lasting``); ``asleep``: it stops until others have done as they like.
    """

    what: Literal["killed", "stopped", "terminated", "full", "asleep"]
    at: str
    nth: int = 1
    after: bool = False
    lasting: bool = False


class Life:
    """A process from its start to its end, or its death."""

    def __init__(
        self,
        world: World,
        name: str,
        answers: Sequence[Answer],
        mishaps: Sequence[Mishap] = (),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self.world = world
        self.name = name
        self.owners: set[str] = set()
        """Every name under which it has had a lease."""
        self.held: set[str] = set()
        """The names under which it works now, and which its heart renews."""
        self.sending: Attempt | None = None
        self.is_late = False
        """Whether it slept between writing that a request leaves and sending it."""
        self.terms = world.terms
        self.patience = 0.0
        self.batch: Batch | None = None
        self.is_dead = False
        self.story: list[str] = []
        self._answers = list(answers)
        self._mishaps = mishaps
        self._meanwhile = meanwhile
        self._counts: Counter[str] = Counter()
        self._full: set[str] = set()
        self._heartbeat = 0.0

    def has(self, what: str, part: str = "") -> bool:
        """Whether such a mishap has befallen it."""
        return any(line.startswith(f"{what} ") and part in line for line in self.story)

    def next_answer(self, default: Answer) -> Answer:
        """What the service does with its next request."""
        return self._answers.pop(0) if self._answers else default

    def look(self, call: Callable[[], _T]) -> _T:
        """Do what leaves no mark."""
        if self.is_dead:
            raise Killed
        return call()

    def step(self, name: str, call: Callable[[], _T]) -> _T:
        """Do what leaves a mark, unless a mishap comes before it."""
        if self.is_dead:
            raise Killed
        self._counts[name] += 1
        self.story.append(name)
        if len(self.story) > _LONGEST:
            self.world.broken_rules.append(f"{self.name} never ends")
            self.is_dead = True
            raise Killed
        if name == "leases.release":
            self.held.clear()
        due = [m for m in self._mishaps if (m.at, m.nth) == (name, self._counts[name])]
        for mishap in due:
            if not mishap.after:
                self._befalls(mishap)
        self._check_room(name)
        try:
            return call()
        finally:
            for mishap in due:
                if mishap.after and not self.is_dead:
                    self._befalls(mishap)

    def _befalls(self, mishap: Mishap) -> None:
        self.story.append(f"{mishap.what} {'after' if mishap.after else 'before'} {mishap.at}")
        match mishap.what:
            case "killed":
                self.is_dead = True
                raise Killed
            case "stopped" | "terminated":
                assert self.batch is not None
                self.batch.stop(leave_jobs=mishap.what == "terminated")
            case "asleep":
                self.is_late = self.sending is not None
                self._meanwhile()
                self.story.append("awake")
            case "full":
                part = _part(mishap.at)
                if mishap.lasting:
                    self._full.add(part)
                else:
                    _refuse(part)

    def _check_room(self, name: str) -> None:
        if _part(name) in self._full and name != "disk.unlink":  # which makes room
            _refuse(_part(name))

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """See ``Clock.wait``: time passes at once, and the process says that it lives."""
        clock = self.world.clock
        self.look(partial(clock.advance, max(seconds, self.patience)))
        self.patience = 0.0
        if clock.now() - self._heartbeat >= _HEARTBEAT:
            self._heartbeat = clock.now()
            for owner in self.held:
                self.world.books.leases.renew(owner)
        return stop.is_set()

    def now(self) -> float:
        """See ``Clock.now``."""
        return self.world.clock.now()

    def monotonic(self) -> float:
        """See ``Clock.monotonic``."""
        return self.world.clock.monotonic()


class Door:
    """A part of the engine's workshop, as one process reaches it."""

    def __init__(self, life: Life, name: str, part: object) -> None:
        self._life = life
        self._name = name
        self._part = part

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._part, method)
        if not callable(found):
            return found
        name = f"{self._name}.{method}"
        if name not in STEPS:
            return lambda *given, **named: self._life.look(partial(found, *given, **named))

        def call(*given: Any, **named: Any) -> Any:
            def effect() -> Any:
                result = found(*given, **named)
                self._life.world.saw(self._life, name, given, result)
                return result

            return self._life.step(name, effect)

        return call


def _part(step: str) -> str:
    part = step.partition(".")[0]
    return {"attempts": "ledger", "leases": "ledger"}.get(part, part)


def _refuse(part: str) -> None:
    if part == "disk":
        raise OSError(errno.ENOSPC, "No space left on device")
    raise LedgerError("The ledger failed: database or disk is full.")
