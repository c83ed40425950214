"""Attempts: one row for each try to get a picture, each state durable before the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Update,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from imagegen_pipeline.domain.errors import AttemptMovedError, ImagegenError, OutcomeUnknownError
from imagegen_pipeline.domain.requests import (
    OPEN_STATES,
    Attempt,
    GenerationRequest,
    ItemKind,
    ProviderName,
    State,
)
from imagegen_pipeline.ledger.admission import AdmissionRules, Deferred, SubmitCandidate, admit
from imagegen_pipeline.ledger.attempt_queries import COLUMNS, AttemptQueries, to_attempt
from imagegen_pipeline.ledger.change_log import record_change
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.leases import LeaseRepository
from imagegen_pipeline.ledger.schema import attempts, items

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
_BEGUN = insert(attempts).returning(*COLUMNS)
_STATE = select(attempts.c.state).where(attempts.c.id == bindparam("the_id"))
_NAMED = select(attempts.c.id).where(
    attempts.c.folder == bindparam("folder"), attempts.c.file_stem == bindparam("stem")
)
_MAKE_CURRENT = (
    update(items)
    .where(
        items.c.key == bindparam("the_key"),
        func.coalesce(items.c.current_attempt, 0) < bindparam("the_attempt"),
    )
    .values(current_attempt=bindparam("the_attempt"))
)
"""Unless the item's current picture is of a newer attempt."""


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """What an attempt begins with; ``file_stem`` is a wish: a taken one gets ``_2``, ``_3``.

    ``created_at`` is when its item's turn came, in seconds since the epoch.
    """

    item_key: str
    kind: ItemKind
    request: GenerationRequest
    asked_fingerprint: str
    seed: int
    intent: str
    regenerate: bool
    folder: str
    file_stem: str
    simulated: bool
    possible_double_charge: bool = False
    created_at: float = field(default_factory=time.time)

    @property
    def provider(self) -> ProviderName:
        """The service that is asked."""
        return self.request.provider

    @property
    def model(self) -> str:
        """The model that is asked for."""
        return self.request.model

    @property
    def sent_request(self) -> GenerationRequest:
        """The request with its seed resolved."""
        return self.request.with_seed(self.seed)


class AttemptRepository(AttemptQueries):
    """The ``attempts`` table, and each item's current picture."""

    def __init__(self, database: Database, leases: LeaseRepository) -> None:
        super().__init__(database)
        self._leases = leases
        self._now = select(database.now())

    def plan(
        self,
        plan: NewAttempt,
        *,
        on_disk: Callable[[str, str], bool],
        shared_from: int | None = None,
    ) -> Attempt:
        """Begin an attempt; its file's name is settled before the first byte.

        ``on_disk(folder, stem)`` says whether a file that the ledger does not know has the
        name already.
        """
        with self._database.write() as connection:
            return self._begin(connection, plan, on_disk, State.PLANNED, shared_from=shared_from)

    def sending(
        self, plan: NewAttempt, terms: AdmissionRules, *, on_disk: Callable[[str, str], bool]
    ) -> Attempt | Deferred:
        """``plan`` and ``submitting`` in one transaction: for a request that may leave at once.

        Raises and returns what ``submitting`` does; then nothing is written of the attempt.
        """
        with self._database.write() as connection:
            now = self._checked(connection, plan, terms)
            if isinstance(now, Deferred):
                return now
            facts = {"submitted_at": now, "reserved": terms.reserve}
            return self._begin(connection, plan, on_disk, State.SUBMITTING, **facts)

    def _begin(
        self,
        connection: Connection,
        plan: NewAttempt,
        on_disk: Callable[[str, str], bool],
        state: State,
        **facts: float | None,
    ) -> Attempt:
        row = connection.execute(
            _BEGUN,
            {
                "item_key": plan.item_key,
                "kind": plan.kind,
                "provider": plan.provider,
                "model": plan.model,
                "fingerprint": plan.asked_fingerprint,
                "sent_fingerprint": plan.sent_request.fingerprint,
                "request": plan.request.as_dict(),
                "seed": str(plan.seed),
                "state": state,
                "intent": plan.intent,
                "regenerate": plan.regenerate,
                "simulated": plan.simulated,
                "created_at": plan.created_at,
                "folder": plan.folder,
                "file_stem": _free_stem(connection, plan.folder, plan.file_stem, on_disk),
                "warnings": [],
                "possible_double_charge": plan.possible_double_charge,
                "reported": False,
                **facts,
            },
        ).one()
        attempt = to_attempt(row)
        record_change(connection, [plan.item_key], last_attempt=attempt.id)
        return attempt

    def submitting(self, attempt: Attempt, terms: AdmissionRules) -> Attempt | Deferred:
        """The request is about to leave: from here on a picture may be billed.

        In one transaction: the lease is still held, the limits allow it, its money is set
        aside. Raises LeaseLostError and SpendingError; nothing is written then, nor for a
        ``Deferred``.
        """
        with self._database.write() as connection:
            now = self._checked(connection, attempt, terms)
            if isinstance(now, Deferred):
                return now
            facts = {"submitted_at": now, "reserved": terms.reserve}
            return self._moved(connection, attempt, State.SUBMITTING, facts)

    def _checked(
        self, connection: Connection, asking: SubmitCandidate, terms: AdmissionRules
    ) -> float | Deferred:
        """The database's time at which the request may leave."""
        self._leases.check(connection, terms.lease)
        now = float(connection.scalar(self._now) or 0.0)
        return admit(connection, now, asking, terms) or now

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
        """The picture is on disk, whole: it becomes its item's current one, unless that is of a
        newer attempt. One that comes home late replaces nothing that was made since.
        """
        return self._move(attempt, State.STORED, makes_current=True, **facts)

    def failed(self, attempt: Attempt, error: ImagegenError, **facts: Any) -> Attempt:  # noqa: ANN401
        """The attempt ended without a picture."""
        return self._end(attempt, State.FAILED, error, **facts)

    def unknown(self, attempt: Attempt, error: ImagegenError) -> Attempt:
        """The request left and no answer came: a picture may have been billed."""
        return self._end(attempt, State.UNKNOWN, error)

    def held(self, attempt: Attempt, *, error: str, remedy: str) -> Attempt:
        """Nothing more is sent for this item until a person says so; ``error`` says why."""
        return self._move(attempt, State.HELD, error=error, remedy=remedy)

    def expired(self, attempt: Attempt, error: ImagegenError) -> Attempt:
        """Charged, but the service no longer has the result."""
        return self._end(attempt, State.EXPIRED, error)

    def note(self, item_key: str, error: ImagegenError) -> None:
        """Say of what stays open of an item why it could not go on; its state stays as it is."""
        with self._database.write() as connection:
            connection.execute(
                update(attempts)
                .where(attempts.c.item_key == item_key, attempts.c.state.in_(OPEN_STATES))
                .values(error_kind=error.kind, error=str(error), remedy=error.remedy)
            )
            record_change(connection, [item_key])

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
        if state is State.STORED:  # a late answer's picture had an error written down
            facts |= {"finished_at": time.time(), "error_kind": None, "error": None, "remedy": None}
        with self._database.write() as connection:
            moved = self._moved(connection, attempt, state, facts)
            if makes_current:
                values = {"the_key": attempt.item_key, "the_attempt": attempt.id}
                connection.execute(_MAKE_CURRENT, values)
            return moved

    def _moved(
        self, connection: Connection, attempt: Attempt, state: State, facts: dict[str, Any]
    ) -> Attempt:
        moved = connection.execute(
            _moving(state, tuple(facts)), {"the_id": attempt.id, "state": state, **facts}
        ).one_or_none()
        if moved is None:
            now = connection.scalar(_STATE, {"the_id": attempt.id})
            raise AttemptMovedError(
                f"Attempt {attempt.id} of {attempt.item_key} cannot go from {now} to {state}."
            )
        record_change(connection, [attempt.item_key])
        return to_attempt(moved)

    def measured(self, attempt_id: int, measures: Mapping[str, Any]) -> None:
        """Write down the measures of a picture that an older program has stored."""
        with self._database.write() as connection:
            connection.execute(
                update(attempts).where(attempts.c.id == attempt_id).values(measures=dict(measures))
            )

    def reported(self, attempt_ids: Sequence[int]) -> None:
        """Dagster has heard of these pictures."""
        with self._database.write() as connection:
            connection.execute(
                update(attempts).where(attempts.c.id.in_(attempt_ids)).values(reported=True)
            )


@cache
def _moving(state: State, names: tuple[str, ...]) -> Update:
    """The statement that brings an attempt to a state, put together once."""
    values: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in ("state", *names)}
    where = attempts.c.id == bindparam("the_id")
    return update(attempts).where(where, _may_go_to(state)).values(values).returning(*COLUMNS)


def _may_go_to(state: State) -> ColumnElement[bool]:
    """The attempts that may be brought to ``state``."""
    lawful = attempts.c.state.in_(_BEFORE[state])
    if state not in (State.SUBMITTED, State.COMPLETED):
        return lawful
    # A person had it sent again, and then the first answer came after all.
    unanswered = and_(
        attempts.c.state == State.FAILED, attempts.c.error_kind == OutcomeUnknownError.kind
    )
    return or_(lawful, unanswered)


def _free_stem(
    connection: Connection, folder: str, params: str, on_disk: Callable[[str, str], bool]
) -> str:
    stem, number = params, 1
    while on_disk(folder, stem) or connection.scalar(_NAMED, {"folder": folder, "stem": stem}):
        number += 1
        stem = f"{params}_{number}"
    return stem
