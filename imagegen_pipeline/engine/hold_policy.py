"""When a request without an answer is sent again by itself, and when it waits for a person."""

from __future__ import annotations

from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.engine.context import EngineContext

MOST_UNKNOWN, UNKNOWN_SECONDS = 3, 600.0
"""So many requests without an answer, in so many seconds, and nothing is sent twice any more."""


def hold_reason(context: EngineContext, last: Attempt) -> str | None:
    """Why ``last``, whose answer never came, may not be sent again by itself; None if it may."""
    if last.possible_double_charge:
        return "It was sent a second time already."
    if context.on_unknown == "hold":
        return "IMAGEGEN_ON_UNKNOWN is set to hold."
    lately = context.ledger.attempts.unknown_lately(last.provider, UNKNOWN_SECONDS)
    if lately >= MOST_UNKNOWN:
        return (
            f"It is one of {lately} requests to {last.provider} in ten minutes without an answer."
        )
    return None


def decision_remedy(key: str) -> str:
    """What a person can do about an item that is held."""
    return (
        "Look at the service's own list of jobs; then "
        f"`imagegen resolve {key} --resubmit` to have it made anew, or --give-up."
    )
