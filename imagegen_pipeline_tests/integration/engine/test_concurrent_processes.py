"""Several batches, pipelines and processes at once on one ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import Outcome, State, Status
from imagegen_pipeline.engine import BatchOptions
from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.engine.harness import (
    DRAWN,
    PARAMETERS,
    RUN,
    EngineHarness,
    picture,
)


def slow_down(simulator: Simulator, seconds: float = 0.2) -> None:
    """Let every answer take so long that the batches are sure to meet."""
    simulator.fault(
        provider="duomi", operation="submit", fault="hang", seconds=seconds, work=True, times=-1
    )


def at_once(*calls: Callable[[], list[Outcome]]) -> list[list[Outcome]]:
    """Call all of them at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
        return [future.result(timeout=60) for future in futures]


def eight(harness: EngineHarness) -> list[Prompt]:
    """Eight prompts."""
    return harness.prompts(**{f"p{place}": f"boat number {place}" for place in range(8)})


def test_two_batches_make_each_picture_once(harness: EngineHarness) -> None:
    """Two batches of one pipeline, asked for the same random pictures, buy each once."""
    prompts = eight(harness)
    slow_down(harness.simulator)

    def batch() -> list[Outcome]:
        return list(harness.pipeline.generate_images(prompts, DRAWN, BatchOptions(concurrency=4)))

    first, second = at_once(batch, batch)
    assert harness.simulator.billed() == 8
    assert Counter(one.status for one in first + second) == {Status.MADE: 8, Status.REUSED: 8}
    assert {one.item_key: one.path for one in first} == {one.item_key: one.path for one in second}


def test_two_pipelines_make_each_picture_once(harness: EngineHarness) -> None:
    """The same holds for two pipelines, each with its own connections to the ledger."""
    prompts = eight(harness)
    slow_down(harness.simulator)

    def batch() -> list[Outcome]:
        with closing(harness.project.pipeline()) as pipeline:
            return list(pipeline.generate_images(prompts, PARAMETERS, BatchOptions(concurrency=4)))

    first, second = at_once(batch, batch)
    outcomes = first + second
    assert harness.simulator.billed() == 8
    assert Counter(one.status for one in outcomes) == {Status.MADE: 8, Status.REUSED: 8}


def test_two_regenerates_of_one_intent_buy_once(harness: EngineHarness) -> None:
    """A step and its retry at the same time are still one intent."""
    prompts = eight(harness)[:4]
    slow_down(harness.simulator)

    def batch() -> list[Outcome]:
        order = BatchOptions(intent="run-1", regenerate=True)
        return list(harness.pipeline.generate_images(prompts, PARAMETERS, order))

    at_once(batch, batch)
    assert harness.simulator.billed() == 4


def test_identical_requests_of_two_pipelines_share_one_bill(harness: EngineHarness) -> None:
    """Different items with one request, asked for at once in two places, cost one picture."""
    mine = harness.prompts(a="one boat", b="one boat")
    theirs = harness.prompts(c="one boat", d="one boat")
    slow_down(harness.simulator)

    def batch_of(prompts: list[Prompt]) -> Callable[[], list[Outcome]]:
        def batch() -> list[Outcome]:
            with closing(harness.project.pipeline()) as pipeline:
                return list(pipeline.generate_images(prompts, PARAMETERS, BatchOptions()))

        return batch

    first, second = at_once(batch_of(mine), batch_of(theirs))
    outcomes = first + second
    assert Counter(one.status for one in outcomes) == {Status.MADE: 1, Status.SHARED: 3}
    assert len({picture(one) for one in outcomes}) == 1
    assert harness.simulator.billed() == 1


def test_two_batches_make_one_base_image(harness: EngineHarness) -> None:
    """Two requests for the same actor at once are one job."""
    actor = harness.actor()

    def batch() -> list[Outcome]:
        return list(harness.pipeline.generate_base_images([actor], BatchOptions()))

    (first,), (second,) = at_once(batch, batch)
    assert {first.status, second.status} == {Status.MADE, Status.REUSED}
    assert harness.requests(RUN) == 1


def test_two_processes_make_each_picture_once(
    harness: EngineHarness, project: Project, simulator: Simulator
) -> None:
    """Two commands started together on one folder: every picture is bought by one of them."""
    prompts = eight(harness)
    slow_down(simulator, seconds=0.4)
    command = ["imagegen", "generate", "--source", "json", "--image-size", "64x64"]
    command += ["--concurrency", "2", "--seed", "-1"]

    def process() -> list[Outcome]:
        project.run(*command)
        return []

    at_once(process, process)
    assert simulator.billed() == 8
    assert harness.states() == [State.STORED] * 8
    assert {attempt.item_key for attempt in harness.attempts()} == {one.key for one in prompts}


def test_a_dead_owners_lease_does_not_hold_an_item_for_ever(harness: EngineHarness) -> None:
    """Once the lease of a process that is gone has run out, the item is made."""
    prompt = harness.prompt()
    harness.pipeline.ledger.leases.acquire([f"item:{prompt.key}"], "a dead process")
    harness.expire_leases()

    assert harness.make_one(prompt).status is Status.MADE


def test_an_item_at_work_elsewhere_is_waited_for(harness: EngineHarness) -> None:
    """While another process has the item, nothing is sent; a stop ends the waiting."""
    prompt = harness.prompt()
    harness.pipeline.ledger.leases.acquire([f"item:{prompt.key}"], "another process")
    batch = harness.pipeline.generate_images([prompt], PARAMETERS, BatchOptions())

    def drive() -> list[Outcome]:
        return list(batch)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(drive)
        batch.stop()
        (outcome,) = waiting.result(timeout=30)
    assert outcome.status is Status.SKIPPED
    assert harness.states() == []
