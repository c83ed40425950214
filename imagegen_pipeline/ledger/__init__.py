"""The ledger: what was wanted, what was asked of the services, and what came of it.

One database (any that SQLAlchemy speaks; SQLite by default) with four tables: ``items``
(what pictures are wanted for), ``attempts`` (one row for each try to get a picture),
``problems`` (what in the sources cannot be read) and ``leases`` (who is at work on what).
"""

from imagegen_pipeline.ledger.attempts import AttemptBook
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.decisions import Decision, DecisionBook, HeldItem
from imagegen_pipeline.ledger.items import Item, ItemBook, ScanChange
from imagegen_pipeline.ledger.leases import LeaseBook

__all__ = [
    "AttemptBook",
    "Decision",
    "DecisionBook",
    "HeldItem",
    "Item",
    "ItemBook",
    "LeaseBook",
    "Ledger",
    "ScanChange",
]


class Ledger:
    """The books on one database. Safe to use from many threads and processes."""

    def __init__(self, url: str) -> None:
        """Open the ledger at ``url``, creating its tables; raises LedgerError if that fails."""
        self._database = Database(url)
        self.items = ItemBook(self._database)
        self.leases = LeaseBook(self._database)
        self.attempts = AttemptBook(self._database, self.leases)
        self.decisions = DecisionBook(self._database)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()
