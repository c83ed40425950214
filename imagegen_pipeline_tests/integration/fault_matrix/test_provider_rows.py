"""A fault of a provider hits one item of four: the item, the batch, the bill, the next run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from imagegen_pipeline_tests.integration.fault_matrix.checks import (
    check_first_run,
    check_next_run,
    check_results,
)
from imagegen_pipeline_tests.integration.fault_matrix.four_items import FourItems
from imagegen_pipeline_tests.integration.fault_matrix.rows import Row
from imagegen_pipeline_tests.integration.fault_matrix.table import SERVICE_ROWS


@pytest.mark.parametrize("row", SERVICE_ROWS, ids=lambda row: row.id)
def test_a_fault_of_a_service(row: Row, four: Callable[..., FourItems]) -> None:
    """The item, the batch, the bill and the next run are as the row expects."""
    items = four(row.provider, row.settings)
    for fault in row.faults:
        items.script(**fault)
    first = items.run()
    check_first_run(row, first)
    assert bool(items.quarantine()) is row.quarantined

    requests.delete(f"{items.simulator.url}/_sim/faults", timeout=10).raise_for_status()
    second = items.run(hours=row.hours)
    check_next_run(row, second)
    check_results(first)
    check_results(second)
