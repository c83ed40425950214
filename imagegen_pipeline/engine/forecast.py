"""What a batch would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagegen_pipeline.domain.generation import State
from imagegen_pipeline.engine.workshop import Wanted, Workshop


@dataclass(frozen=True, slots=True)
class Forecast:
    """``make``, ``reuse``, ``share``, ``collect`` or ``hold`` for each key, and what the
    pictures to make would cost; None when a price is not known.
    """

    fates: dict[str, str]
    cost: float | None


def foresee(workshop: Workshop, wanted: Iterable[Wanted], *, regenerate: bool) -> Forecast:
    """Look every item up in the ledger and the store; nothing is sent and nothing written."""
    fates: dict[str, str] = {}
    made: set[str] = set()
    cost: float | None = 0.0
    for item in wanted:
        fate = _fate(workshop, item, made, regenerate=regenerate)
        fates[item.key] = fate
        if fate != "make":
            continue
        if item.request.seed_is_fixed and not regenerate:
            made.add(item.request.fingerprint)
        price = workshop.prices.cost(item.request, None)
        cost = None if cost is None or price is None else cost + price
    return Forecast(fates, cost)


def _fate(workshop: Workshop, item: Wanted, made: set[str], *, regenerate: bool) -> str:
    book, store = workshop.ledger.attempts, workshop.store
    if any(attempt.state in (State.SUBMITTED, State.COMPLETED) for attempt in book.open(item.key)):
        return "collect"
    if regenerate:
        return "make"
    current = book.current(item.key)
    if (
        current
        and current.fingerprint == item.item_fingerprint
        and store.matches(current.path or "", current.digest or "")
    ):
        return "reuse"
    last = book.last(item.key)
    if last and last.state is State.HELD and last.fingerprint == item.item_fingerprint:
        return "hold"
    fingerprint = item.request.fingerprint
    if item.request.seed_is_fixed and (fingerprint in made or book.same_picture(fingerprint)):
        return "share"
    return "make"
