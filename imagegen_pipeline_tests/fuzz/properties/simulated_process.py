"""One process: the engine's real parts behind proxies that count steps and inject faults."""

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
    from imagegen_pipeline.domain.requests import Attempt
    from imagegen_pipeline.engine import Batch
    from imagegen_pipeline_tests.fuzz.properties.environment import Environment
    from imagegen_pipeline_tests.fuzz.properties.simulated_provider import Answer

_T = TypeVar("_T")
LEDGER_STEPS = (
    "attempts.submitted",
    "attempts.start",
    "attempts.not_sent",
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
"""Steps with an effect outside the process; being killed elsewhere equals being killed after one
of these.
"""
_HEARTBEAT = 15.0
_LONGEST = 5000
"""More steps than any process that ends takes."""


class Killed(BaseException):
    """The process is dead: no ``except`` and no ``finally`` of it has any effect."""


@dataclass(frozen=True)
class Fault:
    """A fault at the ``nth`` time that a process reaches a step, before or after it.

    ``killed``; ``stopped`` (Ctrl-C); ``terminated`` (leaves jobs at the provider); ``full``: the
    ledger or the disk, whichever the step uses, cannot be written this time, or from then on
    (``lasting``); ``asleep``: the process pauses while others run.
    """

    what: Literal["killed", "stopped", "terminated", "full", "asleep"]
    at: str
    nth: int = 1
    after: bool = False
    lasting: bool = False


class SimulatedProcess:
    """A process from its start to its end or its death."""

    def __init__(
        self,
        environment: Environment,
        name: str,
        answers: Sequence[Answer],
        faults: Sequence[Fault] = (),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self.environment = environment
        self.name = name
        self.owners: set[str] = set()
        """Every name under which it had a lease."""
        self.held: set[str] = set()
        """The names of its current leases, renewed by its heartbeat."""
        self.sending: Attempt | None = None
        self.is_late = False
        """Whether it slept between recording a submit and sending it."""
        self.user_limits = environment.user_limits
        self.wait_seconds = 0.0
        self.batch: Batch | None = None
        self.is_dead = False
        self.steps_taken: list[str] = []
        self._answers = list(answers)
        self._faults = faults
        self._meanwhile = meanwhile
        self._counts: Counter[str] = Counter()
        self._full: set[str] = set()
        self._heartbeat = 0.0

    def has(self, what: str, part: str = "") -> bool:
        """Whether such a fault has happened."""
        return any(
            connection.startswith(f"{what} ") and part in connection
            for connection in self.steps_taken
        )

    def next_answer(self, default: Answer) -> Answer:
        """What the provider does with its next request."""
        return self._answers.pop(0) if self._answers else default

    def call_unrecorded(self, call: Callable[[], _T]) -> _T:
        """Call without recording a step: the call has no effect outside the process."""
        if self.is_dead:
            raise Killed
        return call()

    def step(self, name: str, call: Callable[[], _T]) -> _T:
        """Call and record a step, unless a fault comes before it."""
        if self.is_dead:
            raise Killed
        self._counts[name] += 1
        self.steps_taken.append(name)
        if len(self.steps_taken) > _LONGEST:
            self.environment.broken_rules.append(f"{self.name} never ends")
            self.is_dead = True
            raise Killed
        if name == "leases.release":
            self.held.clear()
        due = [m for m in self._faults if (m.at, m.nth) == (name, self._counts[name])]
        for fault in due:
            if not fault.after:
                self._apply_fault(fault)
        self._check_room(name)
        try:
            return call()
        finally:
            for fault in due:
                if fault.after and not self.is_dead:
                    self._apply_fault(fault)

    def _apply_fault(self, fault: Fault) -> None:
        self.steps_taken.append(f"{fault.what} {'after' if fault.after else 'before'} {fault.at}")
        match fault.what:
            case "killed":
                self.is_dead = True
                raise Killed
            case "stopped" | "terminated":
                assert self.batch is not None
                self.batch.stop(leave_jobs=fault.what == "terminated")
            case "asleep":
                self.is_late = self.sending is not None
                self._meanwhile()
                self.steps_taken.append("awake")
            case "full":
                part = _part(fault.at)
                if fault.lasting:
                    self._full.add(part)
                else:
                    _refuse(part)

    def _check_room(self, name: str) -> None:
        if _part(name) in self._full and name != "disk.unlink":  # which frees space
            _refuse(_part(name))

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """See ``Clock.wait``: the clock moves at once, and leases are renewed."""
        clock = self.environment.clock
        self.call_unrecorded(partial(clock.advance, max(seconds, self.wait_seconds)))
        self.wait_seconds = 0.0
        if clock.now() - self._heartbeat >= _HEARTBEAT:
            self._heartbeat = clock.now()
            for owner in self.held:
                self.environment.ledger.leases.renew(owner)
        return stop.is_set()

    def now(self) -> float:
        """See ``Clock.now``."""
        return self.environment.clock.now()

    def monotonic(self) -> float:
        """See ``Clock.monotonic``."""
        return self.environment.clock.monotonic()


class StepProxy:
    """A part of the engine's context, as one process reaches it."""

    def __init__(self, process: SimulatedProcess, name: str, part: object) -> None:
        self._process = process
        self._name = name
        self._part = part

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._part, method)
        if not callable(found):
            return found
        name = f"{self._name}.{method}"
        if name not in STEPS:
            return lambda *given, **named: self._process.call_unrecorded(
                partial(found, *given, **named)
            )

        def call(*given: Any, **named: Any) -> Any:
            def effect() -> Any:
                result = found(*given, **named)
                self._process.environment.record_step(self._process, name, given, result)
                return result

            return self._process.step(name, effect)

        return call


def _part(step: str) -> str:
    part = step.partition(".")[0]
    return {"attempts": "ledger", "leases": "ledger"}.get(part, part)


def _refuse(part: str) -> None:
    if part == "disk":
        raise OSError(errno.ENOSPC, "No space left on device")
    raise LedgerError("The ledger failed: database or disk is full.")
