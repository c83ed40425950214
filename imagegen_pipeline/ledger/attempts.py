"""Writes attempts: one row for each try to get an image, each state durable before the next."""

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
from imagegen_pipeline.ledger.admission import AdmissionRules, Deferred, admit
from imagegen_pipeline.ledger.attempt_queries import COLUMNS, AttemptQueries, to_attempt
from imagegen_pipeline.ledger.change_log import record_change
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.leases import Lease, LeaseRepository
from imagegen_pipeline.ledger.schema import attempts, items

_BEFORE: dict[State, tuple[State, ...]] = {
    State.SUBMITTING: (State.PLANNED,),
    State.PLANNED: (State.SUBMITTING,),
    # An answer may come after another process has recorded its attempt as unknown.
    State.SUBMITTED: (State.SUBMITTING, State.UNKNOWN, State.HELD),
    State.COMPLETED: (State.SUBMITTING, State.SUBMITTED, State.UNKNOWN, State.HELD),
    State.STORED: (*OPEN_STATES, State.UNKNOWN, State.HELD),
    State.FAILED: OPEN_STATES,
    State.UNKNOWN: (State.SUBMITTING,),
    State.HELD: (State.UNKNOWN,),
    State.EXPIRED: (State.SUBMITTED, State.COMPLETED),
}
_INSERT = insert(attempts).returning(*COLUMNS)
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
"""Unless the item's current image is of a newer attempt."""


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """The first values of an attempt's row. A ``file_stem`` that is taken gets ``_2``, ``_3``.

    ``created_at`` is in seconds since the epoch.
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
        """The provider that is asked."""
        return self.request.provider

    @property
    def model(self) -> str:
        """The requested model."""
        return self.request.model

    @property
    def sent_request(self) -> GenerationRequest:
        """The request with its seed resolved."""
        return self.request.with_seed(self.seed)


class AttemptRepository(AttemptQueries):
    """The ``attempts`` table, and each item's current image."""

    def __init__(self, database: Database, leases: LeaseRepository) -> None:
        super().__init__(database)
        self._leases = leases
        self._now = select(database.now())

    def plan(
        self,
        new: NewAttempt,
        *,
        on_disk: Callable[[str, str], bool],
        shared_from: int | None = None,
    ) -> Attempt:
        """Insert an attempt as ``planned``; its file's name is fixed from here on.

        ``on_disk(folder, stem)`` says whether a file that the ledger does not know has the
        name already.
        """
        with self._database.write() as connection:
            return self._insert(connection, new, on_disk, State.PLANNED, shared_from=shared_from)

    def not_sent(
        self, new: NewAttempt, error: ImagegenError, *, on_disk: Callable[[str, str], bool]
    ) -> Attempt:
        """Insert an attempt as ``failed`` before anything was sent."""
        with self._database.write() as connection:
            return self._insert(connection, new, on_disk, State.FAILED, **_ended(error))

    def start(
        self,
        attempt: NewAttempt | Attempt,
        rules: AdmissionRules,
        *,
        on_disk: Callable[[str, str], bool],
    ) -> Attempt | Deferred:
        """Record a new or planned attempt as ``submitting``: an image may be billed from here on.

        In one transaction: the lease is still held, the limits allow the request, its cost is
        reserved. Nothing is written for a ``Deferred``, nor when LeaseLostError or SpendingError
        is raised.
        """
        with self._database.write() as connection:
            self._leases.check(connection, rules.lease)
            now = float(connection.scalar(self._now) or 0.0)
            deferred = admit(connection, now, attempt, rules)
            if deferred is not None:
                return deferred
            facts = {"submitted_at": now, "reserved": rules.reserve}
            if isinstance(attempt, NewAttempt):
                return self._insert(connection, attempt, on_disk, State.SUBMITTING, **facts)
            return self._update(connection, attempt, State.SUBMITTING, facts)

    def _insert(
        self,
        connection: Connection,
        new: NewAttempt,
        on_disk: Callable[[str, str], bool],
        state: State,
        **facts: Any,  # noqa: ANN401
    ) -> Attempt:
        row = connection.execute(
            _INSERT,
            {
                "item_key": new.item_key,
                "kind": new.kind,
                "provider": new.provider,
                "model": new.model,
                "fingerprint": new.asked_fingerprint,
                "sent_fingerprint": new.sent_request.fingerprint,
                "request": new.request.as_dict(),
                "seed": str(new.seed),
                "state": state,
                "intent": new.intent,
                "regenerate": new.regenerate,
                "simulated": new.simulated,
                "created_at": new.created_at,
                "folder": new.folder,
                "file_stem": _free_stem(connection, new.folder, new.file_stem, on_disk),
                "warnings": [],
                "possible_double_charge": new.possible_double_charge,
                "reported": False,
                **facts,
            },
        ).one()
        attempt = to_attempt(row)
        record_change(connection, [new.item_key], last_attempt=attempt.id)
        return attempt

    def not_accepted(self, attempt: Attempt) -> Attempt:
        """The provider refused the request, so nothing is billed and it may be sent again."""
        return self._move(attempt, State.PLANNED, submitted_at=None, reserved=None)

    def submitted(self, attempt: Attempt, *, job_id: str, endpoint: str) -> Attempt:
        """The provider named a job: any process can collect it."""
        return self._move(attempt, State.SUBMITTED, job_id=job_id, endpoint=endpoint)

    def completed(self, attempt: Attempt, **facts: Any) -> Attempt:  # noqa: ANN401
        """The provider made the image (``result_url``, ``cost``, seconds)."""
        return self._move(attempt, State.COMPLETED, **facts)

    def stored(
        self,
        attempt: Attempt,
        *,
        superseded_warning: str = "",
        release: Lease | None = None,
        **facts: Any,  # noqa: ANN401
    ) -> Attempt:
        """The image is whole on disk: it becomes its item's current one, unless that is of a newer
        attempt; then ``superseded_warning`` is added to ``warnings``. ``release`` is released in
        the same transaction.
        """
        # A late answer's attempt has an error on record.
        facts |= {"finished_at": time.time(), "error_kind": None, "error": None, "remedy": None}
        with self._database.write() as connection:
            values = {"the_key": attempt.item_key, "the_attempt": attempt.id}
            if not connection.execute(_MAKE_CURRENT, values).rowcount and superseded_warning:
                facts["warnings"] = [*facts["warnings"], superseded_warning]
            stored = self._update(connection, attempt, State.STORED, facts)
            if release is not None:
                self._leases.release_in(connection, release.owner)
        if release is not None:
            release.is_released = True
        return stored

    def failed(self, attempt: Attempt, error: ImagegenError, **facts: Any) -> Attempt:  # noqa: ANN401
        """The attempt ended without an image."""
        return self._move(attempt, State.FAILED, **_ended(error), **facts)

    def unknown(self, attempt: Attempt, error: ImagegenError) -> Attempt:
        """The request was sent and no answer came: an image may have been billed."""
        return self._move(attempt, State.UNKNOWN, **_ended(error))

    def held(self, attempt: Attempt, *, error: str, remedy: str) -> Attempt:
        """Nothing more is sent for this item until a person decides; ``error`` says why."""
        return self._move(attempt, State.HELD, error=error, remedy=remedy)

    def expired(self, attempt: Attempt, error: ImagegenError) -> Attempt:
        """Charged, but the provider no longer has the result."""
        return self._move(attempt, State.EXPIRED, **_ended(error))

    def note(self, item_key: str, error: ImagegenError) -> None:
        """Record on an item's open attempts why they could not be continued; they stay open."""
        with self._database.write() as connection:
            connection.execute(
                update(attempts)
                .where(attempts.c.item_key == item_key, attempts.c.state.in_(OPEN_STATES))
                .values(error_kind=error.kind, error=str(error), remedy=error.remedy)
            )
            record_change(connection, [item_key])

    def _move(self, attempt: Attempt, state: State, **facts: Any) -> Attempt:  # noqa: ANN401
        with self._database.write() as connection:
            return self._update(connection, attempt, state, facts)

    def _update(
        self, connection: Connection, attempt: Attempt, state: State, facts: dict[str, Any]
    ) -> Attempt:
        row = connection.execute(
            _update_statement(state, tuple(facts)),
            {"the_id": attempt.id, "state": state, **facts},
        ).one_or_none()
        if row is None:
            now = connection.scalar(_STATE, {"the_id": attempt.id})
            raise AttemptMovedError(
                f"Attempt {attempt.id} of {attempt.item_key} cannot go from {now} to {state}."
            )
        record_change(connection, [attempt.item_key])
        return to_attempt(row)

    def measured(self, attempt_id: int, measures: Mapping[str, Any]) -> None:
        """Record the measures of an image that an older program stored."""
        with self._database.write() as connection:
            connection.execute(
                update(attempts).where(attempts.c.id == attempt_id).values(measures=dict(measures))
            )

    def reported(self, attempt_ids: Sequence[int]) -> None:
        """Record that these images are reported to Dagster."""
        with self._database.write() as connection:
            connection.execute(
                update(attempts).where(attempts.c.id.in_(attempt_ids)).values(reported=True)
            )


def _ended(error: ImagegenError) -> dict[str, Any]:
    """The columns of an attempt that ended with ``error``."""
    return {
        "error_kind": error.kind,
        "error": str(error),
        "remedy": error.remedy,
        "finished_at": time.time(),
    }


@cache
def _update_statement(state: State, names: tuple[str, ...]) -> Update:
    """The statement that moves an attempt to a state; compiled once."""
    values: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in ("state", *names)}
    where = attempts.c.id == bindparam("the_id")
    return update(attempts).where(where, _may_move_to(state)).values(values).returning(*COLUMNS)


def _may_move_to(state: State) -> ColumnElement[bool]:
    """The attempts that may move to ``state``."""
    lawful = attempts.c.state.in_(_BEFORE[state])
    if state not in (State.SUBMITTED, State.COMPLETED, State.STORED):
        return lawful
    # A person had it sent again, and then the first answer arrived.
    unanswered = and_(
        attempts.c.state == State.FAILED, attempts.c.error_kind == OutcomeUnknownError.kind
    )
    return or_(lawful, unanswered)


def _free_stem(
    connection: Connection, folder: str, wanted: str, on_disk: Callable[[str, str], bool]
) -> str:
    stem, number = wanted, 1
    while on_disk(folder, stem) or connection.scalar(_NAMED, {"folder": folder, "stem": stem}):
        number += 1
        stem = f"{wanted}_{number}"
    return stem
