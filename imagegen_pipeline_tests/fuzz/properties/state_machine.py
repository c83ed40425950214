"""The events of a history, in any order that hypothesis chooses."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from imagegen_pipeline.ledger import Decision
from imagegen_pipeline_tests.fuzz.properties import strategies
from imagegen_pipeline_tests.fuzz.properties.environment import UserLimits
from imagegen_pipeline_tests.fuzz.properties.history import HOUR, History
from imagegen_pipeline_tests.fuzz.properties.simulated_process import Fault
from imagegen_pipeline_tests.fuzz.properties.simulated_provider import Answer


class Histories(RuleBasedStateMachine):
    """Runs, crashes and decisions on one ledger, then a final run without faults."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()

    @initialize(user_limits=strategies.user_limits)
    def environment_is_created(self, user_limits: UserLimits) -> None:
        """An empty folder and the user's settings."""
        self.history = self._stack.enter_context(History.created(user_limits))

    @rule(keys=strategies.items, intent=strategies.regenerates, script=strategies.scripts)
    def a_run(self, keys: list[str], intent: str | None, script: list[Answer]) -> None:
        """A process runs to its end."""
        self.history.run_process("a run", keys, script, intent=intent)

    @rule(
        keys=strategies.items,
        intent=strategies.regenerates,
        script=strategies.scripts,
        kill=strategies.kills,
        is_known=st.booleans(),
    )
    def a_run_is_killed(
        self,
        keys: list[str],
        intent: str | None,
        script: list[Answer],
        kill: Fault,
        is_known: bool,
    ) -> None:
        """SIGKILL at a step; whether the lease owner is known to be dead varies."""
        self.history.run_process(
            "a killed run", keys, script, [kill], intent=intent, known_dead=is_known
        )

    @rule(
        keys=strategies.items,
        intent=strategies.regenerates,
        script=strategies.scripts,
        stop=strategies.stops,
    )
    def a_run_is_stopped(
        self, keys: list[str], intent: str | None, script: list[Answer], stop: Fault
    ) -> None:
        """Ctrl-C, or Dagster's *terminate*."""
        self.history.run_process("a stopped run", keys, script, [stop], intent=intent)

    @rule(
        keys=strategies.items,
        intent=strategies.regenerates,
        script=strategies.scripts,
        full=strategies.full_disks,
        kill=strategies.perhaps_kills,
    )
    def a_disk_is_full(
        self,
        keys: list[str],
        intent: str | None,
        script: list[Answer],
        full: Fault,
        kill: Fault | None,
    ) -> None:
        """The disk of the ledger or of the images is full, once or from then on."""
        faults = [full, kill] if kill else [full]
        self.history.run_process("a run", keys, script, faults, intent=intent)

    @rule(
        keys=strategies.items,
        intent=strategies.regenerates,
        script=strategies.scripts,
        sleep=strategies.sleeps,
        others=strategies.items,
        other_script=strategies.scripts,
        other_kill=strategies.perhaps_kills,
    )
    def a_run_sleeps_past_its_leases(
        self,
        keys: list[str],
        intent: str | None,
        script: list[Answer],
        sleep: Fault,
        others: list[str],
        other_script: list[Answer],
        other_kill: Fault | None,
    ) -> None:
        """A process sleeps past the expiry of its leases, another one runs, then the first
        resumes.
        """
        faults = [other_kill] if other_kill else []
        meanwhile = partial(self.history.run_meanwhile, others, other_script, faults, intent)
        self.history.run_process(
            "a sleeper", keys, script, [sleep], intent=intent, meanwhile=meanwhile
        )

    @rule(keys=strategies.items, kill=strategies.perhaps_kills)
    def a_collector_runs(self, keys: list[str], kill: Fault | None) -> None:
        """A process collects what is ready, sends nothing, and may be killed."""
        simulated_provider = self.history.environment.simulated_provider
        before = len(simulated_provider.requests)
        self.history.run_process("a collector", keys, (), [kill] if kill else [], collect=True)
        assert len(simulated_provider.requests) == before, "a collector sent something"

    @rule(key=strategies.keys, decision=st.sampled_from(Decision))
    def a_user_decides(self, key: str, decision: Decision) -> None:
        """``imagegen resolve``."""
        self.history.decide(key, decision)

    @rule(seconds=st.sampled_from((61.0, 700.0, 1.1 * HOUR, 25 * HOUR)))
    def time_passes(self, seconds: float) -> None:
        """Leases expire, URLs age, days change."""
        self.history.environment.clock.advance(seconds)

    @rule()
    def retention_ends(self) -> None:
        """Everything not yet collected is deleted."""
        self.history.environment.clock.advance(2 * HOUR)
        self.history.environment.simulated_provider.end_retention()

    def teardown(self) -> None:
        """The final run, unless a rule is already broken."""
        with self._stack:
            if not self.history.is_broken:
                self.history.end()
