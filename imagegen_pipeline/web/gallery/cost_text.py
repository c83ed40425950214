"""What a person reads before paying."""

from __future__ import annotations

from imagegen_pipeline.app.cost_estimate import CostEstimate


def cost_sentence(found: CostEstimate) -> str:
    """A quote in words: how many pictures, what they cost, what is left of the budget, and why
    some cannot be asked for.
    """
    parts = [_making(found)]
    if found.reuse:
        there = "that is there" if found.reuse == 1 else "that are there"
        parts.append(f"{_count(found.reuse, 'picture')} {there} will be reused at no cost.")
    if found.refused:
        parts.append(f"{_count(found.refused, 'item')} cannot be asked for: {_reasons(found)}")
    parts += _budgets(found)
    return " ".join(parts)


def _making(found: CostEstimate) -> str:
    if not found.make:
        return "Nothing will be made."
    priced = found.make - found.by_time - found.unpriced
    terms = []
    if priced:
        terms.append(f"for about {found.cost or 0.0:.4g}" + _how_many(priced, found))
    if found.by_time:
        terms.append("paid by the second" + _how_many(found.by_time, found))
    if found.unpriced:
        terms.append(
            "at a price that is not known (set IMAGEGEN_PRICES)" + _how_many(found.unpriced, found)
        )
    return f"{_count(found.make, 'picture')} will be made, {', '.join(terms)}."


def _how_many(number: int, found: CostEstimate) -> str:
    return "" if number == found.make else f" ({number:,} of them)"


def _budgets(found: CostEstimate) -> list[str]:
    if not found.make:
        return []
    parts = []
    if found.by_time and found.reserve is not None:
        parts.append(f"At most {found.reserve:.4g} is set aside for all of it.")
    if found.budget_day is not None:
        left = max(0.0, found.budget_day - found.spent_today)
        parts.append(f"{left:.4g} is left of today's budget of {found.budget_day:g}.")
        if (found.reserve if found.reserve is not None else found.cost or 0.0) > left:
            parts.append("It stops before that is crossed.")
    if found.budget_run is not None:
        parts.append(f"One job may cost {found.budget_run:g}.")
    return parts


def _reasons(found: CostEstimate) -> str:
    return " ".join(found.reasons)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
