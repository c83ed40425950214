"""Another picture of an item, or a new try at one: what a click in the gallery asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagegen_pipeline.app.base_image import base_image_answer
from imagegen_pipeline.app.cost_estimate import estimate_cost
from imagegen_pipeline.app.regenerate import Mode, Overrides, make_current, plan_regenerate
from imagegen_pipeline.domain.errors import DecisionError, RequestRefusedError
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.requests import Outcome, Status
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.settings import load_settings
from imagegen_pipeline_tests.integration.engine.harness import (
    PARAMETERS,
    SUBMIT,
    EngineHarness,
    picture,
)

NEW = Overrides()


def remake(
    harness: EngineHarness,
    *keys: str,
    how: Mode = Mode.REGENERATE,
    change: Overrides = NEW,
    intent: str = "click-1",
) -> dict[str, Outcome]:
    """What came of a click, by key; what was refused too."""
    plan = plan_regenerate(harness.pipeline, keys, mode=how, overrides=change, intent=intent)
    outcomes = [*plan.refused, *plan.collected]
    for part in plan.batches:
        outcomes += list(harness.pipeline.make(part.kind, part.provider, part.tasks, part.options))
    return {outcome.item_key: outcome for outcome in outcomes}


def test_a_regenerated_picture_differs_in_its_seed_and_counts_for_its_item(
    harness: EngineHarness,
) -> None:
    """Only the seed is new, and the next run of the same wish reuses what was regenerated."""
    prompt = harness.prompt()
    old = harness.make_one(prompt)
    new = remake(harness, prompt.key)[prompt.key]
    assert old.attempt is not None
    assert new.attempt is not None
    assert new.status is Status.MADE
    assert new.attempt.seed != old.attempt.seed
    assert new.attempt.request == old.attempt.request
    assert harness.make_one(prompt).path == new.path
    assert harness.simulator.billed() == 2


def test_an_edited_picture_counts_for_its_item(harness: EngineHarness) -> None:
    """Prompt, steps, size and seed can differ; the item's own wish then reuses the picture."""
    prompt = harness.prompt("a red boat")
    harness.make_one(prompt)
    change = Overrides(prompt="a green boat", steps=12, width=96, height=64, seed=7)
    edited = remake(harness, prompt.key, change=change)[prompt.key]
    assert edited.attempt is not None
    sent = edited.attempt.sent_request
    assert (sent.prompt, sent.steps, sent.size, sent.seed) == ("a green boat", 12, "96x64", 7)
    again = harness.make_one(prompt)
    assert (again.status, again.path) == (Status.REUSED, edited.path)
    kept = remake(harness, prompt.key, intent="click-2")[prompt.key].attempt
    assert kept is not None
    assert kept.request["prompt"] == "a green boat"
    assert harness.simulator.billed() == 3


def test_a_text_that_its_source_has_changed_is_what_is_made_next(harness: EngineHarness) -> None:
    """After an edit in the source, a regenerate without a prompt of its own makes the new text."""
    prompt = harness.prompt("a red boat")
    harness.make_one(prompt, PromptParameters(image_size="64x96"))
    edited = harness.prompt("a blue boat")
    new = remake(harness, prompt.key)[prompt.key]
    assert new.attempt is not None
    assert new.attempt.request["prompt"] == "a blue boat"
    assert new.attempt.sent_request.size == "64x96"
    assert edited.key == prompt.key


def test_the_same_seed_is_kept_when_asked_for(harness: EngineHarness) -> None:
    """``same`` sends the shown picture's own seed, drawn ones too."""
    prompt = harness.prompt()
    first = harness.make_one(prompt, replace(PARAMETERS, seed=-1))
    new = remake(harness, prompt.key, change=Overrides(seed="same", steps=30))[prompt.key]
    assert first.attempt is not None
    assert new.attempt is not None
    assert new.attempt.seed == first.attempt.seed
    assert new.attempt.sent_request.steps == 30


def test_one_click_buys_once(harness: EngineHarness) -> None:
    """The same click again, a retry of its request say, gets the picture it bought."""
    prompt = harness.prompt()
    harness.make_one(prompt)
    first, again = (remake(harness, prompt.key)[prompt.key] for _ in range(2))
    assert (first.path, again.status) == (again.path, Status.REUSED)
    assert harness.simulator.billed() == 2


def test_an_actor_is_described_and_its_fixed_path_follows(harness: EngineHarness) -> None:
    """For an actor the prompt is the description; the new picture lies at the users' path, and
    the roster's own wish reuses it.
    """
    actor = harness.actor()
    old = harness.make_base(actor)
    old_bytes = picture(old)
    change = Overrides(prompt="young sailor", steps=30, model="ignored", guidance=9.0)
    new = remake(harness, actor.key, change=change)[actor.key]
    assert new.attempt is not None
    assert "portrait photograph of a young sailor." in new.attempt.request["prompt"]
    assert new.attempt.model != "ignored"
    assert new.path == old.path
    assert picture(new) != old_bytes
    assert harness.make_base(actor).status is Status.REUSED
    answer = base_image_answer(harness.pipeline, actor.key)
    assert answer is not None
    assert answer.body["metadata"]["description"] == "young sailor"
    assert answer.body["metadata"]["steps"] == 30


def test_an_item_without_a_picture_gets_its_first(harness: EngineHarness) -> None:
    """Regenerate on a waiting item makes what its source asks for, which then is reused."""
    prompt = harness.prompt()
    change = Overrides(width=64, height=64)
    made = remake(harness, prompt.key, change=change)[prompt.key]
    assert made.status is Status.MADE
    assert made.attempt is not None
    assert not made.attempt.regenerate
    assert harness.make_one(prompt, PromptParameters()).path == made.path


def test_what_is_held_waits_for_a_decision(harness: EngineHarness) -> None:
    """A retry says that it is held, and a quote does not promise a picture of it."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="duomi", operation="submit", fault="broken_json")
    change = Overrides(width=64, height=64)
    assert remake(harness, prompt.key, change=change)[prompt.key].status is Status.HELD
    retried = remake(harness, prompt.key, how=Mode.RETRY, intent="click-2")[prompt.key]
    assert retried.error == f"{prompt.key} is held."
    assert "--resubmit" in (retried.remedy or "")
    for how in Mode:
        message = estimate_cost(harness.pipeline, [prompt.key], mode=how, overrides=change)
        assert (message.make, message.reuse, message.refused) == (0, 0, 1), how
    unknown = remake(harness, "no-such-key")["no-such-key"]
    assert "held" not in (unknown.remedy or "")


def test_a_click_for_a_first_picture_buys_once_too(harness: EngineHarness) -> None:
    """Asked again with its intent, when there is a picture by now, it gets that one; also when
    another has been made current since.
    """
    prompt, change = harness.prompt(), Overrides(width=64, height=64, seed=-1)
    first = remake(harness, prompt.key, change=change)[prompt.key]
    again = remake(harness, prompt.key, change=change)[prompt.key]
    assert (again.status, again.path) == (Status.REUSED, first.path)
    edited = replace(change, prompt="a green boat")
    assert remake(harness, prompt.key, change=edited, intent="click-2")[prompt.key].ok
    again = remake(harness, prompt.key, change=change)[prompt.key]
    assert (again.status, again.path) == (Status.REUSED, first.path)
    assert harness.simulator.billed() == 2


def test_a_click_goes_on_with_what_it_had_begun(harness: EngineHarness) -> None:
    """What failed of it is asked for as it was, although there is another picture by now."""
    prompt, change = harness.prompt(), Overrides(width=64, height=64, seed=77, steps=33)
    harness.simulator.fault(provider="duomi", operation="submit", fault="status", status=400)
    assert remake(harness, prompt.key, change=change)[prompt.key].status is Status.FAILED
    harness.make_one(prompt)
    gone_on = remake(harness, prompt.key, change=change)[prompt.key]
    assert gone_on.status is Status.MADE
    assert gone_on.attempt is not None
    sent = gone_on.attempt.sent_request
    assert (sent.seed, sent.steps) == (77, 33)


def test_a_retry_that_is_asked_again_gets_what_it_made(harness: EngineHarness) -> None:
    """It is not told that there is nothing to retry."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="duomi", operation="submit", fault="status", status=400)
    harness.make_one(prompt)
    made, again = (remake(harness, prompt.key, how=Mode.RETRY)[prompt.key] for _ in range(2))
    assert (made.status, again.status) == (Status.MADE, Status.REUSED)
    assert made.path == again.path


def test_a_retry_asks_the_same_again(harness: EngineHarness) -> None:
    """What failed is sent as it was asked for, with the seed that was drawn for it."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="duomi", operation="submit", fault="status", status=400)
    failed = harness.make_one(prompt, replace(PARAMETERS, seed=-1, steps=33))
    (drawn,) = harness.attempts()
    retried = remake(harness, prompt.key, how=Mode.RETRY)[prompt.key]
    assert failed.status is Status.FAILED
    assert retried.status is Status.MADE
    assert retried.attempt is not None
    assert (retried.attempt.seed, retried.attempt.sent_request.steps) == (drawn.seed, 33)


def test_a_retry_of_a_failed_regenerate_makes_a_new_picture(harness: EngineHarness) -> None:
    """The old picture does not answer the retry, and the click it belongs to buys once."""
    prompt = harness.prompt()
    old = harness.make_one(prompt)
    harness.simulator.fault(provider="duomi", operation="submit", fault="status", status=400)
    assert remake(harness, prompt.key)[prompt.key].status is Status.FAILED
    retried = remake(harness, prompt.key, how=Mode.RETRY, intent="click-2")[prompt.key]
    assert retried.status is Status.MADE
    assert retried.path != old.path
    assert remake(harness, prompt.key)[prompt.key].path == retried.path
    assert harness.simulator.billed() == 2


def test_a_retry_of_what_did_not_fail_is_refused(harness: EngineHarness) -> None:
    """Try again on a picture that is there buys nothing and says so, item by item."""
    prompt = harness.prompt()
    harness.make_one(prompt)
    outcomes = remake(harness, prompt.key, "json-nobody-00000000", how=Mode.RETRY)
    assert {o.error_kind for o in outcomes.values()} == {"decision"}
    assert "has not failed" in str(outcomes[prompt.key].error)
    assert harness.simulator.billed() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Overrides(steps=101), "Steps are 1 to 100"),
        (Overrides(seed=-5), "Seeds are 0 to"),
        (Overrides(guidance=21.0), "Guidance is 0 to 20"),
        (Overrides(width=0), "is not a size"),
    ],
)
def test_what_the_service_would_refuse_is_refused_first(
    change: Overrides, message: str, harness: EngineHarness
) -> None:
    """A change out of range is an outcome with its reason; nothing is written or sent."""
    prompt = harness.prompt()
    outcome = remake(harness, prompt.key, change=change)[prompt.key]
    assert outcome.status is Status.FAILED
    assert message in str(outcome.error)
    assert harness.attempts() == []
    assert harness.requests(SUBMIT) == 0


def test_a_size_that_the_graph_cannot_make_is_refused_first(harness: EngineHarness) -> None:
    """An actor's picture of 1001 pixels is refused with the nearest sizes."""
    actor = harness.actor()
    outcome = remake(harness, actor.key, change=Overrides(width=1001))[actor.key]
    assert "cannot be drawn" in str(outcome.error)
    assert "992x" in str(outcome.remedy)


def test_a_blank_prompt_refuses_the_whole_click(harness: EngineHarness) -> None:
    """A change that no item could have is the click's fault, not an item's."""
    with pytest.raises(RequestRefusedError, match="blank"):
        remake(harness, harness.prompt().key, change=Overrides(prompt=" "))


def test_a_quote_says_what_a_click_would_cost(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two new pictures and one that is refused: the price of two, and the day's budget."""
    monkeypatch.setenv("IMAGEGEN_PRICES", '{"duomi": {"*": 0.25}}')
    monkeypatch.setenv("IMAGEGEN_BUDGET_DAY", "10")
    prompts = harness.prompts(a="boat a", b="boat b")
    harness.make(prompts[:1])
    harness.pipeline = Pipeline(load_settings())
    keys = [*(prompt.key for prompt in prompts), "json-nobody-00000000"]
    message = estimate_cost(harness.pipeline, keys, mode=Mode.REGENERATE, overrides=NEW)
    assert (message.make, message.reuse, message.refused) == (2, 0, 1)
    assert message.reasons == ("No item has the key json-nobody-00000000.",)
    assert (message.cost, message.budget_day) == (0.5, 10.0)
    assert estimate_cost(harness.pipeline, keys, mode=Mode.RETRY, overrides=NEW).make == 1
    assert len(harness.attempts()) == 1


def test_an_older_picture_can_be_chosen(harness: EngineHarness) -> None:
    """The chosen picture is the current one again, and is what the item's wish reuses."""
    prompt = harness.prompt()
    first = harness.make_one(prompt)
    remake(harness, prompt.key)
    assert first.attempt is not None
    make_current(harness.pipeline, first.attempt.id)
    again = harness.make_one(prompt)
    assert (again.status, again.path) == (Status.REUSED, first.path)
    assert harness.pipeline.ledger.attempts.unreported()[0].id == first.attempt.id


def test_an_older_base_image_goes_back_to_its_fixed_path(harness: EngineHarness) -> None:
    """Choosing writes the old picture to the users' path; both stay in the history."""
    actor = harness.actor()
    first = harness.make_base(actor)
    before = picture(first)
    second = picture(remake(harness, actor.key)[actor.key])
    assert first.attempt is not None
    assert second != before
    make_current(harness.pipeline, first.attempt.id)
    assert picture(first) == before
    folder = harness.pipeline.picture_path(first.attempt).parent / "history"
    assert len(list(folder.glob("*.png"))) == 2


def test_a_picture_that_is_not_there_cannot_be_chosen(harness: EngineHarness) -> None:
    """An attempt without a file, or of nobody, is refused and changes nothing."""
    prompt = harness.prompt()
    made = harness.make_one(prompt)
    assert made.attempt is not None
    harness.pipeline.store.absolute(made.attempt.path or "").unlink()
    for attempt_id in (made.attempt.id, 999):
        with pytest.raises(DecisionError, match="no image on disk"):
            make_current(harness.pipeline, attempt_id)


def test_an_item_that_is_being_made_is_not_changed_under_the_engine(harness: EngineHarness) -> None:
    """While another process holds the item, choosing is refused."""
    prompt = harness.prompt()
    made = harness.make_one(prompt)
    assert made.attempt is not None
    harness.pipeline.ledger.leases.acquire([f"item:{prompt.key}"], "somebody")
    with pytest.raises(DecisionError, match="being generated"):
        make_current(harness.pipeline, made.attempt.id)


def test_reused_pictures_are_counted(harness: EngineHarness) -> None:
    """What a batch reused is added to the day's count; what it made is not."""
    prompts = harness.prompts(a="boat a", b="boat b")
    harness.make(prompts[:1])
    harness.make(prompts)
    harness.make(prompts)
    totals = harness.pipeline.ledger.gallery.totals()
    assert (totals.reused.all, totals.reused.today) == (3, 3)
    assert (totals.made.all, totals.made.today, totals.failed.all) == (2, 2, 0)


def test_a_quote_keeps_what_has_a_price_apart(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base images are paid by the second: their part is set aside, and hides no known price."""
    monkeypatch.setenv(
        "IMAGEGEN_PRICES", '{"duomi": {"sdxl": 0.25}, "runpod": {"per_second": 0.001}}'
    )
    prompt, actor = harness.prompt(), harness.actor()
    harness.pipeline = Pipeline(load_settings())
    keys = [prompt.key, actor.key]
    change = Overrides(model="sdxl")
    message = estimate_cost(harness.pipeline, keys, mode=Mode.REGENERATE, overrides=change)
    assert (message.make, message.by_time, message.unpriced, message.cost) == (2, 1, 0, 0.25)
    assert message.reserve == pytest.approx(0.25 + 0.9)
    unknown = estimate_cost(
        harness.pipeline, keys, mode=Mode.REGENERATE, overrides=Overrides(model="other")
    )
    assert (unknown.by_time, unknown.unpriced, unknown.cost) == (1, 1, None)
