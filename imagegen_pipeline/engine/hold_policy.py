"""Decides whether a request without an answer is sent again or held for a person's decision."""

from __future__ import annotations

from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.engine.context import EngineContext

MOST_UNKNOWN, UNKNOWN_SECONDS = 3, 600.0
"""After so many unknown requests to one provider in so many seconds, none is sent twice."""


def hold_reason(context: EngineContext, last: Attempt) -> str | None:
    """Why ``last``, an unknown attempt, may not be sent again automatically; None if it may."""
    if last.possible_double_charge:
        return "It was sent a second time already."
    if context.on_unknown == "hold":
        return "IMAGEGEN_ON_UNKNOWN is set to hold."
    recent = context.ledger.attempts.unknown_lately(last.provider, UNKNOWN_SECONDS)
    if recent >= MOST_UNKNOWN:
        return (
            f"It is one of {recent} requests to {last.provider} in ten minutes without an answer."
        )
    return None


def decision_remedy(key: str) -> str:
    """What a person can do about an item that is held."""
    return (
        "Check the provider's own list of jobs; then "
        f"`imagegen resolve {key} --resubmit` to generate it again, or --give-up."
    )
