"""What the engine's tests work with: a pipeline, its books, and a clock that does not sleep."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import requests

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.parameters import PromptParameters, file_prefix
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import Attempt, GenerationRequest, Outcome, State
from imagegen_pipeline.engine import BatchOptions, EngineContext, ImageTask, generate
from imagegen_pipeline.ledger.attempts import NewAttempt
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator
from imagegen_pipeline_tests.unit.ledger.ledger_rows import submitting

PARAMETERS = PromptParameters(image_size=SMALL)
DRAWN = replace(PARAMETERS, seed=-1)
GPT = replace(PARAMETERS, model="gpt-image-2", image_size="1024x640")
"""The smallest picture that Duomi's asynchronous models make."""
SUBMIT = "POST /duomi/v1/images/generations"
RUN = "POST /runpod/v2/{endpoint}/run"
HOUR = 3600.0


class FakeClock:
    """Waits pass at once and are written down; ``ahead`` seconds are added to the date."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.waits: list[float] = []
        self._ahead = ahead
        self._seconds = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """See ``Clock.now``."""
        return time.time() + self._ahead

    def monotonic(self) -> float:
        """See ``Clock.monotonic``."""
        with self._lock:
            return self._seconds

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """See ``Clock.wait``."""
        with self._lock:
            self.waits.append(seconds)
            self._seconds += seconds
        return stop.is_set()


@dataclass
class EngineHarness:
    """A pipeline on the simulator, and short ways to ask it for pictures."""

    project: Project
    simulator: Simulator
    pipeline: Pipeline
    clock: FakeClock = field(default_factory=FakeClock)

    def prompts(self, **texts: str) -> list[Prompt]:
        """Prompts from JSON files of these names, as a scan finds them now."""
        for stem, text in texts.items():
            self.project.write_json(stem, text)
        found = self.pipeline.scan_prompts(database=False).prompts
        return [prompt for prompt in found if str(prompt.filename).rpartition(".")[0] in texts]

    def prompt(self, text: str = "a red boat", *, stem: str = "boat") -> Prompt:
        """One prompt from a JSON file."""
        (prompt,) = self.prompts(**{stem: text})
        return prompt

    def actor(self, name: str = "0100_sailor", **facts: Any) -> Actor:
        """One actor, as a scan finds it now."""
        self.project.write_actor(name, **{"description": "an old sailor", **facts})
        (actor,) = (a for a in self.pipeline.scan_actors().actors if a.name == name)
        return actor

    def make(
        self,
        prompts: Sequence[Prompt],
        parameters: PromptParameters = PARAMETERS,
        *,
        context: EngineContext | None = None,
        **order: Any,
    ) -> dict[str, Outcome]:
        """One batch of pictures: the outcome of each key."""
        if context is None:
            batch: Iterable[Outcome] = self.pipeline.generate_images(
                prompts, parameters, BatchOptions(**order)
            )
        else:
            wanted = [image_task(prompt, parameters) for prompt in prompts]
            batch = generate(context, wanted, BatchOptions(**order))
        outcomes = list(batch)
        by_key = {outcome.item_key: outcome for outcome in outcomes}
        assert len(by_key) == len(outcomes), "an item has two outcomes"
        return by_key

    def make_one(
        self, prompt: Prompt, parameters: PromptParameters = PARAMETERS, **more: Any
    ) -> Outcome:
        """A batch of one."""
        return self.make([prompt], parameters, **more)[prompt.key]

    def make_base(self, actor: Actor, **order: Any) -> Outcome:
        """A batch of one base image."""
        (outcome,) = self.pipeline.generate_base_images([actor], BatchOptions(**order))
        return outcome

    def on_fake_clock(self, **changes: Any) -> EngineContext:
        """The pipeline's workshop, its waits passing at once."""
        return replace(self.pipeline.engine_context, **{"clock": self.clock, **changes})

    def plan(
        self,
        prompt: Prompt,
        parameters: PromptParameters = PARAMETERS,
        *,
        seed: int | None = None,
        shared_from: int | None = None,
        **more: Any,
    ) -> Attempt:
        """An attempt as an earlier process left it before anything was sent."""
        request = parameters.request(prompt)
        return plan_attempt(
            self.pipeline,
            prompt.key,
            request,
            seed=request.seed if seed is None else seed,
            folder="generated_images",
            shared_from=shared_from,
            **more,
        )

    def attempts(self, key: str | None = None) -> list[Attempt]:
        """The ledger's attempts, oldest first."""
        rows = [attempt for attempt, _ in self.pipeline.ledger.attempts.rows()]
        return [attempt for attempt in rows if key is None or attempt.item_key == key]

    def states(self, key: str | None = None) -> list[State]:
        """The states of the ledger's attempts, oldest first."""
        return [attempt.state for attempt in self.attempts(key)]

    def requests(self, template: str) -> int:
        """How many requests of this kind the simulator has had."""
        return int(self.simulator.stats()["requests"].get(template, 0))

    def clear_faults(self) -> None:
        """From here on nothing goes wrong any more."""
        requests.delete(f"{self.simulator.url}/_sim/faults", timeout=10).raise_for_status()

    def age(self, seconds: float) -> None:
        """As if every attempt had been planned and sent so much earlier."""
        with sqlite3.connect(self.pipeline.settings.data_dir / "imagegen.db") as connection:
            connection.execute(
                "UPDATE attempts SET submitted_at = submitted_at - ?, created_at = created_at - ?",
                (seconds, seconds),
            )
        connection.close()

    def expire_leases(self) -> None:
        """As if a minute had passed since a process died."""
        with sqlite3.connect(self.pipeline.settings.data_dir / "imagegen.db") as connection:
            connection.execute("UPDATE leases SET until = 0")
        connection.close()


def plan_attempt(
    pipeline: Pipeline,
    key: str,
    request: GenerationRequest,
    *,
    seed: int,
    folder: str,
    shared_from: int | None = None,
    **more: Any,
) -> Attempt:
    """A planned attempt of any service."""
    facts: dict[str, Any] = {
        "intent": "earlier",
        "regenerate": False,
        "file_stem": "earlier",
        **more,
    }
    plan = NewAttempt(
        item_key=key,
        kind="prompt" if request.provider == "duomi" else "actor",
        request=request,
        asked_fingerprint=request.fingerprint,
        seed=seed,
        folder=folder,
        simulated=pipeline.settings.simulator,
        **facts,
    )
    attempts_store, store = pipeline.ledger.attempts, pipeline.store
    return attempts_store.plan(plan, on_disk=store.is_taken, shared_from=shared_from)


def plan_base(harness: EngineHarness, actor: Actor, seed: int = 5) -> Attempt:
    """A base image's attempt, its request about to leave."""
    request = harness.pipeline.base_image_request(actor)
    folder = f"actors/{actor.name}/base_image/history"
    attempt = plan_attempt(harness.pipeline, actor.key, request, seed=seed, folder=folder)
    return submitting(harness.pipeline.ledger, attempt)


def submitted(harness: EngineHarness, actor: Actor, seed: int = 5) -> Attempt:
    """A job that a process before sent to RunPod, and named in the ledger."""
    attempt = plan_base(harness, actor, seed)
    provider = harness.pipeline.provider("runpod")
    job_id = provider.submit(attempt.sent_request).job_id
    assert job_id is not None
    attempts_store = harness.pipeline.ledger.attempts
    return attempts_store.submitted(attempt, job_id=job_id, endpoint=provider.endpoint)


def image_task(prompt: Prompt, parameters: PromptParameters = PARAMETERS) -> ImageTask:
    """What the pipeline would ask the engine for."""
    return ImageTask(
        key=prompt.key,
        kind="prompt",
        request=parameters.request(prompt),
        folder="generated_images",
        file_prefix=file_prefix(prompt),
    )


def picture(outcome: Outcome) -> bytes:
    """The bytes of an outcome's picture."""
    assert outcome.ok, outcome.reason
    return Path(str(outcome.path)).read_bytes()


def counts(outcomes: dict[str, Outcome]) -> dict[str, int]:
    """How many outcomes of each status."""
    return dict(Counter(str(outcome.status) for outcome in outcomes.values()))
