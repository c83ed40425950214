"""The sentence that states a cost estimate."""

from __future__ import annotations

from imagegen_pipeline.app.cost_estimate import CostEstimate


def cost_sentence(estimate: CostEstimate) -> str:
    """A cost estimate in words: how many images, their cost, the budget left, and the reasons
    for refused items.
    """
    parts = [_generated(estimate)]
    if estimate.reuse:
        parts.append(f"{_count(estimate.reuse, 'existing image')} will be reused at no cost.")
    if estimate.refused:
        parts.append(
            f"{_count(estimate.refused, 'item')} cannot be requested: {' '.join(estimate.reasons)}"
        )
    parts += _budgets(estimate)
    return " ".join(parts)


def _generated(estimate: CostEstimate) -> str:
    if not estimate.make:
        return "Nothing will be generated."
    priced = estimate.make - estimate.by_time - estimate.unpriced
    prices = []
    if priced:
        prices.append(f"for about {estimate.cost or 0.0:.4g}" + _of_them(priced, estimate))
    if estimate.by_time:
        prices.append("billed by the second" + _of_them(estimate.by_time, estimate))
    if estimate.unpriced:
        prices.append(
            "at an unknown price (set IMAGEGEN_PRICES)" + _of_them(estimate.unpriced, estimate)
        )
    return f"{_count(estimate.make, 'image')} will be generated, {', '.join(prices)}."


def _of_them(number: int, estimate: CostEstimate) -> str:
    return "" if number == estimate.make else f" ({number:,} of them)"


def _budgets(estimate: CostEstimate) -> list[str]:
    if not estimate.make:
        return []
    parts = []
    if estimate.by_time and estimate.reserve is not None:
        parts.append(f"At most {estimate.reserve:.4g} is reserved in total.")
    if estimate.budget_day is not None:
        left = max(0.0, estimate.budget_day - estimate.spent_today)
        parts.append(f"{left:.4g} is left of today's budget of {estimate.budget_day:g}.")
        if (estimate.reserve if estimate.reserve is not None else estimate.cost or 0.0) > left:
            parts.append("It stops before the budget is exceeded.")
    if estimate.budget_run is not None:
        parts.append(f"The limit for one job is {estimate.budget_run:g}.")
    return parts


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
