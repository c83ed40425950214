"""All rows in order, and the table of the documentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from imagegen_pipeline_tests.integration.fault_matrix.concurrent_rows import (
    ConcurrentCase,
    concurrent_rows,
)
from imagegen_pipeline_tests.integration.fault_matrix.job_rows import job_rows
from imagegen_pipeline_tests.integration.fault_matrix.machine_rows import machine_rows
from imagegen_pipeline_tests.integration.fault_matrix.poll_rows import asking_rows
from imagegen_pipeline_tests.integration.fault_matrix.rows import SHOWN, End, Row
from imagegen_pipeline_tests.integration.fault_matrix.submit_rows import submit_rows

SERVICE_ROWS: tuple[Row, ...] = (*submit_rows(), *job_rows(), *asking_rows())
_HEAD = ("fault", "where", "item", "batch", "bill", "next run")


def as_markdown() -> str:
    """The whole matrix: a line for each fault and result, with the providers that share it."""
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD))]
    rows = [*SERVICE_ROWS, *(row for row, _ in machine_rows())]
    lines += _merged((row.provider, _cells(row)) for row in rows)
    lines += _merged((case.provider, _crowd_cells(case)) for case in concurrent_rows())
    return "\n".join(lines) + "\n"


def _merged(lines: Iterable[tuple[str, tuple[str, ...]]]) -> list[str]:
    providers: dict[tuple[str, ...], list[str]] = {}
    for provider, cells in lines:
        providers.setdefault(cells, []).append(SHOWN[provider])
    return [
        _line([fault, f"{at}: {', '.join(shared)}", *rest])
        for (fault, at, *rest), shared in providers.items()
    ]


def _cells(row: Row) -> tuple[str, ...]:
    now, then = row.fate.now, row.fate.then
    return (
        row.name,
        row.at,
        _item(now),
        row.batch,
        str(now.bill),
        f"{_item(then)}; bill {then.bill}",
    )


def _item(end: End) -> str:
    why = f" (`{end.kind}`)" if end.kind else ""
    attempts = ", ".join(f"`{state}`" for state in end.states)
    return f"{end.status}{why}; {attempts or 'no attempt'}"


def _crowd_cells(case: ConcurrentCase) -> tuple[str, ...]:
    return (
        case.name,
        f"all {len(case.names)} submits",
        _counted(case.statuses),
        f"stops (`{case.kind}`)" if case.kind else "goes on",
        str(sum(case.bills)),
        f"{_counted(case.then)}; bill {sum(case.then_bills)}",
    )


def _counted(statuses: Iterable[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in Counter(statuses).items())


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
