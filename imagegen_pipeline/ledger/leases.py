"""Leases: exclusive work on an item or a request, by the database's clock.

A lease keeps two processes that want the same image from buying it twice: the second one waits and
finds the first one's image. Its epoch is checked in the transaction that records a request as
submitting, so that a process that was suspended past the end of its lease sends nothing.
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
"""A lease that was not renewed for so long has expired. It is longer than any wait for a locked
ledger, which would delay the renewal.
"""


@dataclass(slots=True)
class Lease:
    """The names of one acquisition, all held under one epoch.

    ``seized``: another owner's lease had expired and its process may still be running, and waiting
    for an answer. ``is_released``: it was released together with another change.
    """

    names: tuple[str, ...]
    owner: str
    epoch: int
    seized: bool = False
    is_released: bool = False


class LeaseRepository:
    """The ``leases`` table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Built once: these statements run for every item of every batch.
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
        """Take all of ``names`` for ``owner``; None if another live owner holds one of them.

        The leases of a process that is known to have ended do not count.
        """
        with self._database.write() as connection:
            # The first statement keeps every other process out until the transaction ends.
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
        """Raise LeaseLostError unless the whole lease is held in this transaction, which excludes
        every other transaction that checks or acquires leases.
        """
        if connection.dialect.name != "sqlite":  # SQLite has one writer anyway
            connection.execute(_LOCK)
        held = connection.scalar(self._held, {"names": lease.names, "the_epoch": lease.epoch})
        if held != len(lease.names):
            raise LeaseLostError(
                f"The lease on {lease.names[0]} ended before this process renewed it, so nothing "
                "was sent for it."
            )

    def renew(self, owners: str) -> None:
        """Extend the leases of every owner whose name begins with ``owners``."""
        with self._database.write() as connection:
            connection.execute(
                update(leases)
                .where(leases.c.owner.startswith(owners, autoescape=True))
                .values(until=self._database.now() + LEASE_SECONDS)
            )

    def release(self, owner: str) -> None:
        """Release every lease of ``owner``."""
        with self._database.write() as connection:
            self.release_in(connection, owner)

    def release_in(self, connection: Connection, owner: str) -> None:
        """As ``release``, in a transaction that changes something else too."""
        connection.execute(_RELEASE, {"the_owner": owner})


_RELEASE = delete(leases).where(leases.c.owner == bindparam("the_owner"))
_LOCK = select(about.c.value).where(about.c.name == EPOCH_ROW).with_for_update()
"""Excludes every other such transaction until this one ends."""
_NEXT_EPOCH = (
    update(about)
    .where(about.c.name == EPOCH_ROW)
    .values(value=cast(cast(about.c.value, Integer) + 1, Text))
    .returning(about.c.value)
)
"""One more than any lease has had, released ones included."""
