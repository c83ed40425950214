"""Estimates what a regenerate or retry would do and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagegen_pipeline.app.regenerate import Mode, Overrides, RegeneratePlan, plan_regenerate
from imagegen_pipeline.pipeline import Pipeline

_MAX_REASONS = 3


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a regenerate or retry would do and cost.

    ``make``: images to generate; of these, ``by_time`` are billed by the second and
    ``unpriced`` have no known price. ``cost``: the price of the others; None if there are none.
    ``reserve``: what a budget sets aside for all of them; None if that is unknown. ``reuse``:
    images that exist. ``refused``: items that cannot be requested, held ones included, with up
    to three distinct ``reasons``. Budgets are the settings'; None without one.
    """

    make: int
    by_time: int
    unpriced: int
    reuse: int
    refused: int
    reasons: tuple[str, ...]
    cost: float | None
    reserve: float | None
    spent_today: float
    budget_day: float | None
    budget_run: float | None


@dataclass(slots=True)
class _Totals:
    """Sums over the dry runs of a plan's batches."""

    make: int = 0
    by_time: int = 0
    unpriced: int = 0
    reuse: int = 0
    held: int = 0
    cost: float = 0.0
    reserve: float | None = 0.0


def estimate_cost(
    pipeline: Pipeline, keys: Sequence[str], *, mode: Mode, overrides: Overrides
) -> CostEstimate:
    """What ``plan_regenerate`` with the same arguments would do and cost; writes nothing."""
    plan = plan_regenerate(pipeline, keys, mode=mode, overrides=overrides, intent="estimate_cost")
    totals = _dry_run_totals(pipeline, plan)
    reasons = dict.fromkeys(str(outcome.error) for outcome in plan.refused)
    if totals.held:
        reasons["It may have been billed, and waits for your decision."] = None
    budget = pipeline.settings.budget
    has_price = not totals.make or totals.by_time + totals.unpriced < totals.make
    return CostEstimate(
        make=totals.make,
        by_time=totals.by_time,
        unpriced=totals.unpriced,
        reuse=totals.reuse,
        refused=len(plan.refused) + totals.held,
        reasons=tuple(reasons)[:_MAX_REASONS],
        cost=totals.cost if has_price else None,
        reserve=totals.reserve,
        spent_today=pipeline.ledger.attempts.spent_today(),
        budget_day=budget.day,
        budget_run=budget.run,
    )


def _dry_run_totals(pipeline: Pipeline, plan: RegeneratePlan) -> _Totals:
    totals = _Totals()
    for batch in plan.batches:
        dry_run = pipeline.dry_run(batch.tasks, regenerate=batch.options.regenerate)
        fates = list(dry_run.fates.values())
        make, held = fates.count("make"), fates.count("hold")
        totals.make += make
        totals.held += held
        totals.reuse += len(fates) - make - held
        totals.cost += dry_run.cost or 0.0
        if dry_run.cost is None and dry_run.reserve is None:
            totals.unpriced += make
        elif dry_run.cost is None:
            totals.by_time += make
        if totals.reserve is not None:
            totals.reserve = None if dry_run.reserve is None else totals.reserve + dry_run.reserve
    return totals
