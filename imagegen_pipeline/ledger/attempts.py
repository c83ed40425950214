"""Attempts: one row for each try to get a picture, each state durable before the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from imagegen_pipeline.domain.errors import AttemptMovedError, ImagegenError
from imagegen_pipeline.domain.generation import OPEN_STATES, Attempt, GenerationRequest, State
from imagegen_pipeline.ledger.admission import NotYet, Terms, admit, money_of_today
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.leases import LeaseBook
from imagegen_pipeline.ledger.schema import attempts, items

_COLUMNS = list(attempts.c)
_BEFORE: dict[State, tuple[State, ...]] = {
    State.SUBMITTING: (State.PLANNED,),
    State.PLANNED: (State.SUBMITTING,),
    # An answer may come late, when another process has called its attempt unknown already.
    State.SUBMITTED: (State.SUBMITTING, State.UNKNOWN, State.HELD),
    State.COMPLETED: (State.SUBMITTING, State.SUBMITTED, State.UNKNOWN, State.HELD),
    State.STORED: (State.PLANNED, State.SUBMITTING, State.SUBMITTED, State.COMPLETED),
    State.FAILED: OPEN_STATES,
    State.UNKNOWN: (State.SUBMITTING,),
    State.HELD: (State.UNKNOWN,),
    State.EXPIRED: (State.SUBMITTED, State.COMPLETED),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What an attempt begins with; ``file_stem`` is a wish: a taken one gets ``_2``, ``_3``."""

    item_key: str
    request: GenerationRequest
    asked_fingerprint: str
    seed: int
    intent: str
    regenerate: bool
    folder: str
    file_stem: str
    simulated: bool
    possible_double_charge: bool = False


class AttemptBook:
    """The ``attempts`` table, and each item's current picture."""

    def __init__(self, database: Database, leases: LeaseBook) -> None:
        self._database = database
        self._leases = leases

    def plan(
        self,
        plan: Plan,
        *,
        on_disk: Callable[[str, str], bool],
        shared_from: int | None = None,
    ) -> Attempt:
        """Begin an attempt; its file's name is settled before the first byte.

        ``on_disk(folder, stem)`` says whether a file that the ledger does not know has the
        name already.
        """
        with self._database.write() as connection:
            stem = _free_stem(connection, plan.folder, plan.file_stem, on_disk)
            result = connection.execute(
                insert(attempts).values(
                    item_key=plan.item_key,
                    service=plan.request.service,
                    model=plan.request.model,
                    fingerprint=plan.asked_fingerprint,
                    sent_fingerprint=plan.request.with_seed(plan.seed).fingerprint,
                    request=plan.request.as_dict(),
                    seed=str(plan.seed),
                    state=State.PLANNED,
                    intent=plan.intent,
                    regenerate=plan.regenerate,
                    simulated=plan.simulated,
                    created_at=time.time(),
                    folder=plan.folder,
                    file_stem=stem,
                    warnings=[],
                    shared_from=shared_from,
                    possible_double_charge=plan.possible_double_charge,
                    reported=False,
                )
            )
            key = result.inserted_primary_key
            return self._fetch(connection, int(key[0] if key else 0))

    def submitting(self, attempt: Attempt, terms: Terms) -> Attempt | NotYet:
        """The request is about to leave: from here on a picture may be billed.

        In one transaction: the lease is still held, the limits allow it, its money is set
        aside. Raises LeaseLostError and SpendingError; nothing is written then, nor for a
        ``NotYet``.
        """
        with self._database.write() as connection:
            self._leases.check(connection, terms.lease)
            now = float(connection.scalar(select(self._database.now())) or 0.0)
            wait = admit(connection, now, attempt, terms)
            if wait is not None:
                return wait
            facts = {"submitted_at": now, "reserved": terms.reserve}
            return self._moved(connection, attempt, State.SUBMITTING, facts)

    def not_accepted(self, attempt: Attempt) -> Attempt:
        """The service said no, so nothing is billed and it may be sent again."""
        return self._move(attempt, State.PLANNED, submitted_at=None, reserved=None)

    def submitted(self, attempt: Attempt, *, job_id: str, endpoint: str) -> Attempt:
        """The service named a job: it can be collected from any process."""
        return self._move(attempt, State.SUBMITTED, job_id=job_id, endpoint=endpoint)

    def completed(self, attempt: Attempt, **facts: Any) -> Attempt:  # noqa: ANN401
        """The service made the picture (``result_url``, ``cost``, seconds)."""
        return self._move(attempt, State.COMPLETED, **facts)

    def stored(self, attempt: Attempt, **facts: Any) -> Attempt:  # noqa: ANN401
        """The picture is on disk, whole: it becomes its item's current one."""
        return self._move(attempt, State.STORED, makes_current=True, **facts)

    def failed(self, attempt: Attempt, error: ImagegenError, **facts: Any) -> Attempt:  # noqa: ANN401
        """The attempt ended without a picture."""
        return self._end(attempt, State.FAILED, error, **facts)

    def unknown(self, attempt: Attempt, error: ImagegenError) -> Attempt:
        """The request left and no answer came: a picture may have been billed."""
        return self._end(attempt, State.UNKNOWN, error)

    def held(self, attempt: Attempt, *, remedy: str) -> Attempt:
        """Nothing more is sent for this item until a person says so."""
        return self._move(attempt, State.HELD, remedy=remedy)

    def expired(self, attempt: Attempt, error: ImagegenError) -> Attempt:
        """Charged, but the service no longer has the result."""
        return self._end(attempt, State.EXPIRED, error)

    def _end(
        self,
        attempt: Attempt,
        state: State,
        error: ImagegenError,
        **facts: Any,  # noqa: ANN401
    ) -> Attempt:
        return self._move(
            attempt,
            state,
            error_kind=error.kind,
            error=str(error),
            remedy=error.remedy,
            finished_at=time.time(),
            **facts,
        )

    def _move(
        self,
        attempt: Attempt,
        state: State,
        *,
        makes_current: bool = False,
        **facts: Any,  # noqa: ANN401
    ) -> Attempt:
        if state is State.STORED:
            facts["finished_at"] = time.time()
        with self._database.write() as connection:
            moved = self._moved(connection, attempt, state, facts)
            if makes_current:
                connection.execute(
                    update(items)
                    .where(items.c.key == attempt.item_key)
                    .values(current_attempt=attempt.id)
                )
            return moved

    def _moved(
        self, connection: Connection, attempt: Attempt, state: State, facts: dict[str, Any]
    ) -> Attempt:
        moved = connection.execute(
            update(attempts)
            .where(attempts.c.id == attempt.id, attempts.c.state.in_(_BEFORE[state]))
            .values(state=state, **facts)
        )
        now = self._fetch(connection, attempt.id)
        if moved.rowcount != 1:
            raise AttemptMovedError(
                f"Attempt {attempt.id} of {attempt.item_key} cannot go from {now.state} to {state}."
            )
        return now

    def _fetch(self, connection: Connection, attempt_id: int) -> Attempt:
        query = select(*_COLUMNS).where(attempts.c.id == attempt_id)
        return _to_attempt(connection.execute(query).one())

    def current(self, item_key: str) -> Attempt | None:
        """The attempt that made the item's current picture."""
        query = (
            select(*_COLUMNS)
            .join(items, items.c.current_attempt == attempts.c.id)
            .where(items.c.key == item_key)
        )
        return self._first(query)

    def open(self, item_key: str) -> list[Attempt]:
        """The item's attempts that have not ended, oldest first."""
        query = (
            select(*_COLUMNS)
            .where(attempts.c.item_key == item_key, attempts.c.state.in_(OPEN_STATES))
            .order_by(attempts.c.id)
        )
        with self._database.read() as connection:
            return [_to_attempt(row) for row in connection.execute(query)]

    def unfinished(self, *, after: int = 0, limit: int = 1000) -> list[Attempt]:
        """Attempts of all items that have not ended, oldest first, from ``after`` (an id) on."""
        query = (
            select(*_COLUMNS)
            .where(attempts.c.state.in_(OPEN_STATES), attempts.c.id > after)
            .order_by(attempts.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_to_attempt(row) for row in connection.execute(query)]

    def unfinished_twins(self, item_key: str, sent_fingerprint: str) -> list[Attempt]:
        """Attempts of other items at the same picture, seed and all, that have not ended."""
        query = (
            select(*_COLUMNS)
            .where(
                attempts.c.sent_fingerprint == sent_fingerprint,
                attempts.c.item_key != item_key,
                attempts.c.regenerate.is_(False),
                attempts.c.state.in_(OPEN_STATES),
            )
            .order_by(attempts.c.id)
        )
        with self._database.read() as connection:
            return [_to_attempt(row) for row in connection.execute(query)]

    def unfinished_keys(self) -> set[str]:
        """The items that have attempts which have not ended."""
        query = select(attempts.c.item_key).where(attempts.c.state.in_(OPEN_STATES)).distinct()
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def unknown_since(self, service: str, moment: float) -> int:
        """How many requests to a service got no answer since ``moment`` (seconds, UTC)."""
        query = (
            select(func.count())
            .select_from(attempts)
            .where(
                attempts.c.service == service,
                attempts.c.state.in_((State.UNKNOWN, State.HELD)),
                attempts.c.finished_at >= moment,
            )
        )
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def spent_today(self) -> float:
        """Money of the day (UTC): costs, and what is set aside where they are not known yet."""
        with self._database.read() as connection:
            now = float(connection.scalar(select(self._database.now())) or 0.0)
            return money_of_today(connection, now)

    def of_intent(self, item_key: str, intent: str) -> Attempt | None:
        """The newest picture that was made for this item by a *regenerate* of this intent."""
        query = (
            select(*_COLUMNS)
            .where(
                attempts.c.item_key == item_key,
                attempts.c.intent == intent,
                attempts.c.regenerate.is_(True),
                attempts.c.state == State.STORED,
            )
            .order_by(attempts.c.id.desc())
        )
        return self._first(query)

    def last(self, item_key: str, fingerprint: str, *, intent: str | None = None) -> Attempt | None:
        """The item's newest attempt at this request (of this intent), however it ended."""
        query = (
            select(*_COLUMNS)
            .where(attempts.c.item_key == item_key, attempts.c.fingerprint == fingerprint)
            .order_by(attempts.c.id.desc())
        )
        if intent is not None:
            query = query.where(attempts.c.intent == intent)
        return self._first(query)

    def same_picture(self, sent_fingerprint: str) -> list[Attempt]:
        """Stored pictures of the same request, seed and all, newest first: the likeliest to
        be on disk still.
        """
        query = (
            select(*_COLUMNS)
            .where(
                attempts.c.sent_fingerprint == sent_fingerprint,
                attempts.c.state == State.STORED,
            )
            .order_by(attempts.c.id.desc())
            .limit(10)
        )
        with self._database.read() as connection:
            return [_to_attempt(row) for row in connection.execute(query)]

    def get(self, attempt_ids: Sequence[int]) -> list[Attempt]:
        """Attempts by their ids."""
        query = select(*_COLUMNS).where(attempts.c.id.in_(attempt_ids)).order_by(attempts.c.id)
        with self._database.read() as connection:
            return [_to_attempt(row) for row in connection.execute(query)]

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
            select(*_COLUMNS)
            .join(items, items.c.current_attempt == attempts.c.id)
            .where(attempts.c.reported.is_(False), attempts.c.state == State.STORED)
            .order_by(attempts.c.id)
            .limit(limit)
        )
        if before is not None:
            query = query.where(attempts.c.finished_at < before)
        with self._database.read() as connection:
            return [_to_attempt(row) for row in connection.execute(query)]

    def reported(self, attempt_ids: Sequence[int]) -> None:
        """Dagster has heard of these pictures."""
        with self._database.write() as connection:
            connection.execute(
                update(attempts).where(attempts.c.id.in_(attempt_ids)).values(reported=True)
            )

    def rows(self) -> Iterator[tuple[Attempt, Any]]:
        """Every attempt with its item's row, oldest first: what the results are made of."""
        query = (
            select(
                *_COLUMNS,
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
                yield _to_attempt(row), row

    def _first(self, query: Any) -> Attempt | None:  # noqa: ANN401 - SQLAlchemy's select
        with self._database.read() as connection:
            row = connection.execute(query.limit(1)).one_or_none()
        return None if row is None else _to_attempt(row)


def _free_stem(
    connection: Connection, folder: str, wish: str, on_disk: Callable[[str, str], bool]
) -> str:
    stem, number = wish, 1
    while on_disk(folder, stem) or connection.scalar(
        select(attempts.c.id).where(attempts.c.folder == folder, attempts.c.file_stem == stem)
    ):
        number += 1
        stem = f"{wish}_{number}"
    return stem


def _to_attempt(row: Any) -> Attempt:  # noqa: ANN401 - SQLAlchemy rows have no static columns
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    values["seed"] = int(values["seed"])
    values["state"] = State(values["state"])
    values["warnings"] = tuple(values["warnings"])
    return Attempt(**values)
