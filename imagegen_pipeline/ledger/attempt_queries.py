"""Reads attempts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, String, bindparam, func, or_, select

from imagegen_pipeline.domain.errors import OutcomeUnknownError
from imagegen_pipeline.domain.image.duplicate_detection import Likeness
from imagegen_pipeline.domain.requests import OPEN_STATES, Attempt, State
from imagegen_pipeline.ledger.admission import money_today
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.schema import attempts, items

COLUMNS = list(attempts.c)
_NAMES = [column.name for column in COLUMNS]
_CHUNK = 500

# These run for every item of every batch, so the statements are built once: building one of so
# many columns costs several times what SQLite needs to run it.
_KEY, _FINGERPRINT = bindparam("the_key", type_=String), bindparam("the_fingerprint", type_=String)
_INTENT = bindparam("the_intent", type_=String)
_SAME = (
    attempts.c.item_key == _KEY,
    attempts.c.fingerprint == _FINGERPRINT,
    or_(_INTENT.is_(None), attempts.c.intent == _INTENT),
)
_CURRENT = (
    select(*COLUMNS)
    .join(items, items.c.current_attempt == attempts.c.id)
    .where(items.c.key == _KEY)
    .limit(1)
)
_LAST_ATTEMPT = select(items.c.last_attempt).where(items.c.key == _KEY)
_OPEN = (
    select(*COLUMNS)
    .where(attempts.c.item_key == _KEY, attempts.c.state.in_(OPEN_STATES))
    .order_by(attempts.c.id)
)
_IDENTICAL_OPEN = (
    select(*COLUMNS)
    .where(
        attempts.c.sent_fingerprint == _FINGERPRINT,
        attempts.c.item_key != _KEY,
        attempts.c.regenerate.is_(False),
        attempts.c.state.in_(OPEN_STATES),
    )
    .order_by(attempts.c.id)
)
_LAST = select(*COLUMNS).where(*_SAME).order_by(attempts.c.id.desc()).limit(1)
_LAST_THAT_LEFT = (
    select(*COLUMNS)
    .where(*_SAME, or_(attempts.c.state != State.FAILED, attempts.c.submitted_at.is_not(None)))
    .order_by(attempts.c.id.desc())
    .limit(1)
)
_MAY_BE_BILLED = (
    select(attempts.c.id)
    .where(
        *_SAME,
        attempts.c.id
        > func.coalesce(
            select(func.max(attempts.c.id))
            .where(*_SAME, attempts.c.state == State.STORED)
            .scalar_subquery(),
            0,
        ),
        or_(
            attempts.c.state == State.UNKNOWN,
            attempts.c.error_kind == OutcomeUnknownError.kind,  # a person had it sent again
            attempts.c.possible_double_charge,
        ),
    )
    .limit(1)
)
_IDENTICAL_STORED = (
    select(*COLUMNS)
    .where(attempts.c.sent_fingerprint == _FINGERPRINT, attempts.c.state == State.STORED)
    .order_by(attempts.c.id.desc())
    .limit(10)
)


@dataclass(frozen=True, slots=True)
class ItemHistory:
    """What the ledger knows of an item before an image of it is generated.

    ``is_untried``: the item has no attempt at all. ``identical_open``: open attempts of other items
    at the same request, seed included. ``identical_stored``: stored images of it, newest first.
    """

    is_untried: bool
    identical_open: list[Attempt]
    identical_stored: list[Attempt]


class AttemptQueries:
    """Queries on the ``attempts`` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def current(self, item_key: str) -> Attempt | None:
        """The attempt of the item's current image."""
        return self._first(_CURRENT, the_key=item_key)

    def history(self, item_key: str, sent_fingerprint: str | None) -> ItemHistory:
        """The item's history in one read; without ``sent_fingerprint`` no identical requests."""
        same = {"the_key": item_key, "the_fingerprint": sent_fingerprint}
        with self._database.read() as connection:
            last = connection.scalar(_LAST_ATTEMPT, {"the_key": item_key})
            if sent_fingerprint is None:
                return ItemHistory(not last, [], [])
            running = connection.execute(_IDENTICAL_OPEN, same)
            return ItemHistory(
                not last,
                [to_attempt(row) for row in running],
                [to_attempt(row) for row in connection.execute(_IDENTICAL_STORED, same)],
            )

    def maybe_out_of_date(self) -> list[Attempt]:
        """The current images of items that have changed since they were first seen, in the items'
        order; and of all actors, whose images depend on the workflow too.
        """
        query = (
            select(*COLUMNS)
            .join(items, items.c.current_attempt == attempts.c.id)
            .where(items.c.gone.is_(False), or_(items.c.revision > 1, items.c.kind == "actor"))
            .order_by(items.c.position)
        )
        with self._database.read() as connection:
            return [to_attempt(row) for row in connection.execute(query)]

    def without_picture(self) -> list[str]:
        """The items that their sources still have and that have no image, in their order."""
        query = (
            select(items.c.key)
            .where(items.c.gone.is_(False), items.c.current_attempt.is_(None))
            .order_by(items.c.position)
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def newest(self, item_keys: Sequence[str]) -> dict[str, Attempt]:
        """The newest attempt of each item that has any, however it ended."""
        found: dict[str, Attempt] = {}
        with self._database.read() as connection:
            for start in range(0, len(item_keys), _CHUNK):
                query = (
                    select(*COLUMNS)
                    .join(items, items.c.last_attempt == attempts.c.id)
                    .where(items.c.key.in_(item_keys[start : start + _CHUNK]))
                )
                for row in connection.execute(query):
                    found[row.item_key] = to_attempt(row)
        return found

    def open(self, item_key: str) -> list[Attempt]:
        """The item's open attempts, oldest first."""
        return self._all(_OPEN, the_key=item_key)

    def unfinished(self, *, after: int = 0, limit: int = 1000) -> list[Attempt]:
        """Open attempts of all items with ids greater than ``after``, oldest first."""
        query = (
            select(*COLUMNS)
            .where(attempts.c.state.in_(OPEN_STATES), attempts.c.id > after)
            .order_by(attempts.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [to_attempt(row) for row in connection.execute(query)]

    def unfinished_keys(self) -> set[str]:
        """The items that have open attempts."""
        query = select(attempts.c.item_key).where(attempts.c.state.in_(OPEN_STATES)).distinct()
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def unknown_lately(self, provider: str, seconds: float) -> int:
        """The number of requests to a provider in the last ``seconds`` that are unknown or held."""
        query = (
            select(func.count())
            .select_from(attempts)
            .where(
                attempts.c.provider == provider,
                attempts.c.state.in_((State.UNKNOWN, State.HELD)),
                attempts.c.submitted_at >= self._database.now() - seconds,
            )
        )
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def spent_today(self) -> float:
        """The cost of the day (UTC), with the reserve of attempts whose cost is not known yet."""
        with self._database.read() as connection:
            now = float(connection.scalar(select(self._database.now())) or 0.0)
            return sum(money_today(connection, now))

    def of_intent(self, item_key: str, intent: str) -> Attempt | None:
        """The item's newest stored image of a *regenerate* of this intent."""
        query = (
            select(*COLUMNS)
            .where(
                attempts.c.item_key == item_key,
                attempts.c.intent == intent,
                attempts.c.regenerate.is_(True),
                attempts.c.state == State.STORED,
            )
            .order_by(attempts.c.id.desc())
        )
        return self._first(query.limit(1))

    def last(self, item_key: str, fingerprint: str, *, intent: str | None = None) -> Attempt | None:
        """The item's newest attempt at this request (of this intent), however it ended."""
        return self._first(_LAST, **_same(item_key, fingerprint, intent))

    def last_that_left(
        self, item_key: str, fingerprint: str, *, intent: str | None = None
    ) -> Attempt | None:
        """As ``last``, without attempts that ended before the provider accepted anything."""
        return self._first(_LAST_THAT_LEFT, **_same(item_key, fingerprint, intent))

    def may_be_billed(self, item_key: str, fingerprint: str, *, intent: str | None = None) -> bool:
        """Whether the item's request (of this intent) was sent without a known result since its
        last stored image.
        """
        with self._database.read() as connection:
            return (
                connection.scalar(_MAY_BE_BILLED, _same(item_key, fingerprint, intent)) is not None
            )

    def pictures_in(self, folder: str) -> int:
        """The number of current images in ``folder`` (a path as in the ledger) and below it."""
        query = (
            select(func.count())
            .select_from(attempts)
            .join(items, items.c.current_attempt == attempts.c.id)
            .where(
                or_(
                    attempts.c.folder == folder,
                    attempts.c.folder.startswith(f"{folder}/", autoescape=True),
                )
            )
        )
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def same_picture(self, sent_fingerprint: str) -> list[Attempt]:
        """Stored images of the same request, seed included, newest first, at most ten."""
        return self._all(_IDENTICAL_STORED, the_fingerprint=sent_fingerprint)

    def likenesses(self) -> Iterator[Likeness]:
        """What duplicates are found by: one for the current image of each item that its source
        still has. Blank images, and those without measures, are left out.
        """
        query = (
            select(
                attempts.c.item_key,
                attempts.c.id,
                func.coalesce(attempts.c.finished_at, 0.0),
                attempts.c.request["prompt"].as_string(),
                attempts.c.measures["phash"].as_string().label("phash"),
                attempts.c.measures["tones"].as_string(),
            )
            .join(items, items.c.current_attempt == attempts.c.id)
            .where(items.c.gone.is_(False))
            .order_by(attempts.c.id)
        )
        with self._database.read() as connection:
            yield from (Likeness(*row) for row in connection.execute(query) if row.phash)

    def get(self, attempt_ids: Sequence[int]) -> list[Attempt]:
        """Attempts by their ids."""
        query = select(*COLUMNS).where(attempts.c.id.in_(attempt_ids)).order_by(attempts.c.id)
        with self._database.read() as connection:
            return [to_attempt(row) for row in connection.execute(query)]

    def is_reserved(self, folder: str, stem: str) -> bool:
        """Whether an attempt has this file name, whether the file exists or not."""
        query = select(attempts.c.id).where(
            attempts.c.folder == folder, attempts.c.file_stem == stem
        )
        with self._database.read() as connection:
            return connection.scalar(query.limit(1)) is not None

    def unreported(self, *, before: float | None = None, limit: int = 1000) -> list[Attempt]:
        """Current images that were not reported to Dagster (and stored ``before``)."""
        query = (
            select(*COLUMNS)
            .join(items, items.c.current_attempt == attempts.c.id)
            .where(attempts.c.reported.is_(False), attempts.c.state == State.STORED)
            .order_by(attempts.c.id)
            .limit(limit)
        )
        if before is not None:
            query = query.where(attempts.c.finished_at < before)
        with self._database.read() as connection:
            return [to_attempt(row) for row in connection.execute(query)]

    def rows(self) -> Iterator[tuple[Attempt, Any]]:
        """Every attempt with its item's row, oldest first."""
        query = (
            select(
                *COLUMNS,
                items.c.source.label("item_source"),
                items.c.location.label("item_location"),
                items.c.gone.label("item_gone"),
                items.c.kind.label("item_kind"),
                items.c.current_attempt.label("item_current_attempt"),
            )
            .join(items, items.c.key == attempts.c.item_key)
            .order_by(attempts.c.id)
        )
        with self._database.read() as connection:
            for row in connection.execute(query):
                yield to_attempt(row), row

    def of_run(self, intent: str, *, limit: int = 10_000) -> list[Attempt]:
        """The attempts of one run, command or job, oldest first."""
        query = (
            select(*COLUMNS).where(attempts.c.intent == intent).order_by(attempts.c.id).limit(limit)
        )
        with self._database.read() as connection:
            return [to_attempt(row) for row in connection.execute(query)]

    def _all(self, query: Select[Any], **values: str | None) -> list[Attempt]:
        with self._database.read() as connection:
            return [to_attempt(row) for row in connection.execute(query, values)]

    def _first(self, query: Select[Any], **values: str | None) -> Attempt | None:
        """The attempt of a query with at most one row."""
        with self._database.read() as connection:
            row = connection.execute(query, values).one_or_none()
        return None if row is None else to_attempt(row)


def _same(item_key: str, fingerprint: str, intent: str | None) -> dict[str, str | None]:
    return {"the_key": item_key, "the_fingerprint": fingerprint, "the_intent": intent}


def to_attempt(row: Any) -> Attempt:  # noqa: ANN401 - SQLAlchemy rows have no static columns
    """Convert a row, whose first columns are the table's."""
    values = dict(zip(_NAMES, row, strict=False))
    values["seed"] = int(values["seed"])
    values["state"] = State(values["state"])
    values["warnings"] = tuple(values["warnings"])
    return Attempt(**values)
