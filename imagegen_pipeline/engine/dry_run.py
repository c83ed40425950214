"""What a batch would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.engine.context import EngineContext, ImageTask
from imagegen_pipeline.engine.hold_policy import hold_reason


@dataclass(frozen=True, slots=True)
class DryRun:
    """``make``, ``reuse``, ``share``, ``collect`` or ``hold`` for each key, what the pictures to
    make would cost, and what a budget would set aside for them; None when a price is not known.
    """

    fates: dict[str, str]
    cost: float | None
    reserve: float | None


def dry_run(context: EngineContext, wanted: Iterable[ImageTask], *, regenerate: bool) -> DryRun:
    """Look every item up in the ledger and the store; nothing is sent and nothing written."""
    fates: dict[str, str] = {}
    made: set[str] = set()
    cost: float | None = 0.0
    reserve: float | None = 0.0
    for item in wanted:
        fate = "make" if regenerate else _fate(context, item, made)
        fates[item.key] = fate
        if fate in ("make", "collect") and item.request.seed_is_fixed:
            made.add(item.request.fingerprint)
        if fate != "make":
            continue
        cost = _sum(cost, context.prices.cost(item.request, None))
        reserve = _sum(reserve, context.longest_cost(item.request))
    return DryRun(fates, cost, reserve)


def _sum(total: float | None, price: float | None) -> float | None:
    return None if total is None or price is None else total + price


def _fate(context: EngineContext, item: ImageTask, made: set[str]) -> str:
    """What becomes of an item that is not regenerated, in the order in which the engine asks."""
    book, fingerprint = context.ledger.attempts, item.item_fingerprint
    current = book.current(item.key)
    if current and current.fingerprint == fingerprint and context.has_picture(current):
        return "reuse"
    unfinished = [one for one in book.open(item.key) if one.fingerprint == fingerprint]
    if any(_is_collectable(context, attempt) for attempt in unfinished):
        return "collect"
    last = book.last_that_left(item.key, fingerprint)
    if last and _holds(context, last):
        return "hold"
    return "share" if _is_shared(context, item, made) else "make"


def _is_collectable(context: EngineContext, attempt: Attempt) -> bool:
    if attempt.state is State.COMPLETED and not (attempt.result_url or attempt.job_id):
        return context.store.is_taken(attempt.folder, attempt.file_stem)
    return attempt.state in (State.SUBMITTED, State.COMPLETED)


def _holds(context: EngineContext, last: Attempt) -> bool:
    if last.state in (State.SUBMITTING, State.UNKNOWN):
        return hold_reason(context, last) is not None
    return last.state is State.HELD


def _is_shared(context: EngineContext, item: ImageTask, made: set[str]) -> bool:
    if not item.request.seed_is_fixed:
        return False
    same = context.ledger.attempts.same_picture(item.request.fingerprint)
    return item.request.fingerprint in made or any(map(context.has_picture, same))
