"""A process that sleeps through the end of its lease and wakes sends nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from imagegen_pipeline.domain.requests import State, Status
from imagegen_pipeline_tests.integration.engine.harness import SUBMIT, EngineHarness, FakeClock


class SleepyStore:
    """The store, with a sleep just before a request would leave."""

    def __init__(self, store: Any, meanwhile: Callable[[], None]) -> None:
        self._store = store
        self._meanwhile: Callable[[], None] | None = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def check_free_space(self, folder: str) -> None:
        """Sleep once, at the last moment."""
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        self._store.check_free_space(folder)


def test_a_sleeper_finds_what_another_has_made(harness: EngineHarness) -> None:
    """While it slept another process took the item over and bought it: the sleeper reuses that
    picture, and the service has one request.
    """
    prompt = harness.prompt()

    def another_process() -> None:
        harness.expire_leases()
        with closing(harness.project.pipeline()) as pipeline:
            other = replace(harness, pipeline=pipeline)
            assert other.make_one(prompt).status is Status.MADE

    context = harness.on_fake_clock(store=SleepyStore(harness.pipeline.store, another_process))
    outcome = harness.make_one(prompt, context=context)

    assert outcome.status is Status.REUSED
    assert harness.requests(SUBMIT) == 1
    assert harness.simulator.billed() == 1
    assert harness.states() == [State.STORED]


def test_a_sleeper_whose_item_nobody_took_goes_on(harness: EngineHarness) -> None:
    """A laptop that was shut overnight makes the picture when it wakes, once."""
    prompt = harness.prompt()
    context = harness.on_fake_clock(
        store=SleepyStore(harness.pipeline.store, harness.expire_leases)
    )
    assert harness.make_one(prompt, context=context).status is Status.MADE
    assert harness.simulator.billed() == 1
    assert harness.states() == [State.STORED]


def test_a_sleeper_leaves_the_item_to_whoever_is_at_it(harness: EngineHarness) -> None:
    """While another is at the item the woken one waits, and sends nothing."""
    prompt = harness.prompt()
    gallery = harness.pipeline.ledger.leases

    def another_begins() -> None:
        harness.expire_leases()
        assert gallery.acquire([f"item:{prompt.key}"], "another") is not None

    class Clock(FakeClock):
        def wait(self, stop: Any, seconds: float) -> bool:
            """The other is done as soon as somebody waits for it."""
            assert harness.requests(SUBMIT) == 0
            gallery.release("another")
            return super().wait(stop, seconds)

    store = SleepyStore(harness.pipeline.store, another_begins)
    outcome = harness.make_one(prompt, context=harness.on_fake_clock(store=store, clock=Clock()))
    assert outcome.status is Status.MADE
    assert harness.requests(SUBMIT) == 1


@pytest.mark.parametrize("asleep", ["before", "after"])
def test_a_sharer_that_slept_leaves_no_stray_copy(harness: EngineHarness, asleep: str) -> None:
    """While it slept, its copy not made or just made, another process has given its item the
    shared picture: every picture in the folder is one of the ledger's, and none is missing.
    """
    first, second = harness.prompts(a="the same boat", b="the same boat")
    harness.make_one(first)

    class Sleepy(SleepyStore):
        def share(self, *args: Any) -> Any:
            """Sleep once, beside the copy."""
            meanwhile, self._meanwhile = self._meanwhile, None
            if meanwhile is not None and asleep == "before":
                meanwhile()
            stored = self._store.share(*args)
            if meanwhile is not None and asleep == "after":
                meanwhile()
            return stored

    def another_process() -> None:
        harness.expire_leases()
        with closing(harness.project.pipeline()) as pipeline:
            assert replace(harness, pipeline=pipeline).make_one(second).ok

    store = Sleepy(harness.pipeline.store, another_process)
    harness.make_one(second, context=harness.on_fake_clock(store=store))
    folder = harness.project.results / "generated_images"
    recorded = {str(attempt.path) for attempt in harness.attempts() if attempt.path}
    assert {f"generated_images/{path.name}" for path in folder.glob("*.png")} == recorded
    assert harness.make_one(second).status is Status.REUSED
    assert harness.simulator.billed() == 1
