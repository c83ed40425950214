"""What outlives a simulated process: the ledger, the disk, the provider and the clock."""

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
from imagegen_pipeline_tests.fuzz.properties.simulated_process import (
    Killed,
    SimulatedProcess,
    StepProxy,
)
from imagegen_pipeline_tests.fuzz.properties.simulated_provider import (
    ENDPOINT,
    PRICE,
    SIDE,
    UNREADABLE,
    Answer,
    Request,
    SimulatedProvider,
)
from imagegen_pipeline_tests.unit.ledger.ledger_rows import prompt, scan

NOON = 1_700_006_400.0 + 43_200
"""Noon (UTC, in seconds since the epoch), so that no history starts near the end of a day."""
PICTURES = "pictures"
KEYS = ("boat", "left", "right", "sailor")
"""``left`` and ``right`` request the same image; ``sailor`` a random one at a fixed path."""
PUBLISHED = "sailor/base.png"
_LEASE_WAIT, _LIMIT_WAIT = 20.0, 300.0
"""Seconds that a process waits when a lease is taken, or when a limit is reached."""
_DAY, _JOB, _ANSWER = 86_400.0, 1800.0, 130.0
"""Seconds of a day; seconds that a job, or a request without an answer, counts as in flight."""
BILLING = ("job", "picture", "billed, no answer", UNREADABLE)


@dataclass(frozen=True)
class UserLimits:
    """Settings of the user; every image has a price of 1."""

    on_unknown: Literal["resubmit", "hold"] = "resubmit"
    budget: Budget = field(default_factory=Budget)
    in_flight: int | None = None


def image_task(key: str) -> ImageTask:
    """The task of an item, the same each time."""
    text = "pair" if key in ("left", "right") else key
    seed = -1 if key == "sailor" else 7
    asked = GenerationRequest("duomi", "m", f"a {text}", SIDE, SIDE, 20, 7.5, seed)
    if key == "sailor":
        return ImageTask(key, "actor", asked, "sailor/history", "sailor_base", publish=PUBLISHED)
    return ImageTask(key, "prompt", asked, PICTURES, key)


def _as_sent(attempt: Attempt) -> ImageTask:
    asked = GenerationRequest(**attempt.request)
    return replace(image_task(attempt.item_key), request=asked, own=attempt.fingerprint)


class SharedClock:
    """The clock of all processes and of the database."""

    def __init__(self) -> None:
        self._now = NOON

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    time = now

    def monotonic(self) -> float:
        """Seconds since the environment was created."""
        return self._now - NOON

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._now += seconds


class LedgerView:
    """The ledger as one process opens it, or as the test does.

    All views share one SQLAlchemy engine, which caches compiled statements only.
    """

    def __init__(self, database: Database, process: SimulatedProcess | None = None) -> None:
        leases = LeaseRepository(database)
        attempts = AttemptRepository(database, leases)
        self.items = ItemRepository(database)
        self.decisions = DecisionRepository(database)
        self.reviews = ReviewRepository(database)
        self.leases = leases if process is None else StepProxy(process, "leases", leases)
        self.attempts = attempts if process is None else StepProxy(process, "attempts", attempts)


class Environment:
    """Shared state, and a record of what each process did."""

    def __init__(self, root: Path, user_limits: UserLimits) -> None:
        self.root = root
        self.user_limits = user_limits
        self.clock = SharedClock()
        self.simulated_provider = SimulatedProvider()
        self._database = Database(f"sqlite:///{root}/ledger.db")
        self.ledger = LedgerView(self._database)
        self.ledger.items.record(scan(*(prompt(key) for key in KEYS)))
        self.tick = 0
        self.called_unknown: dict[int, int] = {}
        """Attempts recorded as unknown, with the tick."""
        self.answered: dict[int, int] = {}
        """Attempts whose answer was recorded in the ledger, with the tick."""
        self.decisions: dict[int, list[tuple[int, Decision]]] = defaultdict(list)
        """The user's decisions about each attempt, with the tick."""
        self.requested: set[tuple[str, str | None]] = set()
        """Requested items, each with the intent of its regenerate or None."""
        self.broken_rules: list[str] = []
        """Violations seen at the moment when they happened."""
        self.files: dict[Path, str] = {}
        """Digests of the images on disk at the last check."""
        self._processes: list[SimulatedProcess] = []
        self._names = 0
        self._holders: dict[str, str] = {}
        self._leases: dict[str, Lease] = {}
        self._dead_owners: set[str] = set()

    @property
    def store(self) -> LocalStore:
        """The picture store, opened by no process."""
        return LocalStore(self.root)

    @classmethod
    @contextmanager
    def created(cls, root: Path, user_limits: UserLimits) -> Iterator[Environment]:
        """A new environment in an empty folder."""
        environment = cls(root, user_limits)
        parts: list[Any] = [
            mock.patch.object(Database, "now", environment.database_now),
            mock.patch("imagegen_pipeline.ledger.attempts.time", environment.clock),
            mock.patch("imagegen_pipeline.ledger.leases.is_dead", environment.is_dead),
        ]
        real: dict[str, Any] = {name: getattr(os, name) for name in ("link", "replace", "unlink")}
        # What is in a temporary folder need not outlast a power cut.
        real["fsync"] = lambda _handle: None
        parts += [
            mock.patch.object(os, name, environment.on_disk(name, real[name])) for name in real
        ]
        for part in parts:
            part.start()
        try:
            with closing(environment._database):
                yield environment
        finally:
            for part in parts:
                part.stop()

    def on_disk(self, name: str, call: Callable[..., None]) -> Callable[..., None]:
        """An operating system call, recorded as a step of the running process."""

        def step(*given: Any, **named: Any) -> None:
            effect = partial(call, *given, **named)
            if self._processes:
                self._processes[-1].step(f"disk.{name}", effect)
            else:
                effect()

        return step

    def database_now(self) -> ColumnElement[float]:
        """See ``Database.now``: the database uses the shared clock."""
        return bindparam(None, callable_=self.clock.now, type_=Float)  # asked at each execution

    def is_dead(self, owner: str) -> bool:
        """Whether the owner of a lease is known to be dead."""
        return owner in self._dead_owners

    def process(self, what: str, answers: Sequence[Answer] = (), **more: Any) -> SimulatedProcess:
        """A process that has not started."""
        self._names += 1
        return SimulatedProcess(self, f"{what} {self._names}", answers, **more)

    def run_process(
        self,
        process: SimulatedProcess,
        keys: Sequence[str],
        *,
        intent: str | None = None,
        collect: bool = False,
        user_limits: UserLimits | None = None,
        known_dead: bool = True,
    ) -> list[Outcome]:
        """Run a batch to its end; returns no outcomes if the process is killed.

        ``intent`` is the intent of a regenerate. With ``known_dead``, others see at once that the
        process died, and need not wait for its lease to expire.
        """
        self.requested |= {(key, intent) for key in keys if not collect}
        order = BatchOptions(
            intent=intent or process.name,
            regenerate=intent is not None,
            concurrency=1,
            collect_only=collect,
        )
        self._processes.append(process)
        outcomes: list[Outcome] = []
        try:
            process.user_limits = user_limits or self.user_limits
            process.batch = generate(
                self._context(process), [image_task(key) for key in keys], order
            )
            try:
                outcomes += process.batch
            except Killed:
                _drain(process.batch)
                outcomes = []
        finally:
            self._processes.pop()
        if process.is_dead and known_dead:
            self._dead_owners |= process.owners
        return outcomes

    def _context(self, process: SimulatedProcess) -> EngineContext:
        connection, user_limits = ProviderConnection(self, process), process.user_limits
        return EngineContext(
            ledger=LedgerView(self._database, process),
            store=StepProxy(process, "store", self.store),
            provider=lambda _name: StepProxy(process, "provider", connection),
            downloader=StepProxy(process, "downloader", connection),
            prices=Prices({"duomi": {"*": PRICE}}, price_models()),
            on_unknown=user_limits.on_unknown,
            as_sent=_as_sent,
            limits=lambda _name: Limits(in_flight=user_limits.in_flight),
            budget=user_limits.budget,
            clock=process,
        )

    def decide(self, key: str, decision: Decision) -> bool:
        """Apply a user's decision as ``imagegen resolve`` does; returns whether it was accepted."""
        if self.ledger.leases.acquire([f"item:{key}"], "a person") is None:
            return False
        before = set(self.attempts(key))
        try:
            self.ledger.decisions.decide(key, decision)
        except DecisionError:
            return False
        finally:
            self.ledger.leases.release("a person")
        self.tick += 1
        for attempt in set(self.attempts(key)) - before:
            self.decisions[attempt[0]].append((self.tick, decision))
        return True

    def attempts(self, key: str) -> list[tuple[int, str, str | None]]:
        """Id, state and error kind of an item's attempts."""
        rows = [row for row, _ in self.ledger.attempts.rows() if row.item_key == key]
        return [(row.id, row.state, row.error_kind) for row in rows]

    def may_be_made_again(self, attempt: int, tick: int) -> bool:
        """Whether the user's last decision by then allowed a new attempt."""
        return self._last_decision(attempt, tick) in (Decision.RESUBMIT, Decision.ALLOW_RETRY)

    def is_given_up(self, attempt: int, tick: int) -> bool:
        """Whether the user's last decision by then was to give up."""
        return self._last_decision(attempt, tick) is Decision.GIVE_UP

    def _last_decision(self, attempt: int, tick: int) -> Decision | None:
        return next(
            (decision for then, decision in self.decisions[attempt][::-1] if then < tick), None
        )

    def is_in_doubt(self, attempt: int, tick: int) -> bool:
        """Whether the attempt was unknown at that tick: its answer may still come."""
        called, answered = self.called_unknown.get(attempt), self.answered.get(attempt)
        return called is not None and called < tick and (answered is None or answered > tick)

    def sleep(self) -> None:
        """Move the clock past the expiry of every lease that is not renewed."""
        self.clock.advance(LEASE_SECONDS + 1)

    def record_step(
        self, process: SimulatedProcess, step: str, given: tuple[Any, ...], result: Any
    ) -> None:
        """Record a step of a process."""
        self.tick += 1
        if step == "leases.acquire":
            if result is None:
                process.wait_seconds = _LEASE_WAIT
                return
            process.owners.add(result.owner)
            process.held.add(result.owner)
            self._leases[result.owner] = result
            self._holders |= dict.fromkeys(result.names, result.owner)
        elif step == "attempts.start":
            if isinstance(result, Attempt):
                self._leaves(process, result, given[1].lease)
            else:
                process.wait_seconds = _LIMIT_WAIT
        elif step in ("attempts.submitted", "attempts.completed", "attempts.stored"):
            self.answered.setdefault(given[0].id, self.tick)
        elif step == "attempts.unknown":
            self.called_unknown.setdefault(given[0].id, self.tick)

    def _leaves(self, process: SimulatedProcess, attempt: Attempt, lease: Lease) -> None:
        process.sending = attempt
        for name in lease.names:
            if self._holders.get(name) != lease.owner:
                self.broken_rules.append(
                    f"{process.name} sends attempt {attempt.id} although another had {name} since"
                )


class ProviderConnection:
    """The provider as one process reaches it."""

    name = "duomi"
    endpoint = ENDPOINT

    def __init__(self, environment: Environment, process: SimulatedProcess) -> None:
        self._environment = environment
        self._process = process
        self.poll, self.cancel = (
            environment.simulated_provider.poll,
            environment.simulated_provider.cancel,
        )
        self.health, self.fetch = (
            environment.simulated_provider.health,
            environment.simulated_provider.fetch,
        )

    def submit(self, asked: GenerationRequest) -> Any:
        """Receive a request."""
        environment, process = self._environment, self._process
        attempt, process.sending = process.sending, None
        if attempt is None:
            environment.broken_rules.append(
                f"{process.name} sends {asked.prompt!r}: no attempt records it"
            )
            raise Killed
        if attempt.sent_request != asked:
            environment.broken_rules.append(
                f"{process.name} sends {asked} for attempt {attempt.id}"
            )
        answer = process.next_answer(Answer())
        request = Request(
            number=len(environment.simulated_provider.requests) + 1,
            attempt=attempt.id,
            process=process.name,
            answer=answer,
            tick=environment.tick,
            intent=attempt.intent,
            left_at=attempt.submitted_at or 0.0,
        )
        if not process.is_late and answer.submit in BILLING:
            environment.broken_rules += _limits_crossed(environment, process.user_limits, request)
        process.is_late = False
        return environment.simulated_provider.submit(request)


def _limits_crossed(
    environment: Environment, user_limits: UserLimits, request: Request
) -> Iterator[str]:
    """The limits that this request exceeds, by the provider's own count."""
    bills, now = environment.simulated_provider.bills, environment.clock.now()
    spent = sum(PRICE for bill in bills if bill.intent == request.intent)
    if user_limits.budget.run is not None and spent + PRICE > user_limits.budget.run:
        yield f"{request} crosses the run's budget"
    spent = sum(PRICE for bill in bills if bill.left_at // _DAY == request.left_at // _DAY)
    if user_limits.budget.day is not None and spent + PRICE > user_limits.budget.day:
        yield f"{request} crosses the day's budget"
    running = [
        job
        for job in environment.simulated_provider.in_flight
        if job.attempt not in environment.called_unknown
        and job.left_at > now - (_JOB if job.attempt in environment.answered else _ANSWER)
    ]
    if user_limits.in_flight is not None and len(running) >= user_limits.in_flight:
        yield f"{request} is one too many in flight"


def _drain(batch: Batch) -> None:
    """End the threads of a killed process; each of its items raises ``Killed``."""
    batch.stop()
    while True:
        try:
            for _ in batch:
                pass
        except Killed:
            continue
        return
