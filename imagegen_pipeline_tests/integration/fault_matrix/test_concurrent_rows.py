"""A fault that hits item after item stops the batch before much is paid in vain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from imagegen_pipeline_tests.integration.fault_matrix.concurrent_rows import (
    ConcurrentCase,
    concurrent_rows,
)
from imagegen_pipeline_tests.integration.fault_matrix.four_items import FourItems, Run


@pytest.mark.parametrize("row", concurrent_rows(), ids=lambda row: row.id)
def test_a_fault_that_hits_one_after_another(
    row: ConcurrentCase, four: Callable[..., FourItems]
) -> None:
    """Every item, the bills, the requests and the next run are as the row expects."""
    items = four(row.provider, names=row.names)
    for name in row.names if row.once else (None,):
        items.script("submit", name=name, **row.fault)
    first = items.run()
    assert statuses(first) == row.statuses
    assert tuple(first.ledger_counts.bills) == row.bills
    assert items.submits() == row.submits
    kinds = {one.error_kind for one in first.outcomes if one.status == "skipped"}
    assert kinds == ({row.kind} if row.kind else set())
    for outcome in first.outcomes:
        assert outcome.ok or (outcome.error and outcome.remedy)

    requests.delete(f"{items.simulator.url}/_sim/faults", timeout=10).raise_for_status()
    second = items.run()
    assert statuses(second) == row.then
    assert tuple(second.ledger_counts.bills) == row.then_bills


def statuses(run: Run) -> tuple[str, ...]:
    """The status of each item."""
    return tuple(str(outcome.status) for outcome in run.outcomes)
