"""What a click would do and cost, before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagegen_pipeline.app.regenerate import Mode, Overrides, plan_regenerate
from imagegen_pipeline.pipeline import Pipeline

_MOST_REASONS = 3


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a remaking would do and cost, before it is asked for.

    ``make`` counts the pictures, ``by_time`` those of them that are paid by the second, and
    ``unpriced`` those whose price is not known. ``cost`` is what all others will cost,
    ``reserve`` what a budget sets aside for all; None when that is not known. ``refused`` counts
    what is held too, and ``reasons`` says why, each once. Budgets are the settings', None when
    there is none.
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


def estimate_cost(
    pipeline: Pipeline, keys: Sequence[str], *, how: Mode, change: Overrides
) -> CostEstimate:
    """What ``plan_regenerate`` with the same arguments would do and cost; nothing is written."""
    plan = plan_regenerate(pipeline, keys, how=how, change=change, intent="estimate_cost")
    make = by_time = unpriced = reuse = held = 0
    cost = 0.0
    reserve: float | None = 0.0
    for part in plan.parts:
        forecast = pipeline.dry_run(part.wanted, regenerate=part.order.regenerate)
        fates = list(forecast.fates.values())
        making = fates.count("make")
        make += making
        held += fates.count("hold")
        reuse += len(fates) - making - fates.count("hold")
        cost += forecast.cost or 0.0
        if forecast.cost is None:
            by_time += making if forecast.reserve is not None else 0
            unpriced += making if forecast.reserve is None else 0
        reserve = (
            None if reserve is None or forecast.reserve is None else reserve + forecast.reserve
        )
    reasons = dict.fromkeys(str(one.error) for one in plan.refused)
    if held:
        reasons["It may have been billed, and waits for your decision."] = None
    budget = pipeline.settings.budget
    return CostEstimate(
        make=make,
        by_time=by_time,
        unpriced=unpriced,
        reuse=reuse,
        refused=len(plan.refused) + held,
        reasons=tuple(reasons)[:_MOST_REASONS],
        cost=None if make and by_time + unpriced == make else cost,
        reserve=reserve,
        spent_today=pipeline.ledger.attempts.spent_today(),
        budget_day=budget.day,
        budget_run=budget.run,
    )
