"""One item of four is hit by a fault of the machine: item, batch, bill, and the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from imagegen_pipeline_tests.conftest import Project
from imagegen_pipeline_tests.fault_matrix.checks import (
    check_first_run,
    check_next_run,
    check_pictures,
)
from imagegen_pipeline_tests.fault_matrix.four_items import FourItems
from imagegen_pipeline_tests.fault_matrix.machine_faults import Break
from imagegen_pipeline_tests.fault_matrix.machine_rows import machine_rows
from imagegen_pipeline_tests.fault_matrix.rows import Row


@pytest.fixture
def stack(project: Project) -> Iterator[ExitStack]:
    """What must be undone before the project's folder can go."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(("row", "broken"), machine_rows(), ids=[r.id for r, _ in machine_rows()])
def test_a_fault_of_the_machine(
    row: Row,
    broken: Break,
    four: Callable[..., FourItems],
    stack: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the row says of the item, the batch, the bill and the next run is so."""
    items = four(row.provider)
    machine = broken(items, stack, monkeypatch)
    check_first_run(row, machine.run(), first="reused")

    machine.mend()
    next_run = items.run()
    check_next_run(row, next_run)
    check_pictures(next_run)
