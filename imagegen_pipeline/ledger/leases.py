"""Leases: who is at work on what, on the database's own clock.

A lease keeps two processes that were asked for the same picture at once from buying it
twice: the second waits and finds the first one's picture.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update

from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.schema import leases

LEASE_SECONDS = 60.0
"""A process that has not said for so long that it lives has lost its leases."""


class LeaseBook:
    """The ``leases`` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, names: Sequence[str], owner: str) -> bool:
        """Take all of ``names`` for ``owner``, or none if another owner that lives has one."""
        now = self._database.now()
        with self._database.write() as connection:
            alive = connection.scalar(
                select(leases.c.name)
                .where(leases.c.name.in_(names), leases.c.owner != owner, leases.c.until > now)
                .limit(1)
            )
            if alive is not None:
                return False
            connection.execute(delete(leases).where(leases.c.name.in_(names)))
            for name in names:
                connection.execute(
                    insert(leases).values(name=name, owner=owner, until=now + LEASE_SECONDS)
                )
            return True

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
            connection.execute(delete(leases).where(leases.c.owner == owner))
