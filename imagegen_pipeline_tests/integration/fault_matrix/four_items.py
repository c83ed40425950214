"""A batch of four items, the second of which has a fault, and what is observed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.errors import ImagegenError
from imagegen_pipeline.domain.requests import Attempt, GenerationRequest, Outcome
from imagegen_pipeline.engine import BatchOptions
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.providers.base import ProviderClient, Submission
from imagegen_pipeline.results.attempt_rows import result_rows
from imagegen_pipeline_tests.conftest import Project, Simulator, until
from imagegen_pipeline_tests.integration.engine.harness import (
    HOUR,
    PARAMETERS,
    RUN,
    SUBMIT,
    FakeClock,
)

NAMES = ("first", "second", "third", "fourth")
HIT = 1
"""The index of the item with the fault."""
GPT = replace(PARAMETERS, model="gpt-image-2", image_size="1024x640")
"""The smallest image of Duomi's asynchronous models."""


@dataclass(frozen=True)
class LedgerCounts:
    """What the ledger and the provider counted after a run. Lists are in the items' order."""

    attempts: list[list[Attempt]]
    """The ledger's rows, oldest first."""
    results: list[list[dict[str, Any]]]
    """The rows of the results table, oldest first."""
    bills: list[int]
    """Images that the provider billed."""
    accepted: list[int]
    """Requests that the provider accepted."""


@dataclass(frozen=True)
class Run:
    """One run over the items: outcomes in order, counts and waits.

    ``refused`` is the reason if the batch never began; a killed run has no outcomes either.
    """

    outcomes: tuple[Outcome, ...]
    ledger_counts: LedgerCounts
    waits: tuple[float, ...] = ()
    refused: ImagegenError | None = None

    @property
    def hit(self) -> Outcome:
        """The outcome of the item with the fault."""
        return self.outcomes[HIT]

    @property
    def statuses(self) -> list[str]:
        """The statuses of the other items."""
        return without_hit([str(outcome.status) for outcome in self.outcomes])


def without_hit(values: list[Any]) -> list[Any]:
    """The values of the other items."""
    return values[:HIT] + values[HIT + 1 :]


class ConcurrentAction:
    """A provider that runs ``action`` after it has answered the second item's submit."""

    def __init__(self, inner: ProviderClient, action: Callable[[], object]) -> None:
        self._inner = inner
        self._action = action

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def submit(self, request: GenerationRequest) -> Submission:
        """Submit, then run the action."""
        submission = self._inner.submit(request)
        if f"{NAMES[HIT]} of four" in request.prompt:
            self._action()
        return submission


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class FourItems:
    """Four items (or one for each of ``names``) of one provider in a scratch project."""

    project: Project
    simulator: Simulator
    provider: str
    names: tuple[str, ...] = NAMES

    @property
    def pictures(self) -> Path:
        """The folder of the provider's images."""
        runpod = self.provider.startswith("runpod")
        return self.project.results / ("actors" if runpod else "generated_images")

    def write(self) -> None:
        """Write the items into their source."""
        for folder, name in enumerate(self.names):
            text = f"{name} of four sailors"
            if self.provider.startswith("runpod"):
                self.project.write_actor(f"{folder:02}_{name}", description=text)
            else:
                self.project.write_json(f"{folder:02}_{name}", text)

    def script(self, at: str, *, name: str | None = NAMES[HIT], **fault: Any) -> None:
        """Script a fault ``at`` this operation for an item's requests (None: all items')."""
        provider = "files" if at == "download" else self.provider.partition("-")[0]
        match = {} if at == "health" or name is None else {"match": f"{name} of four"}
        self.simulator.fault(provider=provider, operation=at, **match, **fault)

    @contextmanager
    def opened(self, *, hours: float = 0.0) -> Iterator[tuple[Pipeline, FakeClock]]:
        """A pipeline as a new process opens it ``hours`` from now; its waits end at once."""
        clock = FakeClock(ahead=hours * HOUR)
        with closing(self.project.pipeline()) as pipeline:
            pipeline.engine_context = replace(pipeline.engine_context, clock=clock)
            yield pipeline, clock

    def run(
        self,
        *,
        count: int | None = None,
        hours: float = 0.0,
        before: Callable[[], object] = nothing,
        meanwhile: Callable[[], object] = nothing,
    ) -> Run:
        """Run one batch of all items (or the first ``count``), one at a time.

        ``before`` runs after the sources were read, ``meanwhile`` when the second item's request
        has been answered.
        """
        with self.opened(hours=hours) as (pipeline, clock):
            if meanwhile is not nothing:
                act_concurrently(pipeline, meanwhile)
            refused: ImagegenError | None = None
            outcomes: tuple[Outcome, ...] = ()
            try:
                outcomes = run_batches(pipeline, self.provider, count=count, before=before)
            except ImagegenError as error:
                refused = error
            return Run(outcomes, self.ledger_counts(pipeline), tuple(clock.waits), refused)

    def ledger_counts(self, pipeline: Pipeline) -> LedgerCounts:
        """Counts of the ledger, the results table and the provider, once no job runs."""
        billed = until(self._settled)["by_prompt"]
        attempts = [attempt for attempt, _ in pipeline.ledger.attempts.rows()]
        results = result_rows(pipeline.ledger)
        return LedgerCounts(
            [[one for one in attempts if name in one.item_key] for name in self.names],
            [[row for row in results if name in row["key"]] for name in self.names],
            [_sum(billed, name, "billed") for name in self.names],
            [_sum(billed, name, "accepted") for name in self.names],
        )

    def _settled(self) -> dict[str, Any] | None:
        """The provider's counts, once no job runs."""
        stats: dict[str, Any] = self.simulator.stats()
        return None if stats["duomi"]["running"] or stats["runpod"]["running"] else stats

    def submits(self) -> int:
        """Submits that the provider received."""
        counts: dict[str, int] = self.simulator.stats()["requests"]
        return counts.get(SUBMIT, 0) + counts.get(RUN, 0)

    def quarantine(self) -> list[Path]:
        """The files in quarantine."""
        return sorted((self.project.results / "quarantine").glob("*"))


def _sum(booked: list[dict[str, Any]], name: str, count: str) -> int:
    return sum(row[count] for row in booked if f"{name} of four" in row["prompt"])


def act_concurrently(pipeline: Pipeline, action: Callable[[], object]) -> None:
    """Run ``action`` when the second item's request has been answered."""
    engine_context = pipeline.engine_context
    pipeline.engine_context = replace(
        engine_context,
        provider=lambda name: ConcurrentAction(engine_context.provider(name), action),
    )


def run_batches(
    pipeline: Pipeline,
    provider: str,
    *,
    count: int | None = None,
    before: Callable[[], object] = nothing,
) -> tuple[Outcome, ...]:
    """Run one batch of all items, one at a time; returns the outcomes in their order."""
    order = BatchOptions(concurrency=1)
    if provider.startswith("runpod"):
        actors = pipeline.scan_actors().actors[:count]
        before()
        keys, batch = [a.key for a in actors], pipeline.generate_base_images(actors, order)
    else:
        prompts = pipeline.scan_prompts(database=False).prompts[:count]
        parameters = GPT if provider == "duomi-async" else PARAMETERS
        before()
        keys = [prompt.key for prompt in prompts]
        batch = pipeline.generate_images(prompts, parameters, order)
    outcomes = list(batch)
    assert sorted(one.item_key for one in outcomes) == sorted(keys), "one outcome for each item"
    return tuple(sorted(outcomes, key=lambda one: keys.index(one.item_key)))
