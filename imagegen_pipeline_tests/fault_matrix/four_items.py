"""A batch of four items, of which a fault hits the second, and what can be seen of it after."""

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
from imagegen_pipeline_tests.engine.bench import HOUR, PARAMETERS, RUN, SUBMIT, FakeClock

NAMES = ("first", "second", "third", "fourth")
HIT = 1
"""The place of the item that the fault hits."""
GPT = replace(PARAMETERS, model="gpt-image-2", image_size="1024x640")
"""The smallest picture that Duomi's asynchronous models make."""


@dataclass(frozen=True)
class Books:
    """Both sides' books after a run. Lists are in the items' order."""

    attempts: list[list[Attempt]]
    """The ledger's rows, oldest first."""
    results: list[list[dict[str, Any]]]
    """The rows of the table of results, oldest first."""
    bills: list[int]
    """How many pictures the service has billed."""
    accepted: list[int]
    """How many requests the service has taken on."""


@dataclass(frozen=True)
class Run:
    """One run over the items: their outcomes in order, the books, and the waits.

    ``refused`` is why the batch never began; a killed one has no outcomes either.
    """

    outcomes: tuple[Outcome, ...]
    books: Books
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
    """What there is of the other items."""
    return values[:HIT] + values[HIT + 1 :]


class Meanwhile:
    """A service; when it has answered the second item's submit, ``action`` happens."""

    def __init__(self, inner: ProviderClient, action: Callable[[], object]) -> None:
        self._inner = inner
        self._action = action

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def submit(self, request: GenerationRequest) -> Submission:
        """Ask the service, then act."""
        submission = self._inner.submit(request)
        if f"{NAMES[HIT]} of four" in request.prompt:
            self._action()
        return submission


def nothing() -> None:
    """What happens when nothing is to happen."""


@dataclass(frozen=True)
class FourItems:
    """Four items (or as many as there are ``names``) of one service in a scratch project."""

    project: Project
    simulator: Simulator
    provider: str
    names: tuple[str, ...] = NAMES

    @property
    def pictures(self) -> Path:
        """The folder of the service's pictures."""
        runpod = self.provider.startswith("runpod")
        return self.project.results / ("actors" if runpod else "generated_images")

    def write(self) -> None:
        """Put the items into their source."""
        for place, name in enumerate(self.names):
            text = f"{name} of four sailors"
            if self.provider.startswith("runpod"):
                self.project.write_actor(f"{place:02}_{name}", description=text)
            else:
                self.project.write_json(f"{place:02}_{name}", text)

    def script(self, at: str, *, name: str | None = NAMES[HIT], **fault: Any) -> None:
        """Have an item's requests (None: everybody's) go wrong ``at`` this operation."""
        provider = "files" if at == "download" else self.provider.partition("-")[0]
        match = {} if at == "health" or name is None else {"match": f"{name} of four"}
        self.simulator.fault(provider=provider, operation=at, **match, **fault)

    @contextmanager
    def opened(self, *, hours: float = 0.0) -> Iterator[tuple[Pipeline, FakeClock]]:
        """The pipeline as a new process opens it ``hours`` from now; its waits pass at once."""
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
        """One batch of all (or the first ``count``), one after the other.

        ``before`` happens when the sources have been read, ``meanwhile`` when the second
        item's request has been answered.
        """
        with self.opened(hours=hours) as (pipeline, clock):
            if meanwhile is not nothing:
                act_meanwhile(pipeline, meanwhile)
            refused, outcomes = None, ()
            try:
                outcomes = make_all(pipeline, self.provider, count=count, before=before)
            except ImagegenError as error:
                refused = error
            return Run(outcomes, self.books(pipeline), tuple(clock.waits), refused)

    def books(self, pipeline: Pipeline) -> Books:
        """What the ledger, the table of results and the service say, once no job runs."""
        billed = until(self._settled)["by_prompt"]
        attempts = [attempt for attempt, _ in pipeline.ledger.attempts.rows()]
        results = result_rows(pipeline.ledger)
        return Books(
            [[one for one in attempts if name in one.item_key] for name in self.names],
            [[row for row in results if name in row["key"]] for name in self.names],
            [_sum(billed, name, "billed") for name in self.names],
            [_sum(billed, name, "accepted") for name in self.names],
        )

    def _settled(self) -> dict[str, Any] | None:
        """The services' books, once no job runs there."""
        stats: dict[str, Any] = self.simulator.stats()
        return None if stats["duomi"]["running"] or stats["runpod"]["running"] else stats

    def submits(self) -> int:
        """How many submits the services have got."""
        counts: dict[str, int] = self.simulator.stats()["requests"]
        return counts.get(SUBMIT, 0) + counts.get(RUN, 0)

    def quarantine(self) -> list[Path]:
        """What lies in the quarantine folder."""
        return sorted((self.project.results / "quarantine").glob("*"))


def _sum(booked: list[dict[str, Any]], name: str, count: str) -> int:
    return sum(row[count] for row in booked if f"{name} of four" in row["prompt"])


def act_meanwhile(pipeline: Pipeline, action: Callable[[], object]) -> None:
    """Have ``action`` happen when the second item's request has been answered."""
    engine_context = pipeline.engine_context
    pipeline.engine_context = replace(
        engine_context, provider=lambda name: Meanwhile(engine_context.provider(name), action)
    )


def make_all(
    pipeline: Pipeline,
    provider: str,
    *,
    count: int | None = None,
    before: Callable[[], object] = nothing,
) -> tuple[Outcome, ...]:
    """One batch of the items in the sources, one after the other; outcomes in their order."""
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
