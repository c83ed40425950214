"""The ledger: what was wanted, what was asked of the services, and what came of it.

One database (any that SQLAlchemy speaks; SQLite by default): ``items`` (what pictures are
wanted for), ``attempts`` (one row for each try to get a picture, with what a person said of
it), ``problems`` (what in the sources cannot be read), ``leases`` (who is at work on what) and
``reuses`` (how many pictures a day were there already).
"""

from imagegen_pipeline.ledger.archiving import ArchiveBook
from imagegen_pipeline.ledger.attempts import AttemptBook
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.decisions import Decision, DecisionBook, HeldItem
from imagegen_pipeline.ledger.failures import FailureBook
from imagegen_pipeline.ledger.gallery import Card, Filter, GalleryBook, PictureState
from imagegen_pipeline.ledger.items import Item, ItemBook, Part, ScanChange, SourceChange
from imagegen_pipeline.ledger.leases import LeaseBook
from imagegen_pipeline.ledger.reads import ReadBook, SourceRead
from imagegen_pipeline.ledger.result_rows import ResultRows, Standing
from imagegen_pipeline.ledger.reviews import ReviewBook, Verdict
from imagegen_pipeline.ledger.totals import Totals

__all__ = [
    "ArchiveBook",
    "AttemptBook",
    "Card",
    "Decision",
    "DecisionBook",
    "FailureBook",
    "Filter",
    "GalleryBook",
    "HeldItem",
    "Item",
    "ItemBook",
    "LeaseBook",
    "Ledger",
    "Part",
    "PictureState",
    "ReadBook",
    "ResultRows",
    "ReviewBook",
    "ScanChange",
    "SourceChange",
    "SourceRead",
    "Standing",
    "Totals",
    "Verdict",
]


class Ledger:
    """The books on one database. Safe to use from many threads and processes."""

    def __init__(self, url: str) -> None:
        """Open the ledger at ``url``, creating its tables; raises LedgerError if that fails."""
        self._database = Database(url)
        self.items = ItemBook(self._database)
        self.reads = ReadBook(self._database)
        self.leases = LeaseBook(self._database)
        self.attempts = AttemptBook(self._database, self.leases)
        self.archiving = ArchiveBook(self._database)
        self.decisions = DecisionBook(self._database)
        self.failures = FailureBook(self._database)
        self.reviews = ReviewBook(self._database)
        self.gallery = GalleryBook(self._database)
        self.results = ResultRows(self._database)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()
