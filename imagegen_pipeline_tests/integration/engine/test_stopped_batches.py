"""What stops a batch before money is thrown after money: bad pictures, a full or vanished disk."""

from __future__ import annotations

import contextlib
import shutil

import pytest

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.engine import BatchOptions
from imagegen_pipeline.storage import pictures
from imagegen_pipeline_tests.integration.engine.harness import (
    PARAMETERS,
    SUBMIT,
    EngineHarness,
    counts,
)


@pytest.mark.parametrize("fault", ["truncated_picture", "empty_images", "bomb"])
def test_three_unusable_answers_in_a_row_stop_the_batch(harness: EngineHarness, fault: str) -> None:
    """Of thirty items three are paid for in vain; the others are not begun, and are told why."""
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(30)})
    harness.simulator.fault(provider="duomi", operation="submit", fault=fault, times=-1)
    outcomes = harness.make(prompts, concurrency=1)

    assert harness.simulator.billed() == 3
    assert counts(outcomes)["skipped"] == 27
    skipped = [outcome for outcome in outcomes.values() if outcome.status == "skipped"]
    assert {outcome.error_kind for outcome in skipped} == {"broken_pictures"}


def test_unusable_answers_among_good_ones_stop_nothing(harness: EngineHarness) -> None:
    """Every second picture is broken: each costs its own item and no other."""
    prompts = harness.prompts(**{f"p{n}": f"boat {n % 2} {n}" for n in range(8)})
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="truncated_picture", times=-1, match="boat 0"
    )
    outcomes = harness.make(prompts, concurrency=1)
    assert counts(outcomes) == {"made": 4, "failed": 4}


def test_a_picture_that_was_spoilt_on_its_way_is_fetched_once_more(harness: EngineHarness) -> None:
    """Bytes that do not decode are asked for again before they count as bad."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="files", operation="download", fault="truncated_picture")
    assert harness.make_one(prompt).ok
    assert harness.simulator.stats()["downloads"] == 2
    assert not (harness.project.results / "quarantine").exists()


def test_a_disk_without_room_buys_nothing(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is sent the free space is looked at."""
    prompts = harness.prompts(a="boat a", b="boat b")
    monkeypatch.setattr(pictures, "LEAST_FREE_BYTES", shutil.disk_usage("/").total * 2)
    outcomes = harness.make(prompts, concurrency=1)
    assert counts(outcomes) == {"failed": 1, "skipped": 1}
    assert {outcome.error_kind for outcome in outcomes.values()} == {"store"}
    assert "MB left" in outcomes[prompts[0].key].reason
    assert harness.requests(SUBMIT) == 0


def test_a_folder_that_vanishes_stops_the_batch(harness: EngineHarness) -> None:
    """When the pictures' folder is taken away, nothing more is bought; what is made stands in
    the ledger.
    """
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(6)})
    batch = harness.pipeline.generate_images(prompts, PARAMETERS, BatchOptions(concurrency=1))
    first = next(batch)
    shutil.rmtree(harness.project.results / "generated_images")
    rest = list(batch)
    assert first.ok
    assert harness.simulator.billed() < 6
    assert "vanished" in str([outcome.reason for outcome in rest])
    assert counts({outcome.item_key: outcome for outcome in rest})["skipped"] >= 2


def test_a_file_in_the_folders_place_is_found_before_anything_is_bought(
    harness: EngineHarness,
) -> None:
    """A batch that could keep nothing does not begin."""
    prompt = harness.prompt()
    harness.project.results.mkdir(exist_ok=True)
    (harness.project.results / "generated_images").write_text("in the way")
    with pytest.raises(StoreError, match="generated_images"):
        harness.make_one(prompt)
    assert harness.requests(SUBMIT) == 0
    assert State.SUBMITTING not in harness.states()


def test_items_held_from_before_stop_no_later_batch(harness: EngineHarness) -> None:
    """Only what a batch pays for itself in vain counts: what earlier ones left held does not."""
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(9)})
    harness.simulator.fault(provider="duomi", operation="submit", fault="empty_images", times=3)
    first = harness.make(prompts, concurrency=1)
    assert counts(first) == {"held": 3, "skipped": 6}
    assert counts(harness.make(prompts, concurrency=1)) == {"held": 3, "made": 6}


def test_jobs_that_fail_one_after_another_stop_the_batch(harness: EngineHarness) -> None:
    """Ten jobs in a row that the service took on and failed: the eleventh is not bought."""
    actors = [harness.actor(f"actor_{n:02}") for n in range(20)]
    harness.simulator.fault(provider="runpod", operation="submit", fault="no_output", times=-1)
    batch = harness.pipeline.generate_base_images(actors, BatchOptions(concurrency=1))
    outcomes = {outcome.item_key: outcome for outcome in batch}
    assert counts(outcomes) == {"failed": 10, "skipped": 10}
    assert harness.simulator.billed("runpod") == 10


def test_a_library_that_is_not_mounted_is_not_bought_anew(harness: EngineHarness) -> None:
    """The folder of all pictures is missing at the start: nothing is bought, and the error says
    how many pictures were in it; who makes the folder has them made anew.
    """
    prompts = harness.prompts(a="boat a", b="boat b")
    harness.make(prompts)
    shutil.rmtree(harness.project.results / "generated_images")
    with pytest.raises(StoreError, match="2 pictures were kept in it"):
        harness.make(prompts)
    assert harness.simulator.billed() == 2
    (harness.project.results / "generated_images").mkdir()
    assert counts(harness.make(prompts)) == {"made": 2}


def test_a_batch_that_its_caller_leaves_buys_nothing_more(harness: EngineHarness) -> None:
    """An exception in who takes the outcomes ends the buying too."""
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(12)})
    batch = harness.pipeline.generate_images(prompts, PARAMETERS, BatchOptions(concurrency=1))
    with contextlib.suppress(RuntimeError), batch:
        for _outcome in batch:
            raise RuntimeError
    list(batch)
    assert harness.simulator.billed() <= 2
