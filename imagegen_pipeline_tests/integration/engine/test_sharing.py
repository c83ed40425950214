"""Identical requests with a fixed seed share one bill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline.domain.requests import State, Status
from imagegen_pipeline.storage.pictures import LocalStore, StoredPicture
from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.engine.harness import (
    DRAWN,
    GPT,
    PARAMETERS,
    RUN,
    SUBMIT,
    EngineHarness,
    counts,
    picture,
    submitted,
)
from imagegen_pipeline_tests.unit.ledger.ledger_rows import submitting

SAME = {"a": "one and the same boat", "b": "one and the same boat", "c": "one and the same boat"}


def test_identical_requests_of_one_batch_share_one_bill(harness: EngineHarness) -> None:
    """Three items that ask for the same picture cost one; each has a file of its own name."""
    outcomes = harness.make(harness.prompts(**SAME))

    assert counts(outcomes) == {"made": 1, "shared": 2}
    assert harness.simulator.billed() == 1
    assert len({outcome.path for outcome in outcomes.values()}) == 3
    assert len({picture(outcome) for outcome in outcomes.values()}) == 1
    stems = sorted(Path(str(outcome.path)).name.partition("_")[0] for outcome in outcomes.values())
    assert stems == ["a", "b", "c"]


def test_the_sharer_pays_nothing_and_names_its_source(
    project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bill is the maker's; the sharer's row says 0 and whose picture it is."""
    monkeypatch.setenv("IMAGEGEN_PRICES", json.dumps({"duomi": {PARAMETERS.model: 0.25}}))
    with closing(project.pipeline()) as pipeline:
        harness = EngineHarness(project, simulator, pipeline)
        outcomes = harness.make(harness.prompts(a=SAME["a"], b=SAME["b"]))

        by_status = {outcome.status: outcome for outcome in outcomes.values()}
        maker, sharer = by_status[Status.MADE].attempt, by_status[Status.SHARED].attempt
        assert maker is not None
        assert sharer is not None
        assert (maker.cost, by_status[Status.MADE].cost) == (0.25, 0.25)
        assert (sharer.cost, by_status[Status.SHARED].cost) == (0, 0)
        assert sharer.shared_from == maker.id
        assert sum(attempt.cost or 0 for attempt in harness.attempts()) == 0.25


def test_identical_requests_of_later_batches_share_too(harness: EngineHarness) -> None:
    """A later batch finds the picture that an earlier one made for another item."""
    first = harness.make_one(harness.prompt(SAME["a"], stem="a"))
    second = harness.make_one(harness.prompt(SAME["b"], stem="b"))

    assert second.status is Status.SHARED
    assert second.path != first.path
    assert picture(second) == picture(first)
    assert harness.simulator.billed() == 1


def test_a_shared_picture_is_reused_like_any_other(harness: EngineHarness) -> None:
    """The sharer's next batch reuses its own file."""
    prompts = harness.prompts(**SAME)
    before = harness.make(prompts)
    again = harness.make(prompts)

    assert counts(again) == {"reused": 3}
    assert {key: one.path for key, one in again.items()} == {
        key: one.path for key, one in before.items()
    }


def test_a_random_seed_is_never_shared(harness: EngineHarness) -> None:
    """Seed -1 asks for a picture of one's own: three items, three seeds, three bills."""
    outcomes = harness.make(harness.prompts(**SAME), DRAWN)

    assert counts(outcomes) == {"made": 3}
    assert len({attempt.seed for attempt in harness.attempts()}) == 3
    assert len({picture(outcome) for outcome in outcomes.values()}) == 3
    assert harness.simulator.billed() == 3


def test_a_deleted_source_leaves_the_other_links(harness: EngineHarness) -> None:
    """When the file that was paid for is gone, a third item shares the second one's."""
    made = harness.make_one(harness.prompt(SAME["a"], stem="a"))
    second = harness.make_one(harness.prompt(SAME["b"], stem="b"))
    Path(str(made.path)).unlink()
    third = harness.make_one(harness.prompt(SAME["c"], stem="c"))

    assert third.status is Status.SHARED
    assert third.attempt is not None
    assert second.attempt is not None
    assert third.attempt.shared_from == second.attempt.id
    assert harness.simulator.billed() == 1


def test_many_deleted_sources_hide_no_later_one(harness: EngineHarness) -> None:
    """However often the same picture was made and deleted, the one on disk is shared."""
    prompt = harness.prompt(SAME["a"], stem="a")
    for _ in range(11):
        Path(str(harness.make_one(prompt).path)).unlink()
    harness.make_one(prompt)
    other = harness.make_one(harness.prompt(SAME["b"], stem="b"))

    assert other.status is Status.SHARED
    assert harness.simulator.billed() == 12


def test_an_altered_source_is_not_shared(harness: EngineHarness) -> None:
    """A file that is no longer the picture that was paid for is not handed on."""
    made = Path(str(harness.make_one(harness.prompt(SAME["a"], stem="a")).path))
    made.write_bytes(made.read_bytes()[:-1] + b"?")
    second = harness.make_one(harness.prompt(SAME["b"], stem="b"))

    assert second.status is Status.MADE
    assert harness.simulator.billed() == 2


class VanishingStore(LocalStore):
    """A folder in which a file goes away just as it is to be shared."""

    def share(self, path: str, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture:
        """Lose the source, then try."""
        self.absolute(path).unlink()
        return super().share(path, folder, stem, about)


def test_a_source_that_vanishes_meanwhile_costs_only_a_new_bill(harness: EngineHarness) -> None:
    """A file deleted between the look and the copy neither fails the item nor stops the batch."""
    harness.make_one(harness.prompt(SAME["a"], stem="a"))
    context = harness.on_fake_clock(store=VanishingStore(harness.pipeline.store.root))
    outcomes = harness.make(harness.prompts(b=SAME["b"], other="another boat"), context=context)

    assert counts(outcomes) == {"made": 2}
    assert sorted(harness.states()) == [State.FAILED, *[State.STORED] * 3]
    assert harness.simulator.billed() == 3


def test_a_failed_item_keeps_its_drawn_seed(harness: EngineHarness) -> None:
    """A random seed is drawn once: what is sent after a failure is the same request."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="duomi", operation="submit", fault="status", status=400)
    failed = harness.make_one(prompt, DRAWN)
    made = harness.make_one(prompt, DRAWN)

    assert (failed.status, made.status) == (Status.FAILED, Status.MADE)
    first, second = harness.attempts()
    assert first.seed == second.seed != -1
    assert first.request["seed"] == second.request["seed"] == -1, "as asked"


def test_what_was_sent_for_an_identical_request_is_collected_first(harness: EngineHarness) -> None:
    """A process died with a task sent for one item: another item with the same request shares
    that task's picture, and sends nothing.
    """
    prompts = harness.prompts(a="the same boat", b="the same boat")
    first, second = prompts
    attempt = submitting(harness.pipeline.ledger, harness.plan(first, GPT))
    duomi = harness.pipeline.provider("duomi")
    task = str(duomi.submit(attempt.sent_request).job_id)
    harness.pipeline.ledger.attempts.submitted(attempt, job_id=task, endpoint=duomi.endpoint)

    outcome = harness.make_one(second, GPT)
    assert outcome.status is Status.SHARED
    assert harness.requests(SUBMIT) == 1
    assert harness.simulator.billed() == 1
    assert harness.states(first.key) == [State.STORED]
    assert harness.make_one(first, GPT).status is Status.REUSED


def test_a_twin_that_cannot_be_had_yet_is_not_bought_instead(harness: EngineHarness) -> None:
    """While the picture of an identical request may still come home, nobody pays for it again."""
    first, second = harness.prompts(a="the same boat", b="the same boat")
    harness.simulator.fault(
        provider="files", operation="download", fault="status", status=500, times=8
    )
    assert harness.make_one(first, context=harness.on_fake_clock()).error_kind == "download"
    outcome = harness.make_one(second, context=harness.on_fake_clock())
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "download")
    assert harness.simulator.billed() == 1
    assert harness.make_one(second).status is Status.SHARED
    assert harness.simulator.billed() == 1


def test_a_twins_base_image_lands_at_its_own_actor(harness: EngineHarness) -> None:
    """Two actors with one description and seed: what was sent for the first becomes the first's
    picture too, at its own path.
    """
    facts = {"description": "an old sailor", "seed": 7}
    first, second = (harness.actor(name, **facts) for name in ("0100_first", "0100_second"))
    submitted(harness, first, seed=7)

    outcome = harness.make_base(second)
    assert outcome.status is Status.SHARED
    assert harness.requests(RUN) == 1
    for actor in (first, second):
        folder = harness.project.results / "actors" / actor.name / "base_image"
        assert (folder / f"{actor.name}_base.png").is_file()
        assert harness.make_base(actor).status is Status.REUSED
