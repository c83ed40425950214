"""What a batch would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagegen_pipeline.domain.generation import Attempt, State
from imagegen_pipeline.engine.holding import why_it_waits
from imagegen_pipeline.engine.workshop import Wanted, Workshop


@dataclass(frozen=True, slots=True)
class Forecast:
    """``make``, ``reuse``, ``share``, ``collect`` or ``hold`` for each key, what the pictures to
    make would cost, and what a budget would set aside for them; None when a price is not known.
    """

    fates: dict[str, str]
    cost: float | None
    reserve: float | None


def foresee(workshop: Workshop, wanted: Iterable[Wanted], *, regenerate: bool) -> Forecast:
    """Look every item up in the ledger and the store; nothing is sent and nothing written."""
    fates: dict[str, str] = {}
    made: set[str] = set()
    cost: float | None = 0.0
    reserve: float | None = 0.0
    for item in wanted:
        fate = "make" if regenerate else _fate(workshop, item, made)
        fates[item.key] = fate
        if fate in ("make", "collect") and item.request.seed_is_fixed:
            made.add(item.request.fingerprint)
        if fate != "make":
            continue
        cost = _sum(cost, workshop.prices.cost(item.request, None))
        reserve = _sum(reserve, workshop.longest_cost(item.request))
    return Forecast(fates, cost, reserve)


def _sum(total: float | None, price: float | None) -> float | None:
    return None if total is None or price is None else total + price


def _fate(workshop: Workshop, item: Wanted, made: set[str]) -> str:
    """What becomes of an item that is not regenerated, in the order in which the engine asks."""
    book, fingerprint = workshop.ledger.attempts, item.item_fingerprint
    current = book.current(item.key)
    if current and current.fingerprint == fingerprint and workshop.has_picture(current):
        return "reuse"
    unfinished = [one for one in book.open(item.key) if one.fingerprint == fingerprint]
    if any(_is_collectable(workshop, attempt) for attempt in unfinished):
        return "collect"
    last = book.last_that_left(item.key, fingerprint)
    if last and _holds(workshop, last):
        return "hold"
    return "share" if _is_shared(workshop, item, made) else "make"


def _is_collectable(workshop: Workshop, attempt: Attempt) -> bool:
    if attempt.state is State.COMPLETED and not (attempt.result_url or attempt.job_id):
        return workshop.store.is_taken(attempt.folder, attempt.file_stem)
    return attempt.state in (State.SUBMITTED, State.COMPLETED)


def _holds(workshop: Workshop, last: Attempt) -> bool:
    if last.state in (State.SUBMITTING, State.UNKNOWN):
        return why_it_waits(workshop, last) is not None
    return last.state is State.HELD


def _is_shared(workshop: Workshop, item: Wanted, made: set[str]) -> bool:
    if not item.request.seed_is_fixed:
        return False
    same = workshop.ledger.attempts.same_picture(item.request.fingerprint)
    return item.request.fingerprint in made or any(map(workshop.has_picture, same))
