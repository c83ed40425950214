"""A history: processes in one environment, checked after each, and a final run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from hypothesis import note

from imagegen_pipeline.domain.requests import Outcome, Status
from imagegen_pipeline.ledger import Decision
from imagegen_pipeline_tests.fuzz.properties.environment import KEYS, Environment, UserLimits
from imagegen_pipeline_tests.fuzz.properties.rules import IN_THE_END, check
from imagegen_pipeline_tests.fuzz.properties.simulated_process import Fault, SimulatedProcess
from imagegen_pipeline_tests.fuzz.properties.simulated_provider import Answer

HOUR = 3600.0
INTENTS = ("first", "second")


class History:
    """A sequence of events, noted for hypothesis to show when a rule fails."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.is_broken = False
        """Whether a rule is broken, or is being checked."""
        self._asides: list[tuple[SimulatedProcess, list[Outcome]]] = []

    @classmethod
    @contextmanager
    def created(cls, user_limits: UserLimits) -> Iterator[History]:
        """A history in a new environment."""
        with (
            tempfile.TemporaryDirectory(prefix="imagegen-") as root,
            Environment.created(Path(root), user_limits) as environment,
        ):
            yield cls(environment)

    def run_process(
        self,
        what: str,
        keys: Sequence[str],
        script: Sequence[Answer] = (),
        faults: Sequence[Fault] = (),
        *,
        intent: str | None = None,
        meanwhile: Callable[[], None] = lambda: None,
        collect: bool = False,
        user_limits: UserLimits | None = None,
        known_dead: bool = True,
    ) -> list[Outcome]:
        """Run one process; see ``Environment.run_process``."""
        self.is_broken = True
        process = self.environment.process(what, script, faults=faults, meanwhile=meanwhile)
        outcomes = self.environment.run_process(
            process,
            keys,
            intent=intent,
            collect=collect,
            user_limits=user_limits,
            known_dead=known_dead,
        )
        for lived in (*self._asides, (process, outcomes)):
            _note_history(*lived)
        for lived in (*self._asides, (process, outcomes)):
            _check_errors(*lived)
        self._asides.clear()
        if not process.is_dead:
            assert sorted(outcome.item_key for outcome in outcomes) == sorted(keys)
        check(self.environment)
        self.is_broken = False
        return outcomes

    def run_meanwhile(
        self,
        keys: Sequence[str],
        script: Sequence[Answer],
        faults: Sequence[Fault],
        intent: str | None,
    ) -> None:
        """Run another process while the first one sleeps past the expiry of its leases."""
        self.environment.sleep()
        process = self.environment.process("another run", script, faults=faults)
        self._asides.append((process, self.environment.run_process(process, keys, intent=intent)))

    def decide(self, key: str, decision: Decision) -> None:
        """Apply a user's decision."""
        self.is_broken = True
        accepted = self.environment.decide(key, decision)
        note(f"a user: {decision} {key}{'' if accepted else ': refused'}")
        check(self.environment)
        self.is_broken = False

    def end(self) -> None:
        """End all faults: every item gets its image, and no attempt stays open."""
        environment = self.environment
        environment.simulated_provider.repair()
        environment.clock.advance(72 * HOUR)
        self._settle()
        self.run_process("the last collector", KEYS, collect=True)
        check(environment, IN_THE_END)
        bills = len(environment.simulated_provider.bills)
        self._settle()
        assert len(environment.simulated_provider.bills) == bills, "a settled item was bought again"
        check(environment, IN_THE_END)

    def _settle(self) -> None:
        """Request once more everything that was ever requested, without limits."""
        for intent in (None, *INTENTS):
            keys = [key for key in KEYS if (key, intent) in self.environment.requested]
            if not keys:
                continue
            free = UserLimits(self.environment.user_limits.on_unknown)
            for outcome in self.run_process("a last run", keys, intent=intent, user_limits=free):
                assert outcome.ok or outcome.status is Status.HELD, outcome


def _note_history(process: SimulatedProcess, outcomes: list[Outcome]) -> None:
    steps = [(step, len(list(times))) for step, times in groupby(process.steps_taken)]
    summary = ", ".join(f"{step} x{times}" if times > 1 else step for step, times in steps)
    note(f"{process.name}: {summary}")
    for outcome in outcomes:
        note(f"    {outcome.item_key}: {outcome.status} {outcome.error or ''}".rstrip())


def _check_errors(process: SimulatedProcess, outcomes: list[Outcome]) -> None:
    """Fail for an error that no fault of the process can have caused."""
    excused = {
        "internal": False,
        "attempt_moved": process.has("asleep"),  # another has brought it home meanwhile
        "lease_lost": False,
        "store": process.has("full", "disk."),
        "ledger": process.has("full", "attempts.") or process.has("full", "leases."),
    }
    for outcome in outcomes:
        assert excused.get(outcome.error_kind or "", True), outcome.error
