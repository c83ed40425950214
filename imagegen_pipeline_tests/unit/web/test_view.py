"""Texts, numbers and links of the gallery's pages."""

from __future__ import annotations

import time
from typing import Any

import pytest

from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.ledger import Card, Filter, GalleryStats, PictureState
from imagegen_pipeline.ledger.gallery_stats import Count
from imagegen_pipeline.web.gallery import view

RUN = "0d9d5d0e-6b0e-4a8e-9d43-0e35b6f0a1c2"
DAGSTER = "http://127.0.0.1:3000"


def make_card(**facts: Any) -> Card:
    """A card without a verdict."""
    given: dict[str, Any] = dict.fromkeys(Card.__dataclass_fields__)
    given |= {"key": "a", "kind": "prompt", "source": "json", "location": "", "text": "a boat"}
    given |= {"gone": False, "state": PictureState.DONE, "change_seq": 1}
    return Card(**{**given, **facts})


def make_attempt(**facts: Any) -> Attempt:
    """A stored attempt."""
    given: dict[str, Any] = {
        "id": 1,
        "item_key": "a",
        "kind": "prompt",
        "provider": "duomi",
        "model": "m",
    }
    given |= {"fingerprint": "f", "sent_fingerprint": "s", "request": {}, "seed": 5}
    given |= {"state": State.STORED, "intent": "i", "regenerate": False, "folder": ""}
    given |= {"file_stem": "a", "simulated": False, "created_at": 1.0}
    return Attempt(**{**given, **facts})


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        *((None, "unknown"), (0.0, "0"), (0.0025, "0.0025"), (0.02, "0.02"), (0.00001, "< 0.0001")),
        *((1.5, "1.50"), (12345.678, "12,345.68")),
    ],
)
def test_money(amount: float | None, message: str) -> None:
    """Small amounts keep their digits, large ones have two; None is unknown."""
    assert view.money(amount) == message


def test_times_are_short() -> None:
    """The time if it is today, the day and time this year, else the date with the year."""
    now = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))
    assert view.when(now - 60, now=now) == "11:59"
    assert view.when(now - 86400, now=now) == "20 Nov, 12:00"
    assert view.when(now - 400 * 86400, now=now).endswith("2025")
    assert view.day(now - 86400, now=now) == "20 Nov"
    assert view.when(None) == ""


@pytest.mark.parametrize(
    ("duration", "message"),
    [(None, "unknown"), (2.34, "2.3 s"), (42, "42 s"), (61, "1 min 1 s"), (7300, "2 h 1 min")],
)
def test_durations(duration: float | None, message: str) -> None:
    """In seconds, minutes or hours."""
    assert view.seconds(duration) == message


def test_an_excerpt_is_one_line_that_ends_between_words() -> None:
    """Line breaks are removed, and a cut text ends with an ellipsis."""
    assert view.excerpt("a\n  boat") == "a boat"
    assert view.excerpt("a quiet harbour at dawn", 18) == "a quiet harbour…"
    assert len(view.excerpt("x" * 500, 50)) == 50


def test_a_filter_is_read_from_and_written_to_a_query() -> None:
    """Empty values are omitted; an unknown state means all."""
    wanted = view.filter_of({"state": "failed", "text": " a & b ", "actor": ""})
    assert wanted == Filter(state="failed", text="a & b")
    assert view.query_of(wanted) == "?state=failed&text=a+%26+b"
    assert view.query_of(wanted, state="", text="") == ""
    assert view.filter_of({"state": "nonsense"}) == Filter()


@pytest.mark.parametrize(
    ("intent", "address"),
    [
        (RUN, f"{DAGSTER}/runs/{RUN}"),
        ("abcdefgh", f"{DAGSTER}/runs/b/abcdefgh"),
        ("command-4f1c", None),
        ("javascript:alert(1)", None),
    ],
)
def test_only_runs_and_backfills_link_to_dagster(intent: str, address: str | None) -> None:
    """Other intents have no page there."""
    assert view.AttemptView(make_attempt(intent=intent), DAGSTER).run_url == address


@pytest.mark.parametrize(
    ("facts", "buttons"),
    [
        ({"state": PictureState.FAILED}, ["retry"]),
        ({"state": PictureState.WAITING}, ["regenerate"]),
        ({"state": PictureState.HELD}, ["resubmit", "give-up"]),
        ({"state": PictureState.HELD, "error_kind": "given_up"}, ["allow-retry"]),
        ({"state": PictureState.RUNNING}, []),
        ({"state": PictureState.DONE}, []),
        ({"state": PictureState.FAILED, "gone": True}, []),
    ],
)
def test_remedies_of_each_state(facts: dict[str, Any], buttons: list[str]) -> None:
    """States without a remedy have no button."""
    shown = view.PictureView(view.CardView(make_card(**facts)), (), DAGSTER)
    assert [one.name for one in shown.remedies] == buttons


def test_a_remedy_omits_commands_that_a_button_replaces() -> None:
    """A held item's remedy has no command; other remedies mark commands as code."""
    text = "Look at the list; then `imagegen resolve a --resubmit` to have it made, or --give-up."
    held = make_card(state=PictureState.HELD, remedy=text)
    assert view.CardView(held).remedy == "Look at the list."
    given_up = "To have it made after all: imagegen resolve a --allow-retry."
    assert view.CardView(make_card(state=PictureState.HELD, remedy=given_up)).remedy == ""
    failed = make_card(state=PictureState.FAILED, remedy="Run `imagegen <sync>`.")
    assert view.with_code(view.CardView(failed).remedy) == "Run <code>imagegen &lt;sync&gt;</code>."


@pytest.mark.parametrize(
    ("provider", "limits"),
    [
        ("duomi", {"steps": (1, 100), "side_step": 1, "seed": ("0", "9999999999"), "model": True}),
        ("comfyui", {"steps": (1, 10_000), "side_step": 16, "model": False}),
        ("uninstalled", None),
    ],
)
def test_the_dialog_has_the_limits_of_the_images_provider(
    provider: str, limits: dict[str, Any] | None
) -> None:
    """They come from the provider's description; one that is not installed has none."""
    request = {"prompt": "a boat", "provider": provider, "steps": 20}
    attempt = view.AttemptView(make_attempt(provider=provider, request=request), DAGSTER)
    shown = view.PictureView(view.CardView(make_card(attempt=1)), (attempt,), DAGSTER).form_values
    assert shown["kind"] == "prompt"
    assert (shown["limits"] and shown["limits"] | limits) == shown["limits"]
    assert (shown["limits"] is None) == (limits is None)


def test_the_dialog_edits_an_actors_description() -> None:
    """The dialog starts with the image's description, not with the nine lines."""
    from imagegen_pipeline.domain.actors import base_image_prompt

    request = {"prompt": base_image_prompt("an old man"), "steps": 25}
    attempt = view.AttemptView(make_attempt(provider="runpod", request=request), DAGSTER)
    card = make_card(kind="actor", text="a young man", attempt=1)
    shown = view.PictureView(view.CardView(card), (attempt,), DAGSTER)
    assert shown.form_values["prompt"] == "an old man"
    assert shown.partition_url.endswith("/assets/actor_base_images?view=partitions&partition=a")


def test_the_budget_left_is_never_negative() -> None:
    """Zero when overspent; None without a budget."""
    none = Count(0, 0)
    spent = GalleryStats(
        none, none, none, none, spent_today=4.0, reserved_today=2.0, unpriced_today=0
    )
    assert view.TotalsView(spent, 5.0).left == 0.0
    assert view.TotalsView(spent, 5.0).spent_percent == 100.0
    assert view.TotalsView(spent, None).left is None
    assert view.TotalsView(spent, 0.0).spent_percent == 100.0
