"""A batch: bounded, stoppable, one outcome for each item."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import Outcome, State, Status
from imagegen_pipeline.engine import Batch, BatchOptions, ImageTask, generate
from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import Project, Simulator, until
from imagegen_pipeline_tests.integration.engine.harness import (
    PARAMETERS,
    RUN,
    SUBMIT,
    EngineHarness,
    counts,
    image_task,
)


@pytest.fixture
def slow(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineHarness]:
    """A bench on a simulator of its own that takes its time over each picture."""
    with running(SimulatorOptions(latency=0.15)) as url:
        monkeypatch.setenv("IMAGEGEN_SIMULATOR", url)
        with closing(project.pipeline()) as pipeline:
            yield EngineHarness(project, Simulator(url), pipeline)


def many(harness: EngineHarness, number: int) -> list[Prompt]:
    """So many different prompts."""
    return harness.prompts(**{f"p{place:02}": f"boat number {place}" for place in range(number)})


def by_key(outcomes: list[Outcome]) -> dict[str, Outcome]:
    """The outcomes by key, of which none may come twice."""
    found = {outcome.item_key: outcome for outcome in outcomes}
    assert len(found) == len(outcomes)
    return found


def test_no_more_are_in_flight_than_allowed(slow: EngineHarness) -> None:
    """``concurrency`` bounds what is at the service at once, and is made use of."""
    outcomes = slow.make(many(slow, 9), concurrency=3)

    assert counts(outcomes) == {"made": 9}
    assert slow.simulator.stats()["duomi"]["max_in_flight"] == 3


def test_a_place_is_free_while_a_picture_is_downloaded(harness: EngineHarness) -> None:
    """A service waits for nobody's download: with two places, two pictures that are long on their
    way do not keep the next two from being made.
    """
    prompts = many(harness, 4)
    for number in (0, 1):
        harness.simulator.fault(
            provider="files",
            operation="download",
            fault="hang",
            seconds=3,
            match=f"number {number}",
        )
    order = BatchOptions(concurrency=2)
    outcomes = list(harness.pipeline.generate_images(prompts, PARAMETERS, order))
    assert {outcome.item_key for outcome in outcomes[:2]} == {one.key for one in prompts[2:]}
    assert counts(by_key(outcomes)) == {"made": 4}
    assert harness.simulator.stats()["duomi"]["max_in_flight"] <= 2


def test_a_batch_of_one_at_a_time_is_one_to_the_end(harness: EngineHarness) -> None:
    """With a concurrency of 1 the next picture is asked for when the last one is home."""
    prompts = many(harness, 2)
    harness.simulator.fault(
        provider="files", operation="download", fault="hang", seconds=1, match="number 0"
    )
    outcomes = harness.make(prompts, concurrency=1)
    first, second = (outcomes[one.key].attempt for one in prompts)
    assert first is not None
    assert second is not None
    assert (second.submitted_at or 0) > (first.finished_at or 0)


def test_a_caller_is_told_when_nothing_has_come_for_a_while(harness: EngineHarness) -> None:
    """``arriving`` gives None meanwhile, and every outcome all the same."""
    prompts = many(harness, 2)
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="hang", seconds=2, match="number 1"
    )
    batch = harness.pipeline.generate_images(prompts, PARAMETERS, BatchOptions())
    came = list(batch.arriving(0.1))
    outcomes = [one for one in came if one is not None]
    assert None in came[came.index(outcomes[0]) : came.index(outcomes[1])]
    assert [one.item_key for one in outcomes] == [one.key for one in prompts]


def test_every_item_has_exactly_one_outcome(harness: EngineHarness) -> None:
    """Made, reused, shared, failed and held together: each key comes out once."""
    prompts = many(harness, 6)
    harness.make(prompts[:2])
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match="number 3"
    )
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="reset_before", times=2, match="number 4"
    )
    twin = harness.prompts(twin="boat number 0")
    outcomes = harness.make([*prompts, *twin])

    assert set(outcomes) == {prompt.key for prompt in [*prompts, *twin]}
    assert counts(outcomes) == {"reused": 2, "shared": 1, "made": 2, "failed": 1, "held": 1}


def test_an_item_asked_for_twice_is_made_once(harness: EngineHarness) -> None:
    """The second wish for the same item finds the first one's picture."""
    prompt = harness.prompt()
    outcomes = list(harness.pipeline.generate_images([prompt, prompt], PARAMETERS, BatchOptions()))

    assert sorted(outcome.status for outcome in outcomes) == [Status.MADE, Status.REUSED]
    assert harness.simulator.billed() == 1


def test_an_empty_batch_ends_at_once(harness: EngineHarness) -> None:
    """Nothing asked, nothing made; and a batch that has ended stays so."""
    batch = harness.pipeline.generate_images([], PARAMETERS, BatchOptions())

    assert list(batch) == []
    assert list(batch) == []


def test_items_are_drawn_only_as_they_are_needed(harness: EngineHarness) -> None:
    """A long list is not read ahead: items are taken for those at work (twice as many as there
    are requests at once), for the next turn, and for each outcome that was taken.
    """
    drawn: list[str] = []
    prompts = many(harness, 24)

    def feed() -> Iterator[ImageTask]:
        for prompt in prompts:
            drawn.append(prompt.key)
            yield image_task(prompt)

    batch = generate(harness.pipeline.engine_context, feed(), BatchOptions(concurrency=2))
    next(batch)
    assert len(drawn) <= 2 * 2 + 2 + 1
    assert len(by_key(list(batch))) == 23


def test_outcomes_come_as_they_finish(harness: EngineHarness) -> None:
    """An item that takes long holds none of the others back."""
    prompts = many(harness, 4)
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="hang", seconds=1, match="number 0"
    )
    outcomes = list(harness.pipeline.generate_images(prompts, PARAMETERS, BatchOptions()))

    assert outcomes[-1].item_key == prompts[0].key
    assert len(by_key(outcomes)) == 4


def test_stop_begins_nothing_new_and_loses_nothing(slow: EngineHarness) -> None:
    """After ``stop`` what is in flight comes out, the rest is skipped, and the next batch makes
    exactly what is missing.
    """
    prompts = many(slow, 8)
    batch = slow.pipeline.generate_images(prompts, PARAMETERS, BatchOptions(concurrency=2))
    first = next(batch)
    sent = slow.requests(SUBMIT)
    batch.stop()
    outcomes = by_key([first, *batch])

    made = counts(outcomes)["made"]
    assert counts(outcomes) == {"made": made, "skipped": 8 - made}
    assert set(outcomes) == {prompt.key for prompt in prompts}
    assert made <= sent + 2, "what was begun before the stop"
    assert made < 8
    assert slow.simulator.billed() == made == slow.requests(SUBMIT)
    skipped = next(one for one in outcomes.values() if one.status is Status.SKIPPED)
    assert (skipped.cost, skipped.error_kind) == (0, "stopped")
    assert skipped.remedy

    assert counts(slow.make(prompts)) == {"made": 8 - made, "reused": made}
    assert slow.simulator.billed() == 8


def test_a_batch_stopped_before_it_began_sends_nothing(harness: EngineHarness) -> None:
    """Every item is skipped, with the reason that was given."""
    batch = harness.pipeline.generate_images(many(harness, 3), PARAMETERS, BatchOptions())
    batch.stop()

    assert counts(by_key(list(batch))) == {"skipped": 3}
    assert harness.requests(SUBMIT) == 0


def test_a_job_under_way_at_the_stop_is_collected_later(harness: EngineHarness) -> None:
    """A job that the service still runs is left there, and the next batch collects it."""
    actor = harness.actor()
    harness.simulator.fault(provider="runpod", operation="status", fault="stuck_in_queue", times=-1)
    batch = harness.pipeline.generate_base_images([actor], BatchOptions())
    outcomes: list[Outcome] = []
    drive_until(harness, batch, State.SUBMITTED, outcomes)

    (left,) = outcomes
    assert left.status is Status.SKIPPED
    assert harness.states() == [State.SUBMITTED]
    harness.clear_faults()
    assert harness.make_base(actor).status is Status.MADE
    assert harness.requests(RUN) == 1


def drive_until(
    harness: EngineHarness, batch: Batch, state: State, outcomes: list[Outcome]
) -> None:
    """Iterate over the batch in a thread, and stop it once an attempt is in ``state``."""
    from threading import Thread

    thread = Thread(target=lambda: outcomes.extend(batch))
    thread.start()
    try:
        until(lambda: harness.states() == [state])
    finally:
        batch.stop(leave_jobs=True)
        thread.join(30)


def test_an_interrupted_caller_still_gets_the_rest(slow: EngineHarness) -> None:
    """After an exception in the caller's loop, ``stop`` and a second loop bring every outcome."""
    prompts = many(slow, 6)
    batch = slow.pipeline.generate_images(prompts, PARAMETERS, BatchOptions(concurrency=2))
    seen: list[Outcome] = []

    def interrupted_loop() -> None:
        for outcome in batch:
            seen.append(outcome)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_loop()
    batch.stop()
    seen += batch

    assert set(by_key(seen)) == {prompt.key for prompt in prompts}
    assert slow.simulator.billed() == counts(by_key(seen))["made"]


def test_submits_are_spaced_by_the_delay(harness: EngineHarness) -> None:
    """``delay`` seconds lie between two submits; the first, and what is reused, do not wait."""
    prompts = many(harness, 4)
    context = harness.on_fake_clock()
    harness.make(prompts, context=context, delay=5.0, concurrency=1)
    assert harness.clock.waits == [5.0, 5.0, 5.0]

    harness.make(prompts, context=context, delay=5.0, concurrency=1)
    assert harness.clock.waits == [5.0, 5.0, 5.0]


def test_retries_keep_the_delay_too(harness: EngineHarness) -> None:
    """A request that is sent again is a submit like any other."""
    harness.simulator.fault(provider="duomi", operation="submit", fault="status", status=429)
    harness.make([harness.prompt()], context=harness.on_fake_clock(), delay=90.0)

    backoff, delay = harness.clock.waits
    assert backoff + delay == pytest.approx(90.0)


def test_a_changed_size_is_another_request(harness: EngineHarness) -> None:
    """Two batches with different parameters each make their own pictures under their own names."""
    prompts = many(harness, 2)
    first = harness.make(prompts)
    second = harness.make(prompts, replace(PARAMETERS, image_size="96x64"))

    paths = [outcome.path for outcome in [*first.values(), *second.values()]]
    assert len(set(paths)) == 4
