"""A dead service is not hammered, and a service that comes back is used again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from imagegen_pipeline.domain.errors import (
    ProviderBusyError,
    ProviderDownError,
    RateLimitedError,
    RequestRefusedError,
    StoppedError,
)
from imagegen_pipeline.engine.breaker import FAILURES, PROBES, Breaker
from imagegen_pipeline_tests.integration.engine.harness import (
    SUBMIT,
    EngineHarness,
    FakeClock,
    counts,
)

GO = threading.Event()


@contextmanager
def through(breaker: Breaker, stop: threading.Event = GO) -> Iterator[None]:
    """One submit."""
    with breaker.watch(probe=breaker.enter(stop)):
        yield


def fail(breaker: Breaker, error: Exception | None = None) -> None:
    """One submit that the service is too busy for."""
    error = error or ProviderBusyError("Busy.")
    with pytest.raises(type(error)), through(breaker):
        raise error


def answer(breaker: Breaker) -> None:
    """One submit that is answered."""
    with through(breaker):
        pass


def test_a_dead_service_is_asked_a_few_times_and_the_batch_stops(harness: EngineHarness) -> None:
    """Of sixty items none is made, and the service is asked a dozen times, not hundreds."""
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(60)})
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="status", status=503, times=-1
    )
    context = harness.on_fake_clock()
    outcomes = harness.make(prompts, context=context, concurrency=8)

    assert counts(outcomes)["skipped"] > 40
    assert harness.requests(SUBMIT) <= FAILURES + 8 + PROBES
    assert "provider_down" in {outcome.error_kind for outcome in outcomes.values()}
    assert harness.simulator.billed() == 0

    harness.clear_faults()
    assert counts(harness.make(prompts, concurrency=8)) == {"made": 60}
    assert harness.simulator.billed() == 60


def test_a_service_that_comes_back_is_used_again(harness: EngineHarness) -> None:
    """Eight refusals in a row are a pause, and every item is made."""
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(6)})
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="status", status=503, times=8
    )
    outcomes = harness.make(prompts, context=harness.on_fake_clock(), concurrency=3)
    assert counts(outcomes) == {"made": 6}


def test_failures_in_a_row_pause_longer_and_longer() -> None:
    """After five failures each try waits, twice as long as the one before, up to two minutes."""
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        fail(breaker)
    assert clock.waits == []
    for _ in range(PROBES):
        fail(breaker)
    assert clock.waits == [15, 30, 60, 120, 120]
    with pytest.raises(ProviderDownError) as caught, through(breaker):
        pass
    assert caught.value.stops_batch
    assert "10 times in a row" in str(caught.value)


@pytest.mark.parametrize("good", [None, RequestRefusedError("No.")], ids=["answer", "refusal"])
def test_any_answer_starts_the_count_anew(good: Exception | None) -> None:
    """A service that refuses a request is alive."""
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(3):
        for _ in range(FAILURES - 1):
            fail(breaker)
        if good is None:
            answer(breaker)
        else:
            fail(breaker, good)
    assert clock.waits == []


def test_a_good_probe_opens_the_way_for_all() -> None:
    """After the pause one try is answered, and nothing waits any more."""
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        fail(breaker)
    answer(breaker)
    answer(breaker)
    assert clock.waits == [15]


def test_what_one_is_asked_to_wait_holds_for_all() -> None:
    """A Retry-After of 40 s to one item keeps the others from asking meanwhile."""
    clock = FakeClock()
    breaker = Breaker(clock)
    fail(breaker, ProviderBusyError("Busy.", retry_after=40))
    answer(breaker)
    assert clock.waits == [40]


def test_a_probe_that_was_stopped_leaves_its_place() -> None:
    """A try that ended without asking the service counts as nothing."""
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        fail(breaker)
    fail(breaker, StoppedError("Stopped."))
    answer(breaker)
    assert clock.waits == [15]


def test_a_stop_ends_the_pause() -> None:
    """While the service rests, a stopped batch does not."""
    breaker = Breaker(FakeClock())
    for _ in range(FAILURES):
        fail(breaker)
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(StoppedError), through(breaker, stopped):
        pass


def test_too_many_requests_are_a_reason_to_pause_too() -> None:
    """A 429 without a Retry-After says that it is too much: after five the batch pauses."""
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        fail(breaker, RateLimitedError("Too many."))
    answer(breaker)
    assert clock.waits == [15]


def test_a_submit_that_was_not_tried_counts_as_nothing() -> None:
    """Who gives his turn back, a probe too, changes nothing for the others."""
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        fail(breaker)
    breaker.leave(probe=breaker.enter(GO))
    fail(breaker)
    assert clock.waits == [15]
