"""What the gallery shows of a ledger: cards, their states and order, filters, totals."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, event

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.errors import DecisionError, OutcomeUnknownError, RequestRefusedError
from imagegen_pipeline.ledger import Decision, Filter, Ledger, PictureState, SourceRecord, Verdict
from imagegen_pipeline_tests.unit.ledger.ledger_rows import (
    plan,
    prompt,
    read_whole,
    request,
    scan,
    store,
    submitting,
)


def state(ledger: Ledger, key: str = "a") -> PictureState:
    """The state of an item's card."""
    card = ledger.gallery.card(key)
    assert card is not None
    return card.state


def shown(ledger: Ledger, **wanted: str) -> list[str]:
    """The keys that a filter shows, in order."""
    return [card.key for card in ledger.gallery.cards(Filter(**wanted))]


def test_a_card_follows_its_item_from_waiting_to_approved(ledger: Ledger) -> None:
    """Each step of an item's life is the state that a person would name."""
    ledger.items.record(scan(prompt("a")))
    assert state(ledger) is PictureState.WAITING
    attempt = plan(ledger)
    assert state(ledger) is PictureState.WAITING
    attempt = submitting(ledger, attempt)
    assert state(ledger) is PictureState.RUNNING
    ledger.attempts.stored(attempt, path="p.png", digest="0" * 64, warnings=[])
    assert state(ledger) is PictureState.DONE
    ledger.reviews.decide([attempt.id], Verdict.APPROVED)
    assert state(ledger) is PictureState.APPROVED
    ledger.reviews.decide([attempt.id], Verdict.REJECTED)
    assert state(ledger) is PictureState.REJECTED
    ledger.reviews.decide([attempt.id], Verdict.NONE)
    assert state(ledger) is PictureState.DONE


def test_what_became_of_the_newest_try_comes_first(ledger: Ledger) -> None:
    """A failed or held try shows over the approved picture that the item still has."""
    ledger.items.record(scan(prompt("a")))
    first = store(ledger, plan(ledger))
    ledger.reviews.decide([first.id], Verdict.APPROVED)
    ledger.attempts.failed(submitting(ledger, plan(ledger)), RequestRefusedError("The job failed."))
    card = ledger.gallery.card("a")
    assert card is not None
    assert (card.state, card.verdict, card.attempt) == ("failed", "approved", first.id)
    assert card.error == "The job failed."
    assert shown(ledger, state="approved") == shown(ledger, state="failed") == ["a"]
    counts = ledger.gallery.counts(Filter(state="done"))
    assert (counts["all"], counts["failed"], counts["approved"], counts["done"]) == (1, 1, 1, 0)

    unknown = submitting(ledger, plan(ledger))
    unknown = ledger.attempts.unknown(unknown, OutcomeUnknownError("No answer came."))
    ledger.attempts.held(unknown, error="No answer came.", remedy="Decide.")
    assert state(ledger) is PictureState.HELD
    ledger.decisions.decide("a", Decision.RESUBMIT)
    assert state(ledger) is PictureState.FAILED


def test_the_newest_tries_come_first(ledger: Ledger) -> None:
    """Tried items by their newest try, then those that never were, the last found first."""
    ledger.items.record(scan(*(prompt(key) for key in "abcd")))
    store(ledger, plan(ledger, "b"))
    store(ledger, plan(ledger, "a"))
    assert shown(ledger) == ["a", "b", "d", "c"]
    store(ledger, plan(ledger, "b"))
    assert shown(ledger) == ["b", "a", "d", "c"]
    page = ledger.gallery.cards(Filter(), offset=1, limit=2)
    assert [card.key for card in page] == ["a", "d"]


def test_filters_narrow_what_is_shown(ledger: Ledger) -> None:
    """By source, actor, model, state and words of the prompt or key; all of them together."""
    ledger.items.record(scan(prompt("a", "a red Boat at dawn"), prompt("b", "100% snow")))
    actor = Actor("0100_sailor", "an old sailor", container="/actors", location="x")
    ledger.items.record(SourceRecord("actor", "/actors", [(actor, None)]))
    store(ledger, plan(ledger, "a", request=request("a red Boat at dawn")))
    assert shown(ledger, source="actor") == ["0100_sailor"]
    assert shown(ledger, actor="0100_sailor") == ["0100_sailor"]
    assert shown(ledger, model="sdxl") == ["a"]
    assert shown(ledger, text="DAWN boat") == ["a"]
    assert shown(ledger, text="0% ") == ["b"]
    assert shown(ledger, text="sail") == ["0100_sailor"]
    assert shown(ledger, text="boat", state="waiting") == []
    assert ledger.gallery.marked(Filter(source="json")) == [("a", 1), ("b", None)]
    assert ledger.gallery.matching(["a", "b"], Filter(state="done")) == {"a"}
    assert ledger.gallery.models() == ["sdxl"]
    assert ledger.gallery.sources() == ["actor", "json"]
    assert ledger.gallery.actors() == ["0100_sailor"]


def test_an_open_page_hears_of_each_change_once(ledger: Ledger) -> None:
    """Whatever happens to an item gives it a number higher than all before."""
    heard: list[list[str]] = []
    last = 0

    def listen() -> None:
        nonlocal last
        cards = ledger.gallery.changed(after=last)
        last = ledger.gallery.last_change_seq()
        heard.append(sorted(card.key for card in cards))

    ledger.items.record(scan(prompt("a"), prompt("b")))
    listen()
    ledger.items.record(scan(prompt("a"), prompt("b")))
    listen()
    attempt = plan(ledger, "a")
    listen()
    attempt = submitting(ledger, attempt)
    listen()
    ledger.attempts.stored(attempt, path="p.png", digest="0" * 64, warnings=[])
    listen()
    ledger.reviews.decide([attempt.id], Verdict.APPROVED)
    listen()
    ledger.reviews.decide([attempt.id], Verdict.APPROVED)
    listen()
    ledger.items.record(scan(prompt("a", "another text"), gone=["b"]))
    listen()
    assert heard == [["a", "b"], [], ["a"], ["a"], ["a"], ["a"], [], ["a", "b"]]


def test_a_verdict_is_of_one_picture(ledger: Ledger) -> None:
    """The next picture of the item is a new question; what was said of the first stays."""
    ledger.items.record(scan(prompt("a")))
    first = store(ledger, plan(ledger))
    assert ledger.reviews.decide([first.id], Verdict.APPROVED) == 1
    store(ledger, plan(ledger))
    assert state(ledger) is PictureState.DONE
    newest, oldest = ledger.gallery.history("a")
    assert (newest.verdict, oldest.verdict) == (None, "approved")
    assert oldest.verdict_at is not None
    ledger.reviews.make_current(first.id)
    assert state(ledger) is PictureState.APPROVED


def test_a_thousand_verdicts_are_a_few_statements(ledger: Ledger) -> None:
    """Whoever else writes waits for them: they are not said one by one."""
    keys = [f"k{number}" for number in range(20)]
    ledger.items.record(scan(*map(prompt, keys)))
    made = [store(ledger, plan(ledger, key)) for key in keys]
    message: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        message.append(statement)

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        assert ledger.reviews.decide([one.id for one in made], Verdict.APPROVED) == len(keys)
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert len(message) < len(keys) / 2, message
    assert {card.change_seq for card in ledger.gallery.cards(Filter())} == {
        ledger.gallery.last_change_seq()
    }


def test_a_verdict_on_no_picture_changes_nothing(ledger: Ledger) -> None:
    """All of a selection, or none of it: one that has no picture is named."""
    ledger.items.record(scan(prompt("a"), prompt("b")))
    first, second = store(ledger, plan(ledger, "a")), plan(ledger, "b")
    with pytest.raises(DecisionError, match=f"Attempt {second.id} has no picture"):
        ledger.reviews.decide([first.id, second.id], Verdict.APPROVED)
    assert state(ledger, "a") is PictureState.DONE


def test_totals_count_what_was_made_and_spent(ledger: Ledger) -> None:
    """Made, shared, failed and reused, in all and today; costs, and what has no price."""
    ledger.items.record(scan(prompt("a"), prompt("b"), prompt("c")))
    made = store(ledger, plan(ledger, "a"))
    shared = plan(ledger, "b", shared_from=made.id)
    ledger.attempts.stored(shared, path="q.png", digest="0" * 64, warnings=[], cost=0.0)
    ledger.attempts.failed(submitting(ledger, plan(ledger, "c")), RequestRefusedError("It failed."))
    unpriced = submitting(ledger, plan(ledger, "c"))
    ledger.attempts.stored(unpriced, path="r.png", digest="1" * 64, warnings=[])
    ledger.reviews.count_reuse(3)
    ledger.reviews.count_reuse(2)
    totals = ledger.gallery.totals()
    assert (totals.made.all, totals.made.today) == (2, 2)
    assert (totals.shared.all, totals.failed.all, totals.reused.today) == (1, 1, 5)
    assert (totals.spent_today, totals.reserved_today, totals.unpriced_today) == (0.5, 0.0, 1)
    submitting(ledger, plan(ledger, "c"), reserve=0.25)
    assert ledger.gallery.totals().reserved_today == 0.25


def test_totals_read_no_attempt_of_another_day(ledger: Ledger) -> None:
    """Whatever is counted and summed for the page's head has an index that leads to it."""
    assert read_whole(ledger.gallery.totals) == []
