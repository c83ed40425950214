"""One bad item never sinks the batch; what would be refused for all stops it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.requests import GenerationRequest, State, Status
from imagegen_pipeline.providers.base import JobReport, ProviderClient, RemoteImage, Submission
from imagegen_pipeline.providers.duomi.client import DuomiClient
from imagegen_pipeline.storage.pictures import LocalStore, StoredPicture
from imagegen_pipeline_tests.integration.engine.harness import (
    HOUR,
    SUBMIT,
    EngineHarness,
    counts,
    picture,
)

THREE = {"a": "boat a", "b": "boat b", "c": "boat c"}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"fault": "status", "status": 400}, "bad_request"),
        ({"fault": "code_in_200"}, "bad_request"),
    ],
    ids=lambda value: str(value["fault"]) if isinstance(value, dict) else "",
)
def test_a_failure_stops_only_its_item(
    harness: EngineHarness, fault: dict[str, Any], kind: str
) -> None:
    """The item has a kind, a sentence and a remedy, its attempt is closed; the others are made."""
    prompts = harness.prompts(**THREE)
    harness.simulator.fault(provider="duomi", operation="submit", match="boat b", **fault)
    outcomes = harness.make(prompts)

    assert counts(outcomes) == {"made": 2, "failed": 1}
    failed = outcomes[prompts[1].key]
    assert failed.error_kind == kind
    assert failed.error
    assert failed.remedy
    (attempt,) = harness.attempts(prompts[1].key)
    assert (attempt.state, attempt.error_kind) == (State.FAILED, kind)
    assert counts(harness.make(prompts)) == {"reused": 2, "made": 1}


@pytest.mark.parametrize("fault", ["truncated_picture", "bomb"])
def test_a_picture_that_stays_bad_is_fetched_again_while_its_url_lives(
    harness: EngineHarness, fault: str
) -> None:
    """For an hour later runs fetch it again and pay nothing; a *regenerate* buys a new one at
    once, and after the hour any run does.
    """
    prompts = harness.prompts(**THREE)
    harness.simulator.fault(provider="duomi", operation="submit", match="boat b", fault=fault)
    outcomes = harness.make(prompts)

    assert counts(outcomes) == {"made": 2, "failed": 1}
    failed = outcomes[prompts[1].key]
    assert failed.error_kind == "not_a_picture"
    assert "--regenerate" in failed.reason
    assert harness.states(prompts[1].key) == [State.COMPLETED]
    assert list((harness.project.results / "quarantine").glob("*.bin"))
    assert harness.make_one(prompts[1]).error_kind == "not_a_picture"
    assert harness.simulator.billed() == 3

    anew = harness.make_one(prompts[1], regenerate=True)
    assert anew.status is Status.MADE
    assert harness.simulator.billed() == 4
    assert harness.make_one(prompts[1]).ok


def test_a_picture_that_stays_bad_for_an_hour_is_bought_anew(harness: EngineHarness) -> None:
    """Once no URL lives any more, the attempt is closed and the item made."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="duomi", operation="submit", fault="truncated_picture")
    assert harness.make_one(prompt).error_kind == "not_a_picture"
    harness.age(2 * HOUR)
    assert harness.make_one(prompt).status is Status.MADE
    assert harness.states() == [State.FAILED, State.STORED]
    assert harness.simulator.billed() == 2


@pytest.mark.parametrize("fault", ["html_200", "broken_json", "empty_images", "broken_base64"])
def test_an_answer_that_cannot_be_read_is_not_bought_again(
    harness: EngineHarness, fault: str
) -> None:
    """A 200 that holds no picture may have been billed: its item is held until a person asks
    for it anew, and the others are made.
    """
    prompts = harness.prompts(**THREE)
    harness.simulator.fault(provider="duomi", operation="submit", match="boat b", fault=fault)
    outcomes = harness.make(prompts)

    assert counts(outcomes) == {"made": 2, "held": 1}
    held = outcomes[prompts[1].key]
    assert held.cost is None
    assert f"imagegen resolve {held.item_key} --resubmit" in (held.remedy or "")
    if fault != "empty_images":
        (kept,) = (harness.project.results / "quarantine").glob("*.bin")
        assert str(kept) in held.reason
    assert counts(harness.make(prompts)) == {"reused": 2, "held": 1}
    assert harness.requests(SUBMIT) == 3
    assert harness.make_one(prompts[1], regenerate=True).status is Status.MADE


@pytest.mark.parametrize(
    "fault",
    [{"status": 401}, {"status": 403}, {"status": 400, "body": {"code": 30011, "message": "x"}}],
    ids=["key", "model", "balance"],
)
def test_an_account_error_stops_the_batch(harness: EngineHarness, fault: dict[str, Any]) -> None:
    """What would be refused for every item is asked once; the rest is skipped, saying why, and
    made by the next batch.
    """
    prompts = harness.prompts(**THREE, d="boat d", e="boat e")
    harness.simulator.fault(provider="duomi", operation="submit", fault="status", **fault)
    outcomes = harness.make(prompts, concurrency=1)

    assert counts(outcomes) == {"failed": 1, "skipped": 4}
    assert {outcome.error_kind for outcome in outcomes.values()} == {"account"}
    assert all(outcome.remedy for outcome in outcomes.values())
    assert harness.requests(SUBMIT) == 1
    assert counts(harness.make(prompts)) == {"made": 5}


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_for_now_is_tried_again(harness: EngineHarness, status: int) -> None:
    """Too many requests or too busy: the same attempt waits, at least as long as the service
    asks, and is sent again. Nothing is billed twice.
    """
    prompt = harness.prompt()
    harness.simulator.fault(
        provider="duomi",
        operation="submit",
        fault="status",
        status=status,
        headers={"Retry-After": "17"},
        times=2,
    )
    outcome = harness.make_one(prompt, context=harness.on_fake_clock())

    assert outcome.status is Status.MADE
    assert len(harness.clock.waits) == 2
    assert min(harness.clock.waits) >= 17
    assert harness.states() == [State.STORED]
    assert harness.requests(SUBMIT) == 3
    assert harness.simulator.billed() == 1


def test_a_wait_past_all_patience_fails_the_item(harness: EngineHarness) -> None:
    """A service that asks to come back tomorrow is not waited for: the item fails, unbilled."""
    prompt = harness.prompt()
    harness.simulator.fault(
        provider="duomi",
        operation="submit",
        fault="status",
        status=429,
        headers={"Retry-After": "86400"},
    )
    failed = harness.make_one(prompt, context=harness.on_fake_clock())

    assert (failed.status, failed.error_kind) == (Status.FAILED, "rate_limited")
    assert harness.requests(SUBMIT) == 1
    assert harness.clock.waits == []


def test_a_refusal_that_lasts_fails_the_item(harness: EngineHarness) -> None:
    """After a few tries the item fails, unbilled, and the next batch makes it."""
    prompt = harness.prompt()
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="status", status=429, times=6
    )
    failed = harness.make_one(prompt, context=harness.on_fake_clock())

    assert (failed.status, failed.error_kind) == (Status.FAILED, "rate_limited")
    assert harness.requests(SUBMIT) == 6
    assert harness.states() == [State.FAILED]
    again = harness.make_one(prompt)
    assert again.status is Status.MADE
    assert again.attempt is not None
    assert not again.attempt.possible_double_charge


def test_a_service_that_is_not_there_bills_nothing(harness: EngineHarness) -> None:
    """When no connection is made, the attempt is closed as unreachable."""
    prompt = harness.prompt()
    with closing(DuomiClient(api_key="key", base_url="http://127.0.0.1:9")) as nowhere:
        context = harness.on_fake_clock(provider=lambda _name: nowhere)
        failed = harness.make_one(prompt, context=context)

    assert (failed.status, failed.error_kind) == (Status.FAILED, "unreachable")
    assert harness.states() == [State.FAILED]


def test_a_failed_download_is_made_good_without_a_bill(harness: EngineHarness) -> None:
    """A picture that the service has made and did not deliver is fetched by the next batch."""
    prompt = harness.prompt()
    harness.simulator.fault(
        provider="files", operation="download", fault="status", status=500, times=4
    )
    failed = harness.make_one(prompt, context=harness.on_fake_clock())
    assert (failed.status, failed.error_kind) == (Status.FAILED, "download")
    assert harness.states() == [State.COMPLETED]
    assert harness.clock.waits, "it was tried more than once"

    made = harness.make_one(prompt)
    assert made.status is Status.MADE
    assert harness.states() == [State.STORED]
    assert harness.simulator.billed() == 1


def test_bytes_that_do_not_decode_are_kept_apart(harness: EngineHarness) -> None:
    """What was paid for and is no picture goes to quarantine, and the item fails."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="duomi", operation="submit", fault="truncated_picture")
    failed = harness.make_one(prompt)

    assert (failed.status, failed.error_kind) == (Status.FAILED, "not_a_picture")
    (kept,) = (harness.project.results / "quarantine").glob("*.bin")
    assert kept.read_bytes().startswith(b"\x89PNG")
    assert str(kept) in str(failed.remedy)
    assert not list((harness.project.results / "generated_images").glob("*.png"))


def test_a_picture_of_another_size_is_kept_with_a_warning(harness: EngineHarness) -> None:
    """A wrong size is said, not thrown away: it is paid for."""
    prompt = harness.prompt()
    harness.simulator.fault(
        provider="duomi", operation="submit", fault="wrong_size", width=32, height=48
    )
    outcome = harness.make_one(prompt)

    assert outcome.status is Status.MADE
    assert outcome.attempt is not None
    assert (outcome.attempt.width, outcome.attempt.height) == (32, 48)
    assert outcome.warnings == ("The picture has 32x48 pixels, not 64x64.",)


class Generous:
    """A service that sends one picture more than was asked for."""

    def __init__(self, inner: ProviderClient, more: bytes) -> None:
        self._inner = inner
        self._more = more
        self.name, self.endpoint = inner.name, inner.endpoint

    def submit(self, request: GenerationRequest) -> Submission:
        """Add the picture to the answer."""
        report = self._inner.submit(request).report
        assert isinstance(report, JobReport)
        images = (*report.images, RemoteImage(data=self._more))
        return Submission(report=JobReport(report.state, images))


def test_a_second_picture_of_one_answer_is_kept_beside_it(harness: EngineHarness) -> None:
    """The first picture is the item's; another one that came with it is kept and said."""
    other = picture(harness.make_one(harness.prompt("another boat", stem="other")))
    provider = Generous(harness.pipeline.provider("duomi"), other)
    context = harness.on_fake_clock(provider=lambda _name: provider)
    outcome = harness.make_one(harness.prompt(), context=context)

    assert outcome.status is Status.MADE
    assert picture(outcome) != other
    (warning,) = outcome.warnings
    assert "kept as" in warning
    extra = Path(str(outcome.path)).with_suffix(".2.png")
    assert extra.read_bytes() == other


def test_a_second_picture_that_is_none_costs_nothing_else(harness: EngineHarness) -> None:
    """Junk beside a good picture is a warning, and does not fail the item."""
    provider = Generous(harness.pipeline.provider("duomi"), b"junk")
    context = harness.on_fake_clock(provider=lambda _name: provider)
    outcome = harness.make_one(harness.prompt(), context=context)

    assert outcome.status is Status.MADE
    (warning,) = outcome.warnings
    assert "could not be kept" in warning
    assert harness.states() == [State.STORED]


class BrokenStore(LocalStore):
    """Raises ``error`` instead of keeping the picture of ``key``."""

    def __init__(self, root: Path, key: str, error: Exception) -> None:
        super().__init__(root)
        self._key = key
        self._error = error

    def keep(self, data: bytes, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture:
        """Fail for the one key."""
        if about["key"] == self._key:
            raise self._error
        return super().keep(data, folder, stem, about)


def test_a_fault_of_the_program_costs_one_item(harness: EngineHarness) -> None:
    """An error that nobody foresaw fails its own item; what it paid for is fetched later."""
    prompts = harness.prompts(**THREE)
    key = prompts[1].key
    store = BrokenStore(harness.pipeline.store.root, key, ValueError("a slip"))
    outcomes = harness.make(prompts, context=harness.on_fake_clock(store=store))

    assert counts(outcomes) == {"made": 2, "failed": 1}
    assert outcomes[key].error_kind == "internal"
    assert "ValueError" in str(outcomes[key].error)
    assert harness.states(key) == [State.COMPLETED]
    assert counts(harness.make(prompts)) == {"reused": 2, "made": 1}
    assert harness.simulator.billed() == 3


def test_a_full_disk_stops_the_batch_and_loses_nothing(harness: EngineHarness) -> None:
    """When pictures cannot be written nothing more is bought; what is paid for is fetched when
    there is room again.
    """
    prompts = harness.prompts(**THREE)
    store = BrokenStore(
        harness.pipeline.store.root, prompts[0].key, StoreError("The disk is full.")
    )
    outcomes = harness.make(prompts, context=harness.on_fake_clock(store=store), concurrency=1)

    assert counts(outcomes) == {"failed": 1, "skipped": 2}
    assert harness.requests(SUBMIT) == 1
    assert harness.states() == [State.COMPLETED]
    assert counts(harness.make(prompts)) == {"made": 3}
    assert harness.simulator.billed() == 3
