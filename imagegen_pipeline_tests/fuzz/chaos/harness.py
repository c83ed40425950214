"""One run of a variant: batches in worker processes that are killed and restarted."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

from imagegen_pipeline_tests.conftest import Simulator, until
from imagegen_pipeline_tests.fuzz.chaos.evidence import (
    Evidence,
    FileIntegrity,
    Finish,
    collect_evidence,
)
from imagegen_pipeline_tests.fuzz.chaos.kill_points import KillPoint, Watch, draw_kill_point
from imagegen_pipeline_tests.fuzz.chaos.ledger_reading import UNKNOWN, ids_in, open_states
from imagegen_pipeline_tests.fuzz.chaos.provider_process import provider_process
from imagegen_pipeline_tests.fuzz.chaos.rules import unsettled, violations
from imagegen_pipeline_tests.fuzz.chaos.scratch import Round, Scratch, SourceItem, make_scratch
from imagegen_pipeline_tests.fuzz.chaos.variants import Variant
from imagegen_pipeline_tests.fuzz.chaos.worker import start_worker

WORKER_TIMEOUT = 120.0
"""Seconds within which a worker that is not killed must end."""
SHOWN = 5
"""Violations of each rule that a report shows."""
MOST_REPEATS = 3
"""Times that a batch is restarted while items stay open, before that counts as the end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Parameters of a run; the same seed draws the same kill points."""

    variant: Variant
    items: int
    kills: int
    seed: int


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run: the evidence and the violations."""

    plan: Plan
    rounds: int
    kills: int
    killed_in: Counter[str]
    """States in which kills left attempts, with counts."""
    seconds: float
    evidence: Evidence
    broken: dict[str, list[str]]

    @property
    def report(self) -> str:
        """All violations and the command that repeats the run; empty if there are none."""
        if not any(self.broken.values()):
            return ""
        lines = []
        for rule, faults in self.broken.items():
            lines += [f"{rule}: {fault}" for fault in faults[:SHOWN]]
            if len(faults) > SHOWN:
                lines.append(f"{rule}: and {len(faults) - SHOWN} more")
        plan = self.plan
        again = (
            f"python -m imagegen_pipeline_tests.fuzz.chaos --variant {plan.variant.name} "
            f"--items {plan.items} --kills {plan.kills} --seed {plan.seed} --keep FOLDER"
        )
        return "\n".join([f"{plan.variant.title}: broken rules", *lines, f"Again: {again}"])


def run(plan: Plan, folder: Path, log: Callable[[str], None] = lambda _line: None) -> Run:
    """Kill and restart until ``plan.kills`` kills are done and every batch has ended."""
    begun = time.monotonic()
    with provider_process(folder / "provider_process", plan.variant) as simulator:
        scratch = make_scratch(folder / "project", plan.variant, simulator.url)
        chaos = _Chaos(plan, scratch, simulator, folder / "workers", log)
        try:
            chaos.run()
        finally:
            chaos.end_all()
        evidence = collect_evidence(scratch, simulator, chaos.finish)
    return Run(
        plan=plan,
        rounds=chaos.rounds,
        kills=chaos.kills,
        killed_in=chaos.killed_in,
        seconds=time.monotonic() - begun,
        evidence=evidence,
        broken=violations(evidence),
    )


@dataclass
class _Worker:
    """A worker slot and the process that has it now."""

    process: BaseProcess
    log: Path
    begun: float

    @property
    def alive(self) -> bool:
        return self.process.exitcode is None


@dataclass
class _Chaos:
    plan: Plan
    scratch: Scratch
    simulator: Simulator
    logs: Path
    log: Callable[[str], None]
    rounds: int = 0
    kills: int = 0
    source_items: list[SourceItem] = field(default_factory=list)
    in_flight: set[int] = field(default_factory=set)
    worker_errors: list[str] = field(default_factory=list)
    killed_in: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._numbers = count(1)
        self._chance = random.Random(f"{self.plan.seed} {self.plan.variant.name}")  # noqa: S311
        self._watch = Watch(self.scratch, self.simulator)
        self._whole = FileIntegrity(self.scratch)
        self._workers: list[_Worker] = []

    @property
    def finish(self) -> Finish:
        """What only the harness knows."""
        return Finish(
            source_items=tuple(self.source_items),
            in_flight=frozenset(self.in_flight),
            incomplete=tuple(self._whole.incomplete),
            worker_errors=tuple(self.worker_errors),
        )

    def run(self) -> None:
        """Rounds of new items until the kills are done; the last one runs to its end."""
        is_settled = True
        while is_settled and (self.rounds == 0 or self.kills < self.plan.kills):
            self.rounds += 1
            wanted = self.scratch.write_round(self.rounds, self.plan.items)
            self.source_items += wanted.source_items
            is_settled = self._round(wanted)
            self.log(f"{self.plan.variant.name}: round {self.rounds}, {self.kills} kills")

    def _round(self, wanted: Round) -> bool:
        """One batch to its end; returns whether every item ended."""
        self._workers = [self._begin(wanted) for _ in range(self.plan.variant.workers)]
        while self.kills < self.plan.kills and not self._all_ended():
            kill_point = draw_kill_point(self._chance, self.plan.variant.latency)
            self._watch.wait_for(kill_point, self._all_ended)
            self._kill(self._victims(kill_point)[: self.plan.kills - self.kills])
            self._replace_the_killed(wanted)
        for _ in range(MOST_REPEATS):
            self._await_ends()
            if not unsettled(self.scratch, wanted.source_items):
                return True
            self._workers = [self._begin(wanted)]
        self._await_ends()
        return not unsettled(self.scratch, wanted.source_items)

    def _begin(self, wanted: Round) -> _Worker:
        log = self.logs / f"{next(self._numbers):04}.log"
        self._watch.worker_started()
        return _Worker(start_worker(self.scratch, wanted, log), log, time.monotonic())

    def _all_ended(self) -> bool:
        return not any(worker.alive for worker in self._workers)

    def _victims(self, kill_point: KillPoint) -> list[_Worker]:
        living = [worker for worker in self._workers if worker.alive]
        if kill_point.both or not living:
            return living
        if kill_point.mark == "start":
            return [max(living, key=lambda worker: worker.begun)]
        return [self._chance.choice(living)]

    def _kill(self, victims: list[_Worker]) -> None:
        ledger = self.scratch.ledger
        before = ids_in(ledger, *UNKNOWN)
        for victim in victims:
            victim.process.kill()
        for victim in victims:
            victim.process.join()
        killed = sum(victim.process.exitcode == -signal.SIGKILL for victim in victims)
        if not killed:
            return  # they had come to their ends before
        self.kills += killed
        self.killed_in.update(open_states(ledger))
        self._whole.check()
        # Another worker may have found out already what became unknown by this kill.
        self.in_flight |= ids_in(ledger, "submitting") | (ids_in(ledger, *UNKNOWN) - before)

    def _replace_the_killed(self, wanted: Round) -> None:
        for place, worker in enumerate(self._workers):
            if worker.process.exitcode == -signal.SIGKILL:
                self._workers[place] = self._begin(wanted)
                worker.process.close()

    def _await_ends(self) -> None:
        for worker in self._workers:
            worker.process.join(WORKER_TIMEOUT)
            if worker.alive:
                self._ask_where_it_hangs(worker)
            if worker.process.exitcode not in (0, 1):
                tail = worker.log.read_text("utf-8")[-2000:]
                self.worker_errors.append(
                    f"{worker.log.name} exited {worker.process.exitcode}: {tail}"
                )
            worker.process.close()
        self._workers = []

    def _ask_where_it_hangs(self, worker: _Worker) -> None:
        """Have the process write its stacks, then kill it."""
        size, pid = worker.log.stat().st_size, worker.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGUSR1)
        until(lambda: worker.log.stat().st_size > size, seconds=10)
        worker.process.kill()
        worker.process.join()

    def end_all(self) -> None:
        """End all processes."""
        for worker in self._workers:
            if worker.alive:
                worker.process.kill()
                worker.process.join()
        self._workers = []
