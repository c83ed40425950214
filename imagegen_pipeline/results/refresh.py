"""The table brought up to date and added up: one call for whoever wants it fresh."""

from __future__ import annotations

from pathlib import Path

from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.results.dataset import refresh_table
from imagegen_pipeline.results.part_sums import today
from imagegen_pipeline.results.statistics import Statistics, statistics_of


def refresh_results(ledger: Ledger, folder: Path) -> Statistics:
    """Bring the table in ``folder`` up to date and add it up; raises StoreError, LedgerError."""
    this_day = today()
    return statistics_of(refresh_table(ledger, folder, this_day), this_day)
