"""Queries of the gallery: one card per item, with its state and its current image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, case, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from imagegen_pipeline.domain.requests import Attempt, ProviderName, State
from imagegen_pipeline.ledger.attempt_queries import COLUMNS, to_attempt
from imagegen_pipeline.ledger.change_log import last_change_seq
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.gallery_stats import FAILED, GalleryStats, gallery_stats
from imagegen_pipeline.ledger.schema import attempts, items


class PictureState(StrEnum):
    """The state of an item: a problem of its newest attempt comes before its image's review."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    HELD = "held"
    APPROVED = "approved"
    REJECTED = "rejected"


VERDICTS = (PictureState.APPROVED, PictureState.REJECTED)
_RUNNING = (State.SUBMITTING, State.SUBMITTED, State.COMPLETED)


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects cards by state, source (database, json, single_prompt, actor), an actor's name,
    model, and a text in the prompt or the key. ``approved`` and ``rejected`` match the review of
    the current image, whatever the state.
    """

    state: str | None = None
    source: str | None = None
    actor: str | None = None
    model: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """An item, its current image (``attempt`` is its id) and its newest attempt (``last``).

    ``change_seq`` grows with every change of the item. Times are seconds since the epoch, sizes
    pixels.
    """

    key: str
    kind: str
    source: str
    location: str
    text: str
    gone: bool
    state: PictureState
    change_seq: int
    verdict: str | None
    verdict_at: float | None
    attempt: int | None
    digest: str | None
    path: str | None
    width: int | None
    height: int | None
    seed: int | None
    model: str | None
    cost: float | None
    shared: bool
    simulated: bool
    made_at: float | None
    last: int | None
    last_state: str | None
    last_at: float | None
    error_kind: str | None
    error: str | None
    remedy: str | None
    provider: ProviderName | None
    """Of its current image, else of its last attempt; None when it has none."""


_current, _last = attempts.alias("current"), attempts.alias("last")
_state = case(
    (_last.c.state.in_(_RUNNING), str(PictureState.RUNNING)),
    (_last.c.state == State.HELD, str(PictureState.HELD)),
    (_last.c.state.in_(FAILED), str(PictureState.FAILED)),
    (_current.c.verdict.is_not(None), _current.c.verdict),
    (_current.c.id.is_not(None), str(PictureState.DONE)),
    else_=str(PictureState.WAITING),
).label("state")
_joined = items.outerjoin(_current, _current.c.id == items.c.current_attempt).outerjoin(
    _last, _last.c.id == items.c.last_attempt
)
_CARD = (
    *(
        items.c[name]
        for name in ("key", "kind", "source", "location", "text", "gone", "change_seq")
    ),
    _state,
    *(
        _current.c[name]
        for name in (
            *("verdict", "verdict_at", "digest", "path", "width", "height", "seed", "model"),
            *("cost", "simulated", "shared_from"),
        )
    ),
    _current.c.id.label("attempt"),
    _current.c.finished_at.label("made_at"),
    _last.c.id.label("last"),
    _last.c.state.label("last_state"),
    func.coalesce(_last.c.finished_at, _last.c.submitted_at, _last.c.created_at).label("last_at"),
    *(_last.c[name] for name in ("error_kind", "error", "remedy")),
    func.coalesce(_current.c.provider, _last.c.provider).label("provider"),
)


class GalleryQueries:
    """The gallery's queries; they write nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def cards(self, wanted: Filter, *, offset: int = 0, limit: int = 60) -> list[Card]:
        """The cards that match: those tried last first, then those never tried, newest first."""
        # The page is found by the narrow rows, and only its own rows are read whole.
        page = (
            select(items.c.key)
            .select_from(_joined_for(wanted))
            .where(*_conditions(wanted))
            .order_by(items.c.last_attempt.desc(), items.c.position.desc())
            .offset(offset)
            .limit(limit)
        )
        query = (
            _cards()
            .where(items.c.key.in_(page))
            .order_by(items.c.last_attempt.desc(), items.c.position.desc())
        )
        return self._read(query)

    def card(self, key: str) -> Card | None:
        """The card of one item."""
        found = self._read(_cards().where(items.c.key == key))
        return found[0] if found else None

    def changed(self, *, after: int, limit: int = 200) -> list[Card]:
        """Cards changed after the change ``after``, oldest change first."""
        query = _cards().where(items.c.change_seq > after).order_by(items.c.change_seq).limit(limit)
        return self._read(query)

    def matching(self, keys: Sequence[str], wanted: Filter) -> set[str]:
        """The keys among these that match the filter."""
        query = (
            select(items.c.key)
            .select_from(_joined_for(wanted))
            .where(items.c.key.in_(keys), *_conditions(wanted))
        )
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def last_change_seq(self) -> int:
        """The number of the newest change."""
        with self._database.read() as connection:
            return last_change_seq(connection)

    def counts(self, wanted: Filter) -> dict[str, int]:
        """The number of matching cards in each state, and in ``all``; the filter's state is
        ignored.
        """
        others = Filter(None, wanted.source, wanted.actor, wanted.model, wanted.text)
        query = (
            select(_state, _current.c.verdict, func.count())
            .select_from(_joined)
            .where(*_conditions(others))
            .group_by(_state, _current.c.verdict)
        )
        counts = {"all": 0} | {str(state): 0 for state in PictureState}
        with self._database.read() as connection:
            for state, verdict, number in connection.execute(query):
                counts["all"] += number
                for name in {state, verdict} - {None}:
                    counts[name] += number
        return counts

    def marked(self, wanted: Filter) -> list[tuple[str, int | None]]:
        """The key and the current image's attempt of every matching card, in order."""
        query = (
            select(items.c.key, items.c.current_attempt)
            .select_from(_joined_for(wanted))
            .where(*_conditions(wanted))
            .order_by(items.c.last_attempt.desc(), items.c.position.desc())
        )
        with self._database.read() as connection:
            return [(row.key, row.current_attempt) for row in connection.execute(query)]

    def models(self) -> list[str]:
        """The models of all requests."""
        return self._distinct(select(attempts.c.model).distinct())

    def sources(self) -> list[str]:
        """The kinds of sources that items came from."""
        return self._distinct(select(items.c.source).distinct())

    def actors(self) -> list[str]:
        """The names of all actors."""
        return self._distinct(select(items.c.key).where(items.c.kind == "actor"))

    def history(self, key: str) -> list[Attempt]:
        """The item's attempts, newest first."""
        query = select(*COLUMNS).where(attempts.c.item_key == key).order_by(attempts.c.id.desc())
        with self._database.read() as connection:
            return [to_attempt(row) for row in connection.execute(query)]

    def histories(self, keys: Sequence[str]) -> dict[str, list[tuple[Attempt, bool]]]:
        """The attempts of these items, newest first, each with whether it is the current image.

        An item that was never tried is left out. A few hundred keys at a time.
        """
        query = (
            select(*COLUMNS, (items.c.current_attempt == attempts.c.id).label("is_current"))
            .join(items, items.c.key == attempts.c.item_key)
            .where(attempts.c.item_key.in_(keys))
            .order_by(attempts.c.id.desc())
        )
        found: dict[str, list[tuple[Attempt, bool]]] = {}
        with self._database.read() as connection:
            for row in connection.execute(query):
                found.setdefault(row.item_key, []).append((to_attempt(row), bool(row.is_current)))
        return found

    def totals(self) -> GalleryStats:
        """The numbers of generated, shared, reused and failed images and the money spent, in all
        and today (UTC).
        """
        with self._database.read() as connection:
            now = float(connection.scalar(select(self._database.now())) or 0.0)
            return gallery_stats(connection, now)

    def _read(self, query: Select[Any]) -> list[Card]:
        with self._database.read() as connection:
            return [_to_card(row) for row in connection.execute(query)]

    def _distinct(self, query: Select[Any]) -> list[str]:
        with self._database.read() as connection:
            return sorted(connection.scalars(query))


def _cards() -> Select[Any]:
    return select(*_CARD).select_from(_joined)


def _joined_for(wanted: Filter) -> Any:  # noqa: ANN401 - a table or a join
    """The tables that the filter needs: without one, the items' own index gives the order."""
    return _joined if wanted.state or wanted.model else items


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.state in VERDICTS:
        conditions.append(_current.c.verdict == wanted.state)
    elif wanted.state:
        conditions.append(_state.element == wanted.state)
    if wanted.source:
        conditions.append(items.c.source == wanted.source)
    if wanted.actor:
        conditions += [items.c.kind == "actor", items.c.key == wanted.actor]
    if wanted.model:
        conditions.append(func.coalesce(_current.c.model, _last.c.model) == wanted.model)
    for word in wanted.text.split():
        has_it = (column.icontains(word, autoescape=True) for column in (items.c.text, items.c.key))
        conditions.append(or_(*has_it))
    return conditions


def _to_card(row: Any) -> Card:  # noqa: ANN401 - SQLAlchemy rows have no static columns
    values = dict(row._mapping)
    values["shared"] = values.pop("shared_from") is not None
    values["simulated"] = bool(values["simulated"])
    values["seed"] = None if values["seed"] is None else int(values["seed"])
    values["state"] = PictureState(values["state"])
    return Card(**values)
