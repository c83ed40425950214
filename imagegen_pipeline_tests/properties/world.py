"""Where lives follow each other: one ledger, one disk, one service, one clock."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from sqlalchemy import Float, bindparam
from sqlalchemy.sql.elements import ColumnElement

from imagegen_pipeline.domain.errors import DecisionError
from imagegen_pipeline.domain.limits import Budget, Limits
from imagegen_pipeline.domain.prices import Prices
from imagegen_pipeline.domain.requests import Attempt, GenerationRequest, Outcome
from imagegen_pipeline.engine import Batch, BatchOptions, EngineContext, ImageTask, generate
from imagegen_pipeline.ledger import (
    AttemptRepository,
    Decision,
    DecisionRepository,
    ItemRepository,
    LeaseRepository,
)
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.leases import LEASE_SECONDS, Lease
from imagegen_pipeline.ledger.reviews import ReviewRepository
from imagegen_pipeline.providers.registry import price_models
from imagegen_pipeline.storage.pictures import LocalStore
from imagegen_pipeline_tests.ledger.ledger_rows import prompt, scan
from imagegen_pipeline_tests.properties.life import Door, Killed, Life
from imagegen_pipeline_tests.properties.witness import (
    ENDPOINT,
    PRICE,
    SIDE,
    UNREADABLE,
    Answer,
    Request,
    Witness,
)

NOON = 1_700_006_400.0 + 43_200
"""A noon (UTC, in seconds since the epoch): no history begins near the end of a day."""
PICTURES = "pictures"
KEYS = ("boat", "left", "right", "sailor")
"""``left`` and ``right`` ask for the same picture, ``sailor`` for a random one at a fixed path."""
PUBLISHED = "sailor/base.png"
_LEASE_LOOK, _DOOR_LOOK = 20.0, 300.0
"""Seconds that pass when a process finds a lease taken, or a limit reached."""
_DAY, _JOB, _ANSWER = 86_400.0, 1800.0, 130.0
"""Seconds of a day, and for which a job, or a request without an answer, counts as in flight."""
BILLING = ("job", "picture", "billed, no answer", UNREADABLE)


@dataclass(frozen=True)
class Terms:
    """What the user allows: of money, pictures at a price of 1."""

    on_unknown: Literal["resubmit", "hold"] = "resubmit"
    budget: Budget = field(default_factory=Budget)
    in_flight: int | None = None


def wanted(key: str) -> ImageTask:
    """What is asked for an item, the same each time."""
    text = "twins" if key in ("left", "right") else key
    seed = -1 if key == "sailor" else 7
    asked = GenerationRequest("duomi", "m", f"a {text}", SIDE, SIDE, 20, 7.5, seed)
    if key == "sailor":
        return ImageTask(key, "actor", asked, "sailor/history", "sailor_base", publish=PUBLISHED)
    return ImageTask(key, "prompt", asked, PICTURES, key)


def _as_sent(attempt: Attempt) -> ImageTask:
    asked = GenerationRequest(**attempt.request)
    return replace(wanted(attempt.item_key), request=asked, own=attempt.fingerprint)


class WorldClock:
    """The time that all processes and the database share."""

    def __init__(self) -> None:
        self._now = NOON

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    time = now

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return self._now - NOON

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._now += seconds


class Books:
    """A ledger as one process opens it, or as nobody's.

    The engine underneath is one for all, which keeps nothing but its compiled statements.
    """

    def __init__(self, database: Database, life: Life | None = None) -> None:
        leases = LeaseRepository(database)
        attempts = AttemptRepository(database, leases)
        self.items = ItemRepository(database)
        self.decisions = DecisionRepository(database)
        self.reviews = ReviewRepository(database)
        self.leases = leases if life is None else Door(life, "leases", leases)
        self.attempts = attempts if life is None else Door(life, "attempts", attempts)


class World:
    """What outlives every process, and what was seen of each."""

    def __init__(self, root: Path, terms: Terms) -> None:
        self.root = root
        self.terms = terms
        self.clock = WorldClock()
        self.witness = Witness()
        self._database = Database(f"sqlite:///{root}/ledger.db")
        self.books = Books(self._database)
        self.books.items.record(scan(*(prompt(key) for key in KEYS)))
        self.tick = 0
        self.called_unknown: dict[int, int] = {}
        """Attempts that were called unknown, and when (in ticks)."""
        self.answered: dict[int, int] = {}
        """Attempts whose answer the ledger was told of, and when."""
        self.decisions: dict[int, list[tuple[int, Decision]]] = defaultdict(list)
        """What a person decided of an attempt, and when."""
        self.wishes: set[tuple[str, str | None]] = set()
        """Each item that was asked for, and the intent of its regenerate or None."""
        self.broken_rules: list[str] = []
        """What was seen to be wrong at the moment when it happened."""
        self.files: dict[Path, str] = {}
        """Digests of the pictures on disk when they were last looked at."""
        self._lives: list[Life] = []
        self._names = 0
        self._holders: dict[str, str] = {}
        self._leases: dict[str, Lease] = {}
        self._dead_owners: set[str] = set()

    @property
    def store(self) -> LocalStore:
        """The store, as nobody's."""
        return LocalStore(self.root)

    @classmethod
    @contextmanager
    def beginning(cls, root: Path, terms: Terms) -> Iterator[World]:
        """A new world in an empty folder."""
        world = cls(root, terms)
        parts: list[Any] = [
            mock.patch.object(Database, "now", world.database_now),
            mock.patch("imagegen_pipeline.ledger.attempts.time", world.clock),
            mock.patch("imagegen_pipeline.ledger.leases.is_dead", world.is_dead),
        ]
        real: dict[str, Any] = {name: getattr(os, name) for name in ("link", "replace", "unlink")}
        # What is in a temporary folder need not outlast a power cut.
        real["fsync"] = lambda _handle: None
        parts += [mock.patch.object(os, name, world.on_disk(name, real[name])) for name in real]
        for part in parts:
            part.start()
        try:
            with closing(world._database):
                yield world
        finally:
            for part in parts:
                part.stop()

    def on_disk(self, name: str, call: Callable[..., None]) -> Callable[..., None]:
        """A call of the operating system, as a step of whoever is alive now."""

        def step(*given: Any, **named: Any) -> None:
            effect = partial(call, *given, **named)
            if self._lives:
                self._lives[-1].step(f"disk.{name}", effect)
            else:
                effect()

        return step

    def database_now(self) -> ColumnElement[float]:
        """See ``Database.now``: the database is on the world's clock."""
        return bindparam(None, callable_=self.clock.now, type_=Float)  # asked at each execution

    def is_dead(self, owner: str) -> bool:
        """Whether the owner of a lease is known to have died."""
        return owner in self._dead_owners

    def life(self, what: str, answers: Sequence[Answer] = (), **more: Any) -> Life:
        """A process that is about to start."""
        self._names += 1
        return Life(self, f"{what} {self._names}", answers, **more)

    def live(
        self,
        life: Life,
        keys: Sequence[str],
        *,
        again: str | None = None,
        collect: bool = False,
        terms: Terms | None = None,
        known_dead: bool = True,
    ) -> list[Outcome]:
        """Let a process run a batch to its end; no outcomes when it dies before.

        ``again`` is the intent of a regenerate. ``known_dead``: others see at once that it
        died, and need not wait for the end of its lease.
        """
        self.wishes |= {(key, again) for key in keys if not collect}
        order = BatchOptions(
            intent=again or life.name,
            regenerate=again is not None,
            concurrency=1,
            collect_only=collect,
        )
        self._lives.append(life)
        outcomes: list[Outcome] = []
        try:
            life.terms = terms or self.terms
            life.batch = generate(self._workshop(life), [wanted(key) for key in keys], order)
            try:
                outcomes += life.batch
            except Killed:
                _bury(life.batch)
                outcomes = []
        finally:
            self._lives.pop()
        if life.is_dead and known_dead:
            self._dead_owners |= life.owners
        return outcomes

    def _workshop(self, life: Life) -> EngineContext:
        line, terms = Line(self, life), life.terms
        return EngineContext(
            ledger=Books(self._database, life),
            store=Door(life, "store", self.store),
            provider=lambda _name: Door(life, "provider", line),
            downloader=Door(life, "downloader", line),
            prices=Prices({"duomi": {"*": PRICE}}, price_models()),
            on_unknown=terms.on_unknown,
            as_sent=_as_sent,
            limits=lambda _name: Limits(in_flight=terms.in_flight),
            budget=terms.budget,
            clock=life,
        )

    def decide(self, key: str, decision: Decision) -> bool:
        """A person's word, as ``imagegen resolve`` takes it; whether it was taken."""
        if self.books.leases.acquire([f"item:{key}"], "a person") is None:
            return False
        before = set(self.attempts(key))
        try:
            self.books.decisions.decide(key, decision)
        except DecisionError:
            return False
        finally:
            self.books.leases.release("a person")
        self.tick += 1
        for attempt in set(self.attempts(key)) - before:
            self.decisions[attempt[0]].append((self.tick, decision))
        return True

    def attempts(self, key: str) -> list[tuple[int, str, str | None]]:
        """Id, state and kind of error of an item's attempts."""
        rows = [row for row, _ in self.books.attempts.rows() if row.item_key == key]
        return [(row.id, row.state, row.error_kind) for row in rows]

    def may_be_made_again(self, attempt: int, tick: int) -> bool:
        """Whether a person had said so by then, and it was the last word."""
        return self._last_word(attempt, tick) in (Decision.RESUBMIT, Decision.ALLOW_RETRY)

    def is_given_up(self, attempt: int, tick: int) -> bool:
        """Whether a person had said so by then, and it was the last word."""
        return self._last_word(attempt, tick) is Decision.GIVE_UP

    def _last_word(self, attempt: int, tick: int) -> Decision | None:
        return next((said for then, said in self.decisions[attempt][::-1] if then < tick), None)

    def is_in_doubt(self, attempt: int, tick: int) -> bool:
        """Whether an attempt counted as unknown then: an answer may come late."""
        called, answered = self.called_unknown.get(attempt), self.answered.get(attempt)
        return called is not None and called < tick and (answered is None or answered > tick)

    def sleep(self) -> None:
        """Time passes until every lease has ended that nobody renews."""
        self.clock.advance(LEASE_SECONDS + 1)

    def saw(self, life: Life, step: str, given: tuple[Any, ...], result: Any) -> None:
        """Write down what a process did."""
        self.tick += 1
        if step == "leases.acquire":
            if result is None:
                life.patience = _LEASE_LOOK
                return
            life.owners.add(result.owner)
            life.held.add(result.owner)
            self._leases[result.owner] = result
            self._holders |= dict.fromkeys(result.names, result.owner)
        elif step in ("attempts.sending", "attempts.submitting"):
            if isinstance(result, Attempt):
                self._leaves(life, result, given[1].lease)
            else:
                life.patience = _DOOR_LOOK
        elif step in ("attempts.submitted", "attempts.completed"):
            self.answered.setdefault(given[0].id, self.tick)
        elif step == "attempts.unknown":
            self.called_unknown.setdefault(given[0].id, self.tick)

    def _leaves(self, life: Life, attempt: Attempt, lease: Lease) -> None:
        life.sending = attempt
        for name in lease.names:
            if self._holders.get(name) != lease.owner:
                self.broken_rules.append(
                    f"{life.name} sends attempt {attempt.id} although another had {name} since"
                )


class Line:
    """The service as one process reaches it."""

    name = "duomi"
    endpoint = ENDPOINT

    def __init__(self, world: World, life: Life) -> None:
        self._world = world
        self._life = life
        self.poll, self.cancel = world.witness.poll, world.witness.cancel
        self.health, self.fetch = world.witness.health, world.witness.fetch

    def submit(self, asked: GenerationRequest) -> Any:
        """A request arrives."""
        world, life = self._world, self._life
        attempt, life.sending = life.sending, None
        if attempt is None:
            world.broken_rules.append(f"{life.name} sends {asked.prompt!r}: no attempt says so")
            raise Killed
        if attempt.sent_request != asked:
            world.broken_rules.append(f"{life.name} sends {asked} for attempt {attempt.id}")
        answer = life.next_answer(Answer())
        request = Request(
            number=len(world.witness.requests) + 1,
            attempt=attempt.id,
            process=life.name,
            answer=answer,
            tick=world.tick,
            intent=attempt.intent,
            left_at=attempt.submitted_at or 0.0,
        )
        if not life.is_late and answer.submit in BILLING:
            world.broken_rules += _limits_crossed(world, life.terms, request)
        life.is_late = False
        return world.witness.submit(request)


def _limits_crossed(world: World, terms: Terms, request: Request) -> Iterator[str]:
    """What this request is too many for, by the witness's own count."""
    bills, now = world.witness.bills, world.clock.now()
    spent = sum(PRICE for bill in bills if bill.intent == request.intent)
    if terms.budget.run is not None and spent + PRICE > terms.budget.run:
        yield f"{request} crosses the run's budget"
    spent = sum(PRICE for bill in bills if bill.left_at // _DAY == request.left_at // _DAY)
    if terms.budget.day is not None and spent + PRICE > terms.budget.day:
        yield f"{request} crosses the day's budget"
    running = [
        job
        for job in world.witness.in_flight
        if job.attempt not in world.called_unknown
        and job.left_at > now - (_JOB if job.attempt in world.answered else _ANSWER)
    ]
    if terms.in_flight is not None and len(running) >= terms.in_flight:
        yield f"{request} is one too many in flight"


def _bury(batch: Batch) -> None:
    """End the threads of a process that is dead: each of its items finds that out."""
    batch.stop()
    while True:
        try:
            for _ in batch:
                pass
        except Killed:
            continue
        return
