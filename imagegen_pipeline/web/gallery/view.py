"""View models: the ledger's data as texts, links and buttons for the templates."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup, escape

from imagegen_pipeline.domain.actors import base_image_prompt
from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.domain.requests import OPEN_STATES, Attempt, State
from imagegen_pipeline.ledger.decisions import GIVEN_UP
from imagegen_pipeline.ledger.gallery_queries import Card, Filter, PictureState
from imagegen_pipeline.ledger.gallery_stats import GalleryStats
from imagegen_pipeline.providers.registry import registry

SOURCE_NAMES = {
    "database": "Database",
    "json": "JSON files",
    "single_prompt": "Typed prompts",
    "actor": "Actors",
}
_FILTERS = ("state", "source", "actor", "model", "text")
_ASSETS = {"prompt": "generated_images", "actor": "actor_base_images"}
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BACKFILL_ID = re.compile(r"[a-z]{8}")


def filter_of(query: Mapping[str, str]) -> Filter:
    """The filter in a page's query; an unknown state means all states."""
    given = {name: query.get(name, "").strip() for name in _FILTERS}
    if given["state"] not in set(PictureState):
        given["state"] = ""
    text = given.pop("text")
    return Filter(**{name: value or None for name, value in given.items()}, text=text)


def query_of(filters: Filter, **changes: object) -> str:
    """``?state=…&text=…`` for a filter; empty for no filter."""
    values = {**asdict(filters), **changes}
    query = urlencode({name: value for name, value in values.items() if value})
    return f"?{query}" if query else ""


def money(amount: float | None) -> str:
    """An amount with as many digits as it needs; ``unknown`` for None."""
    if amount is None:
        return "unknown"
    if amount == 0:
        return "0"
    if abs(amount) >= 1:
        return f"{amount:,.2f}"
    return f"{amount:.4f}".rstrip("0").rstrip(".") if abs(amount) >= 0.0001 else "< 0.0001"


def when(moment: float | None, *, now: float | None = None) -> str:
    """A point in time in local time: the time if it is today, else with the date."""
    if moment is None:
        return ""
    then, today = time.localtime(moment), time.localtime(time.time() if now is None else now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    day = f"{then.tm_mday} {time.strftime('%b', then)}"
    return f"{day}, {time.strftime('%H:%M', then)}" if then[0] == today[0] else f"{day} {then[0]}"


def day(moment: float | None, *, now: float | None = None) -> str:
    """A short form: the time if it is today, else the date."""
    return when(moment, now=now).partition(",")[0]


def moment_iso(moment: float) -> str:
    """A point in time in ISO 8601, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def seconds(duration: float | None) -> str:
    """A duration as text."""
    if duration is None:
        return "unknown"
    if duration < 60:
        return f"{duration:.1f} s" if duration < 10 else f"{duration:.0f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def excerpt(text: str, length: int = 160) -> str:
    """The beginning of a text on one line, cut between words."""
    line = " ".join(text[: length * 2].split())
    if len(line) <= length:
        return line
    head = line[: length - 1]
    return (head[: head.rfind(" ")] if " " in head[length // 2 :] else head) + "…"


def with_code(text: str) -> Markup:
    """A sentence as HTML, with ``<code>`` for text between backticks."""
    parts = (escape(part) for part in text.split("`"))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part
        for index, part in enumerate(parts)
    )


def without_commands(text: str) -> str:
    """A remedy without the clauses that name a command, where a button does the same."""
    clauses = re.split(r"(?<=[;.:]) ", text)
    kept = [clause for clause in clauses if not re.search(r"`|\bimagegen \w+ ", clause)]
    # A clause that ended with a colon or semicolon before a command now ends the sentence.
    sentence = " ".join(kept).rstrip("; ")
    return "" if not sentence or sentence.endswith(":") else sentence.rstrip(".") + "."


@dataclass(frozen=True, slots=True)
class CardView:
    """One card. ``position`` is its number among the matching cards, from 1."""

    card: Card
    position: int | None = None
    matches: bool | None = None

    @property
    def thumbnail(self) -> str | None:
        """The thumbnail's address."""
        return None if self.card.attempt is None else f"/thumbnails/{self.card.attempt}.webp"

    @property
    def href(self) -> str:
        """The address of the item's page."""
        return f"/picture/{quote(self.card.key, safe='')}"

    @property
    def state(self) -> str:
        """The state's name."""
        return str(self.card.state)

    @property
    def state_label(self) -> str:
        """The state's label."""
        return "Given up" if self.given_up else self.state.capitalize()

    @property
    def given_up(self) -> bool:
        """Whether a person gave it up."""
        return self.card.state is PictureState.HELD and self.card.error_kind == GIVEN_UP

    @property
    def remedy(self) -> str:
        """The remedy, without what the page's buttons do."""
        remedy = self.card.remedy or ""
        return without_commands(remedy) if self.card.state is PictureState.HELD else remedy

    @property
    def label(self) -> str:
        """The card's label for screen readers."""
        verdict = "" if self.card.verdict in (None, self.state) else f", {self.card.verdict}"
        return f"{self.card.key}: {self.state_label}{verdict}. {excerpt(self.card.text, 120)}"

    @property
    def needs_action(self) -> bool:
        """Whether a person has to act: it failed or is held."""
        return self.card.state in (PictureState.FAILED, PictureState.HELD)


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One attempt of an item."""

    attempt: Attempt
    dagster_url: str

    @property
    def has_picture(self) -> bool:
        """Whether its image was stored."""
        return self.attempt.state is State.STORED

    @property
    def state(self) -> str:
        """The corresponding card state, for colour and icon."""
        if self.has_picture:
            return self.attempt.verdict or "done"
        if self.attempt.state in OPEN_STATES:
            return "waiting" if self.attempt.state is State.PLANNED else "running"
        return "held" if self.attempt.state is State.HELD else "failed"

    @property
    def state_label(self) -> str:
        """The label of the attempt's own state."""
        verdict = f", {self.attempt.verdict}" if self.attempt.verdict else ""
        return str(self.attempt.state).capitalize() + verdict

    @property
    def size(self) -> str:
        """The image's size, or the requested one."""
        attempt, request = self.attempt, self.attempt.request
        width = attempt.width or request.get("width")
        height = attempt.height or request.get("height")
        return f"{width} × {height}"  # noqa: RUF001 - the multiplication sign

    @property
    def moment(self) -> float:
        """When it ended, or else started."""
        return self.attempt.finished_at or self.attempt.submitted_at or self.attempt.created_at

    @property
    def run_url(self) -> str | None:
        """Dagster's page of the run or backfill of this attempt; None if there is none."""
        intent = self.attempt.intent
        if _RUN_ID.fullmatch(intent):
            return f"{self.dagster_url}/runs/{intent}"
        if _BACKFILL_ID.fullmatch(intent):
            return f"{self.dagster_url}/runs/b/{intent}"
        return None

    def requested(self, name: str) -> Any:  # noqa: ANN401 - a request's fields
        """A field of the request."""
        return self.attempt.request.get(name)


@dataclass(frozen=True, slots=True)
class Action:
    """A button: its ``data-action``, label and CSS class."""

    name: str
    label: str
    css_class: str = ""


@dataclass(frozen=True, slots=True)
class PictureView:
    """An item's page: its card and all its attempts, newest first."""

    view: CardView
    attempts: tuple[AttemptView, ...]
    dagster_url: str
    base_request: Mapping[str, Any] = field(default_factory=dict)
    """The request that a regenerate without overrides would send."""

    @property
    def card(self) -> Card:
        """The item's card."""
        return self.view.card

    @property
    def current(self) -> AttemptView | None:
        """The attempt of the current image."""
        return next((one for one in self.attempts if one.attempt.id == self.card.attempt), None)

    @property
    def shown(self) -> AttemptView | None:
        """The attempt whose parameters are shown: the current image's, or the newest."""
        return self.current or (self.attempts[0] if self.attempts else None)

    @property
    def older(self) -> tuple[AttemptView, ...]:
        """The item's other images."""
        return tuple(
            one for one in self.attempts if one.has_picture and one.attempt.id != self.card.attempt
        )

    @property
    def full_prompt(self) -> str | None:
        """An actor's whole prompt: the guide's nine lines with the description."""
        return base_image_prompt(self.card.text) if self.card.kind == "actor" else None

    @property
    def sent_prompt(self) -> str | None:
        """The prompt of the shown attempt if it differs from the item's present text."""
        sent = self.shown.requested("prompt") if self.shown else None
        return None if sent in (None, self.card.text, self.full_prompt) else str(sent)

    @property
    def form_values(self) -> dict[str, Any]:
        """The regenerate dialog's initial values: the shown attempt's request, with the source's
        present text.
        """
        shown = self.shown
        request = self.base_request or ({} if shown is None else shown.attempt.request)
        if not request:
            return {}
        copied = ("negative_prompt", "steps", "guidance", "width", "height")
        return {
            "kind": self.card.kind,
            "limits": _limits(str(request.get("provider", ""))),
            "prompt": self._editable_text(str(request.get("prompt", self.card.text))),
            "model": request.get("model", ""),
            "seed": "" if shown is None else str(shown.attempt.seed),
            "first": self.current is None,
            **{name: request.get(name, "") for name in copied},
        }

    def _editable_text(self, sent: str) -> str:
        """The text that a person edits: for an actor the description, not the nine lines."""
        if self.card.kind != "actor":
            return sent
        head, tail = base_image_prompt("\0").split("\0")
        if not (sent.startswith(head) and sent.endswith(tail)):
            return self.card.text
        return sent[len(head) : len(sent) - len(tail)]

    @property
    def can_regenerate(self) -> bool:
        """Whether to show the regenerate button beside the remedies."""
        if self.card.gone or self.card.state is PictureState.WAITING:
            return False
        return self.current is not None or self.card.state is PictureState.FAILED

    @property
    def partition_url(self) -> str:
        """Dagster's page of the item's partition."""
        key = quote(self.card.key, safe="")
        asset = _ASSETS[self.card.kind]
        return f"{self.dagster_url}/assets/{asset}?view=partitions&partition={key}"

    @property
    def remedies(self) -> tuple[Action, ...]:
        """The buttons for an item that failed, is held, or has no attempt."""
        if self.card.gone:
            return ()
        if self.view.given_up:
            return (Action("allow-retry", "Allow retry…", "primary"),)
        if self.card.state is PictureState.HELD:
            return (
                Action("resubmit", "Send again…", "primary"),
                Action("give-up", "Give up"),
            )
        if self.card.state is PictureState.FAILED:
            return (Action("retry", "Retry", "primary"),)
        if self.card.state is PictureState.WAITING:
            return (Action("regenerate", "Generate…", "primary"),)
        return ()


@dataclass(frozen=True, slots=True)
class TotalsView:
    """The summary above the cards."""

    totals: GalleryStats
    budget_day: float | None

    @property
    def committed(self) -> float:
        """Spent today, plus reserved for attempts in flight."""
        return self.totals.spent_today + self.totals.reserved_today

    @property
    def left(self) -> float | None:
        """Left of today's budget; None without one."""
        if self.budget_day is None:
            return None
        return max(0.0, self.budget_day - self.committed)

    @property
    def spent_percent(self) -> float:
        """Percent of today's budget that is spent, 0 to 100."""
        if not self.budget_day:
            return 100.0 if self.budget_day == 0 else 0.0
        return min(100.0, 100.0 * self.committed / self.budget_day)


def card_views(
    cards: Sequence[Card], *, first: int | None = None, matching: set[str] | None = None
) -> list[CardView]:
    """View models of cards, numbered from ``first``, or marked whether they are in ``matching``."""
    return [
        CardView(
            card,
            None if first is None else first + number,
            None if matching is None else card.key in matching,
        )
        for number, card in enumerate(cards)
    ]


def _limits(provider: str) -> dict[str, Any] | None:
    """The provider's limits for the dialog's fields; None for one that is not installed now.

    Seeds are texts, since JavaScript's numbers are too short for them.
    """
    try:
        capabilities = registry().get(provider).capabilities
    except SetupError:
        return None
    least, most = capabilities.seed
    return {
        "steps": capabilities.steps,
        "guidance": capabilities.guidance,
        "side": capabilities.side,
        "side_step": capabilities.side_step,
        "seed": (str(least), str(most)),
        "model": capabilities.model,
    }
