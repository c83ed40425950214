"""The ledger: items, requests to providers, and their results.

One database (any that SQLAlchemy supports; SQLite by default): ``items`` (prompts and actors),
``attempts`` (one row per try to get an image, with its review), ``problems`` (unreadable parts of
the sources), ``leases`` (exclusive work) and ``reuses`` (images reused per day).
"""

from imagegen_pipeline.ledger.attempts import AttemptRepository
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.decisions import Decision, DecisionRepository, HeldItem
from imagegen_pipeline.ledger.failure_counts import FailureCountRepository
from imagegen_pipeline.ledger.gallery_queries import Card, Filter, GalleryQueries, PictureState
from imagegen_pipeline.ledger.gallery_stats import GalleryStats
from imagegen_pipeline.ledger.item_upsert import ScanChange, SourceRecord
from imagegen_pipeline.ledger.items import Item, ItemRepository, SourceChange
from imagegen_pipeline.ledger.leases import LeaseRepository
from imagegen_pipeline.ledger.result_rows import ResultRows, ResultsCursor
from imagegen_pipeline.ledger.result_statistics import ResultStatistics
from imagegen_pipeline.ledger.retention import RetentionRepository
from imagegen_pipeline.ledger.reviews import ReviewRepository, Verdict
from imagegen_pipeline.ledger.source_state import (
    SourceState,
    SourceStateRepository,
    StoredSource,
)

__all__ = [
    "AttemptRepository",
    "Card",
    "Decision",
    "DecisionRepository",
    "FailureCountRepository",
    "Filter",
    "GalleryQueries",
    "GalleryStats",
    "HeldItem",
    "Item",
    "ItemRepository",
    "LeaseRepository",
    "Ledger",
    "PictureState",
    "ResultRows",
    "ResultStatistics",
    "ResultsCursor",
    "RetentionRepository",
    "ReviewRepository",
    "ScanChange",
    "SourceChange",
    "SourceRecord",
    "SourceState",
    "SourceStateRepository",
    "StoredSource",
    "Verdict",
]


class Ledger:
    """The repositories on one database. Safe to use from many threads and processes."""

    def __init__(self, url: str) -> None:
        """Open the ledger at ``url``, creating its tables; raises LedgerError if that fails."""
        self._database = Database(url)
        self.items = ItemRepository(self._database)
        self.source_state = SourceStateRepository(self._database)
        self.leases = LeaseRepository(self._database)
        self.attempts = AttemptRepository(self._database, self.leases)
        self.retention = RetentionRepository(self._database)
        self.decisions = DecisionRepository(self._database)
        self.failures = FailureCountRepository(self._database)
        self.reviews = ReviewRepository(self._database)
        self.gallery = GalleryQueries(self._database)
        self.results = ResultRows(self._database)
        self.statistics = ResultStatistics(self._database)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()
