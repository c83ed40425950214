"""When a request without an answer is sent again by itself, and when it waits for a person."""

from __future__ import annotations

from imagegen_pipeline.domain.generation import Attempt
from imagegen_pipeline.engine.workshop import Workshop

MOST_UNKNOWN, UNKNOWN_SECONDS = 3, 600.0
"""So many requests without an answer, in so many seconds, and nothing is sent twice any more."""


def waits_for_a_person(workshop: Workshop, last: Attempt) -> bool:
    """Whether ``last``, whose answer never came, may not be sent again by itself: it was once,
    the settings say so, or too much is unknown lately.
    """
    if last.possible_double_charge or workshop.on_unknown == "hold":
        return True
    since = workshop.clock.now() - UNKNOWN_SECONDS
    return workshop.ledger.attempts.unknown_since(last.service, since) >= MOST_UNKNOWN


def decision_remedy(key: str) -> str:
    """What a person can do about an item that is held."""
    return (
        "Look at the service's own list of jobs; then "
        f"`imagegen resolve {key} --resubmit` to have it made anew, or --give-up."
    )
