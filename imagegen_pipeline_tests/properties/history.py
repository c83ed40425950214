"""A history: lives in one world, checked after each, and the last run that ends it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from hypothesis import note

from imagegen_pipeline.domain.requests import Outcome, Status
from imagegen_pipeline.ledger import Decision
from imagegen_pipeline_tests.properties.life import Life, Mishap
from imagegen_pipeline_tests.properties.rules import IN_THE_END, check
from imagegen_pipeline_tests.properties.witness import Answer
from imagegen_pipeline_tests.properties.world import KEYS, Terms, World

HOUR = 3600.0
INTENTS = ("first", "second")


class History:
    """What happens in a world, told in notes that hypothesis shows for a failure."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_broken = False
        """Whether a rule is broken, or being looked at."""
        self._asides: list[tuple[Life, list[Outcome]]] = []

    @classmethod
    @contextmanager
    def beginning(cls, terms: Terms) -> Iterator[History]:
        """A new world in a folder of its own."""
        with (
            tempfile.TemporaryDirectory(prefix="imagegen-") as root,
            World.beginning(Path(root), terms) as world,
        ):
            yield cls(world)

    def live(
        self,
        what: str,
        keys: Sequence[str],
        script: Sequence[Answer] = (),
        mishaps: Sequence[Mishap] = (),
        *,
        again: str | None = None,
        meanwhile: Callable[[], None] = lambda: None,
        collect: bool = False,
        terms: Terms | None = None,
        known_dead: bool = True,
    ) -> list[Outcome]:
        """One process from its start to its end or death; see ``World.live``."""
        self.is_broken = True
        life = self.world.life(what, script, mishaps=mishaps, meanwhile=meanwhile)
        outcomes = self.world.live(
            life, keys, again=again, collect=collect, terms=terms, known_dead=known_dead
        )
        for lived in (*self._asides, (life, outcomes)):
            _tell(*lived)
        for lived in (*self._asides, (life, outcomes)):
            _blame(*lived)
        self._asides.clear()
        if not life.is_dead:
            assert sorted(outcome.item_key for outcome in outcomes) == sorted(keys)
        check(self.world)
        self.is_broken = False
        return outcomes

    def aside(
        self,
        keys: Sequence[str],
        script: Sequence[Answer],
        mishaps: Sequence[Mishap],
        again: str | None,
    ) -> None:
        """Another process's life, while one that is told of sleeps past the end of its leases."""
        self.world.sleep()
        life = self.world.life("another run", script, mishaps=mishaps)
        self._asides.append((life, self.world.live(life, keys, again=again)))

    def decide(self, key: str, decision: Decision) -> None:
        """A person decides of an item."""
        self.is_broken = True
        note(f"a person: {decision} {key}{'' if self.world.decide(key, decision) else ': not now'}")
        check(self.world)
        self.is_broken = False

    def end(self) -> None:
        """Nothing goes wrong any more: every item gets its picture, and then nothing is left."""
        world = self.world
        world.witness.heal()
        world.clock.advance(72 * HOUR)
        self._settle()
        self.live("the last collector", KEYS, collect=True)
        check(world, IN_THE_END)
        bills = len(world.witness.bills)
        self._settle()
        assert len(world.witness.bills) == bills, "a settled item was bought again"
        check(world, IN_THE_END)

    def _settle(self) -> None:
        """Ask once more for everything that was ever asked for, with no limits."""
        for again in (None, *INTENTS):
            keys = [key for key in KEYS if (key, again) in self.world.wishes]
            if not keys:
                continue
            free = Terms(self.world.terms.on_unknown)
            for outcome in self.live("a last run", keys, again=again, terms=free):
                assert outcome.ok or outcome.status is Status.HELD, outcome


def _tell(life: Life, outcomes: list[Outcome]) -> None:
    steps = [(step, len(list(times))) for step, times in groupby(life.story)]
    told = ", ".join(f"{step} x{times}" if times > 1 else step for step, times in steps)
    note(f"{life.name}: {told}")
    for outcome in outcomes:
        note(f"    {outcome.item_key}: {outcome.status} {outcome.error or ''}".rstrip())


def _blame(life: Life, outcomes: list[Outcome]) -> None:
    """Fail for an error that nothing in the process's life can have caused."""
    excused = {
        "internal": False,
        "attempt_moved": life.has("asleep"),  # another has brought it home meanwhile
        "lease_lost": False,
        "store": life.has("full", "disk."),
        "ledger": life.has("full", "attempts.") or life.has("full", "leases."),
    }
    for outcome in outcomes:
        assert excused.get(outcome.error_kind or "", True), outcome.error
