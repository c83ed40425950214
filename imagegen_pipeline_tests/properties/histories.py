"""What can happen, in any order: the rules by which hypothesis makes up a history."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from imagegen_pipeline.ledger import Decision
from imagegen_pipeline_tests.properties import drawn
from imagegen_pipeline_tests.properties.history import HOUR, History
from imagegen_pipeline_tests.properties.life import Mishap
from imagegen_pipeline_tests.properties.witness import Answer
from imagegen_pipeline_tests.properties.world import Terms


class Histories(RuleBasedStateMachine):
    """Runs, crashes and decisions on one ledger, until a last run that nothing befalls."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()

    @initialize(terms=drawn.terms)
    def a_world_begins(self, terms: Terms) -> None:
        """An empty folder, and what the user allows."""
        self.history = self._stack.enter_context(History.beginning(terms))

    @rule(keys=drawn.items, again=drawn.regenerates, script=drawn.scripts)
    def a_run(self, keys: list[str], again: str | None, script: list[Answer]) -> None:
        """A process runs to its end."""
        self.history.live("a run", keys, script, again=again)

    @rule(
        keys=drawn.items,
        again=drawn.regenerates,
        script=drawn.scripts,
        kill=drawn.kills,
        is_known=st.booleans(),
    )
    def a_run_is_killed(
        self,
        keys: list[str],
        again: str | None,
        script: list[Answer],
        kill: Mishap,
        is_known: bool,
    ) -> None:
        """SIGKILL at a step; it may or may not be known that the owner of its leases is dead."""
        self.history.live("a killed run", keys, script, [kill], again=again, known_dead=is_known)

    @rule(keys=drawn.items, again=drawn.regenerates, script=drawn.scripts, stop=drawn.stops)
    def a_run_is_stopped(
        self, keys: list[str], again: str | None, script: list[Answer], stop: Mishap
    ) -> None:
        """Ctrl-C, or Dagster's *terminate*."""
        self.history.live("a stopped run", keys, script, [stop], again=again)

    @rule(
        keys=drawn.items,
        again=drawn.regenerates,
        script=drawn.scripts,
        full=drawn.full_disks,
        kill=drawn.perhaps_kills,
    )
    def a_disk_is_full(
        self,
        keys: list[str],
        again: str | None,
        script: list[Answer],
        full: Mishap,
        kill: Mishap | None,
    ) -> None:
        """The disk of the ledger or of the pictures takes nothing, once or from then on."""
        mishaps = [full, kill] if kill else [full]
        self.history.live("a run", keys, script, mishaps, again=again)

    @rule(
        keys=drawn.items,
        again=drawn.regenerates,
        script=drawn.scripts,
        nap=drawn.naps,
        others=drawn.items,
        other_script=drawn.scripts,
        other_kill=drawn.perhaps_kills,
    )
    def a_run_oversleeps(
        self,
        keys: list[str],
        again: str | None,
        script: list[Answer],
        nap: Mishap,
        others: list[str],
        other_script: list[Answer],
        other_kill: Mishap | None,
    ) -> None:
        """A process sleeps past the end of its leases, another one works, and it wakes."""
        mishaps = [other_kill] if other_kill else []
        meanwhile = partial(self.history.aside, others, other_script, mishaps, again)
        self.history.live("a sleeper", keys, script, [nap], again=again, meanwhile=meanwhile)

    @rule(keys=drawn.items, kill=drawn.perhaps_kills)
    def the_collector_looks(self, keys: list[str], kill: Mishap | None) -> None:
        """A process brings home what is ready, sends nothing, and may be killed."""
        witness = self.history.world.witness
        before = len(witness.requests)
        self.history.live("a collector", keys, (), [kill] if kill else [], collect=True)
        assert len(witness.requests) == before, "a collector sent something"

    @rule(key=drawn.keys, decision=st.sampled_from(Decision))
    def a_person_decides(self, key: str, decision: Decision) -> None:
        """``imagegen resolve``."""
        self.history.decide(key, decision)

    @rule(seconds=st.sampled_from((61.0, 700.0, 1.1 * HOUR, 25 * HOUR)))
    def time_passes(self, seconds: float) -> None:
        """Leases end, URLs grow old, days change."""
        self.history.world.clock.advance(seconds)

    @rule()
    def the_service_forgets(self) -> None:
        """What was not collected in time is deleted."""
        self.history.world.clock.advance(2 * HOUR)
        self.history.world.witness.forget()

    def teardown(self) -> None:
        """The last run, unless a rule is broken already."""
        with self._stack:
            if not self.history.is_broken:
                self.history.end()
