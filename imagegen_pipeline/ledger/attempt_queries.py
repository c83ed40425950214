"""What the ledger knows of attempts: reading only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

# Asked for every item of every batch, so they are put together once: building a statement of so
# many columns, and looking it up, costs several times what SQLite then needs.
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
_LAST_OF_ALL = select(items.c.last_attempt).where(items.c.key == _KEY)
_OPEN = (
    select(*COLUMNS)
    .where(attempts.c.item_key == _KEY, attempts.c.state.in_(OPEN_STATES))
    .order_by(attempts.c.id)
)
_TWINS = (
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
_SAME_PICTURE = (
    select(*COLUMNS)
    .where(attempts.c.sent_fingerprint == _FINGERPRINT, attempts.c.state == State.STORED)
    .order_by(attempts.c.id.desc())
    .limit(10)
)


class AttemptQueries:
    """Questions to the ``attempts`` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def current(self, item_key: str) -> Attempt | None:
        """The attempt that made the item's current picture."""
        return self._first(_CURRENT, the_key=item_key)

    def is_untried(self, item_key: str) -> bool:
        """Whether the item has no attempt at all, so that there is nothing to ask of them."""
        with self._database.read() as connection:
            return not connection.scalar(_LAST_OF_ALL, {"the_key": item_key})

    def maybe_out_of_date(self) -> list[Attempt]:
        """The current pictures of items that have changed since they were first seen, in the
        items' order; and of all actors, whose pictures the workflow makes too.
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
        """The items that their sources still have and that have no picture, in their order."""
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
        """The item's attempts that have not ended, oldest first."""
        return self._all(_OPEN, the_key=item_key)

    def unfinished(self, *, after: int = 0, limit: int = 1000) -> list[Attempt]:
        """Attempts of all items that have not ended, oldest first, from ``after`` (an id) on."""
        query = (
            select(*COLUMNS)
            .where(attempts.c.state.in_(OPEN_STATES), attempts.c.id > after)
            .order_by(attempts.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [to_attempt(row) for row in connection.execute(query)]

    def unfinished_identical(self, item_key: str, sent_fingerprint: str) -> list[Attempt]:
        """Attempts of other items at the same picture, seed and all, that have not ended."""
        return self._all(_TWINS, the_key=item_key, the_fingerprint=sent_fingerprint)

    def unfinished_keys(self) -> set[str]:
        """The items that have attempts which have not ended."""
        query = select(attempts.c.item_key).where(attempts.c.state.in_(OPEN_STATES)).distinct()
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def unknown_lately(self, provider: str, seconds: float) -> int:
        """How many requests that left in the last ``seconds`` got no answer from a service."""
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
        """Money of the day (UTC): costs, and what is set aside where they are not known yet."""
        with self._database.read() as connection:
            now = float(connection.scalar(select(self._database.now())) or 0.0)
            return sum(money_today(connection, now))

    def of_intent(self, item_key: str, intent: str) -> Attempt | None:
        """The newest picture that was made for this item by a *regenerate* of this intent."""
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
        """As ``last``, without those that ended before the service had taken anything on."""
        return self._first(_LAST_THAT_LEFT, **_same(item_key, fingerprint, intent))

    def may_be_billed(self, item_key: str, fingerprint: str, *, intent: str | None = None) -> bool:
        """Whether the item's request (of this intent) was sent, since it last brought a picture,
        without an answer that says what became of it.
        """
        with self._database.read() as connection:
            found = connection.scalar(_MAY_BE_BILLED, _same(item_key, fingerprint, intent))
        return found is not None

    def pictures_in(self, folder: str) -> int:
        """How many current pictures lie in ``folder`` or below it, as the ledger writes it."""
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
        """Stored pictures of the same request, seed and all, newest first: the likeliest to
        be on disk still.
        """
        return self._all(_SAME_PICTURE, the_fingerprint=sent_fingerprint)

    def likenesses(self) -> Iterator[Likeness]:
        """What the current pictures of all items that their sources still have are compared by;
        those that are blank, or not measured yet, are left out.
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
        """Whether an attempt has this name, written or not."""
        query = select(attempts.c.id).where(
            attempts.c.folder == folder, attempts.c.file_stem == stem
        )
        with self._database.read() as connection:
            return connection.scalar(query.limit(1)) is not None

    def unreported(self, *, before: float | None = None, limit: int = 1000) -> list[Attempt]:
        """Current pictures that Dagster has not heard of (and that were stored ``before``)."""
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
        """Every attempt with its item's row, oldest first: what the results are made of."""
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
        """The attempt that a query of one row at most finds."""
        with self._database.read() as connection:
            row = connection.execute(query, values).one_or_none()
        return None if row is None else to_attempt(row)


def _same(item_key: str, fingerprint: str, intent: str | None) -> dict[str, str | None]:
    return {"the_key": item_key, "the_fingerprint": fingerprint, "the_intent": intent}


def to_attempt(row: Any) -> Attempt:  # noqa: ANN401 - SQLAlchemy rows have no static columns
    """A row as an attempt; its first columns are the table's."""
    values = dict(zip(_NAMES, row, strict=False))
    values["seed"] = int(values["seed"])
    values["state"] = State(values["state"])
    values["warnings"] = tuple(values["warnings"])
    return Attempt(**values)
