"""A user's decisions about items that are not sent again automatically."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select, update

from imagegen_pipeline.domain.errors import DecisionError
from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.ledger.change_log import record_change
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.schema import attempts

GIVEN_UP = "given_up"
"""The kind of an attempt that a user has given up: it stays held until a retry is allowed."""


class Decision(StrEnum):
    """``resubmit``: buy it again, although it may have been billed. ``give-up``: never retry
    automatically. ``allow-retry``: an item that was given up may be sent again.
    """

    RESUBMIT = "resubmit"
    GIVE_UP = "give-up"
    ALLOW_RETRY = "allow-retry"


_DECIDABLE = (State.HELD, State.UNKNOWN, State.SUBMITTED, State.COMPLETED)
"""Decidable attempts: held ones, and sent ones whose image was not collected."""
_WORDS = {
    Decision.RESUBMIT: "A person had it sent again.",
    Decision.GIVE_UP: "A person gave it up.",
    Decision.ALLOW_RETRY: "A person allowed a retry.",
}


@dataclass(frozen=True, slots=True)
class HeldItem:
    """An item that is not sent again automatically, with the reason."""

    key: str
    kind: str
    error: str
    remedy: str


class DecisionRepository:
    """Writes decisions to the ``attempts`` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def held(self) -> list[HeldItem]:
        """Everything that needs a decision, oldest first."""
        query = (
            select(attempts.c.item_key, attempts.c.error_kind, attempts.c.error, attempts.c.remedy)
            .where(attempts.c.state == State.HELD)
            .order_by(attempts.c.id)
        )
        with self._database.read() as connection:
            return [
                HeldItem(row.item_key, row.error_kind or "", row.error or "", row.remedy or "")
                for row in connection.execute(query)
            ]

    def decide(self, key: str, decision: Decision) -> int:
        """Apply ``decision`` to the held or uncollected attempts of an item; returns their number.

        Raises DecisionError when the item has nothing that it applies to. Nothing is sent: the
        next run that requests the item generates it.
        """
        is_final = decision is Decision.ALLOW_RETRY
        with self._database.write() as connection:
            rows = connection.execute(
                select(attempts.c.id, attempts.c.error_kind, attempts.c.error).where(
                    attempts.c.item_key == key, attempts.c.state.in_(_DECIDABLE)
                )
            ).all()
            meant = [row for row in rows if (row.error_kind == GIVEN_UP) == is_final]
            if not meant:
                raise DecisionError(_nothing(key, [row.error_kind for row in rows], decision))
            for row in meant:
                facts = {"error": f"{row.error or ''} {_WORDS[decision]}".strip()}
                facts |= _outcome(key, decision)
                connection.execute(update(attempts).where(attempts.c.id == row.id).values(**facts))
            record_change(connection, [key])
        return len(meant)


def _outcome(key: str, decision: Decision) -> dict[str, str]:
    if decision is Decision.GIVE_UP:
        remedy = f"To have it made after all: imagegen resolve {key} --allow-retry."
        return {"state": State.HELD, "error_kind": GIVEN_UP, "remedy": remedy}
    # The kind stays ``unknown``: the next attempt is marked as a possible double charge.
    remedy = "The next run that requests it generates it again."
    return {"state": State.FAILED, "error_kind": "unknown", "remedy": remedy}


def _nothing(key: str, kinds: list[str | None], decision: Decision) -> str:
    if decision is Decision.ALLOW_RETRY:
        return f"{key} is not given up: there is nothing to allow."
    if GIVEN_UP in kinds:
        return f"{key} is given up already; --allow-retry has it made again."
    return f"{key} is not held, and nothing that was sent for it is outstanding."
