"""What a person reads before paying."""

from __future__ import annotations

from imagegen_pipeline.remaking import Quote


def quote_sentence(found: Quote) -> str:
    """A quote in words: how many pictures, what they cost, and what is left of the budget."""
    parts = [f"{_count(found.make, 'picture')} will be made{_cost(found)}."]
    if found.reuse:
        parts.append(f"{_count(found.reuse, 'picture')} that is there will be reused at no cost.")
    if found.refused:
        parts.append(f"{_count(found.refused, 'item')} cannot be asked for.")
    if found.make and found.budget_day is not None:
        left = max(0.0, found.budget_day - found.spent_today)
        parts.append(f"{left:.4g} is left of today's budget of {found.budget_day:g}.")
    if found.make and found.budget_run is not None:
        parts.append(f"One job may cost {found.budget_run:g}.")
    return " ".join(parts)


def _cost(found: Quote) -> str:
    if not found.make:
        return ""
    if found.cost is None:
        return ", at a price that is not known (set IMAGEGEN_PRICES)"
    return f", for about {found.cost:.4g}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
