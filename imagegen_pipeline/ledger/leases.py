"""Leases: who is at work on what, on the database's own clock.

A lease keeps two processes that were asked for the same picture at once from buying it
twice: the second waits and finds the first one's picture. Its epoch is checked in the
transaction that says that a request is about to leave, so that a process that slept through
the end of its lease cannot send anything for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BindParameter,
    Connection,
    Integer,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    update,
)

from imagegen_pipeline.domain.errors import LeaseLostError
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.lease_owner import is_dead
from imagegen_pipeline.ledger.schema import EPOCH_ROW, about, leases

LEASE_SECONDS = 90.0
"""A process that has not said for so long that it lives has lost its leases: longer than any
wait for a locked ledger, which would keep it from saying so.
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """What one acquisition gave: the names, all held under one epoch.

    ``seized`` says that another owner's lease had ended and nobody knows that he is dead: he
    may yet be waiting for an answer.
    """

    names: tuple[str, ...]
    owner: str
    epoch: int
    seized: bool = False


class LeaseRepository:
    """The ``leases`` table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Put together once: they run for every item of every batch.
        now = database.now()
        names: BindParameter[str] = bindparam("names", expanding=True)
        self._others = select(leases.c.owner, (leases.c.until > now).label("holds")).where(
            leases.c.name.in_(names), leases.c.owner != bindparam("the_owner")
        )
        self._free = delete(leases).where(leases.c.name.in_(names))
        self._take = insert(leases).values(until=now + LEASE_SECONDS)
        self._held = (
            select(func.count())
            .select_from(leases)
            .where(
                leases.c.name.in_(names),
                leases.c.epoch == bindparam("the_epoch"),
                leases.c.until > now,
            )
        )

    def acquire(self, names: Sequence[str], owner: str) -> Lease | None:
        """Take all of ``names`` for ``owner``; None if another owner that lives has one.

        An owner whose process is known to have ended does not live, whatever its lease says.
        """
        with self._database.write() as connection:
            # First of all, so that every other process is kept out until this one is done.
            epoch = int(connection.scalar(_NEXT_EPOCH) or 0)
            values = {"names": names, "the_owner": owner}
            others = connection.execute(self._others, values).all()
            alive = [other for other in others if not is_dead(other.owner)]
            if any(other.holds for other in alive):
                return None
            connection.execute(self._free, {"names": names})
            connection.execute(
                self._take, [{"name": name, "owner": owner, "epoch": epoch} for name in names]
            )
            return Lease(tuple(names), owner, epoch, seized=bool(alive))

    def check(self, connection: Connection, lease: Lease) -> None:
        """Raise LeaseLostError unless the whole lease is held and alive in this transaction.

        Nobody else is in such a transaction at the same time.
        """
        if connection.dialect.name != "sqlite":  # which has one writer anyway
            connection.execute(_LOCK)
        held = connection.scalar(self._held, {"names": lease.names, "the_epoch": lease.epoch})
        if held != len(lease.names):
            raise LeaseLostError(
                f"The lease on {lease.names[0]} ended while this process slept, so nothing was "
                "sent for it."
            )

    def renew(self, owners: str) -> None:
        """Say that every owner whose name begins with ``owners`` lives."""
        with self._database.write() as connection:
            connection.execute(
                update(leases)
                .where(leases.c.owner.startswith(owners, autoescape=True))
                .values(until=self._database.now() + LEASE_SECONDS)
            )

    def release(self, owner: str) -> None:
        """Give back everything that ``owner`` has."""
        with self._database.write() as connection:
            connection.execute(_RELEASE, {"the_owner": owner})


_RELEASE = delete(leases).where(leases.c.owner == bindparam("the_owner"))
_LOCK = select(about.c.value).where(about.c.name == EPOCH_ROW).with_for_update()
"""Keeps every other process out until the transaction ends."""
_NEXT_EPOCH = (
    update(about)
    .where(about.c.name == EPOCH_ROW)
    .values(value=cast(cast(about.c.value, Integer) + 1, Text))
    .returning(about.c.value)
)
"""One more than any lease has had, also of those that were given back."""
