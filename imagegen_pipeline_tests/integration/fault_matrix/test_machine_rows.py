"""A fault of the machine hits one item of four: item, batch, bill and the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from imagegen_pipeline_tests.conftest import Project
from imagegen_pipeline_tests.integration.fault_matrix.checks import (
    check_first_run,
    check_next_run,
    check_pictures,
)
from imagegen_pipeline_tests.integration.fault_matrix.four_items import FourItems
from imagegen_pipeline_tests.integration.fault_matrix.machine_faults import Break
from imagegen_pipeline_tests.integration.fault_matrix.machine_rows import machine_rows
from imagegen_pipeline_tests.integration.fault_matrix.rows import Row


@pytest.fixture
def stack(project: Project) -> Iterator[ExitStack]:
    """Repairs that must happen before the project's folder is deleted."""
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
    """The item, the batch, the bill and the next run are as the row expects."""
    items = four(row.provider)
    machine = broken(items, stack, monkeypatch)
    check_first_run(row, machine.run(), first="reused")

    machine.mend()
    next_run = items.run()
    check_next_run(row, next_run)
    check_pictures(next_run)
