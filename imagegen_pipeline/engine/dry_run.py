"""Predicts what a batch would do and cost, without sending or writing anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.engine.context import EngineContext, ImageTask
from imagegen_pipeline.engine.hold_policy import hold_reason


@dataclass(frozen=True, slots=True)
class DryRun:
    """``fates`` has ``make``, ``reuse``, ``share``, ``collect`` or ``hold`` for each key. ``cost``
    is the cost of the images to make, ``reserve`` what a budget would reserve for them; None
    when a price is not known.
    """

    fates: dict[str, str]
    cost: float | None
    reserve: float | None


def dry_run(context: EngineContext, tasks: Iterable[ImageTask], *, regenerate: bool) -> DryRun:
    """Look every task up in the ledger and the store."""
    fates: dict[str, str] = {}
    made: set[str] = set()
    cost: float | None = 0.0
    reserve: float | None = 0.0
    for task in tasks:
        fate = "make" if regenerate else _fate(context, task, made)
        fates[task.key] = fate
        if fate in ("make", "collect") and task.request.seed_is_fixed:
            made.add(task.request.fingerprint)
        if fate != "make":
            continue
        cost = _sum(cost, context.prices.cost(task.request, None))
        reserve = _sum(reserve, context.longest_cost(task.request))
    return DryRun(fates, cost, reserve)


def _sum(total: float | None, price: float | None) -> float | None:
    return None if total is None or price is None else total + price


def _fate(context: EngineContext, task: ImageTask, made: set[str]) -> str:
    """The fate of a task that is not a regenerate, by the engine's own order of checks."""
    attempts, fingerprint = context.ledger.attempts, task.item_fingerprint
    current = attempts.current(task.key)
    if current and current.fingerprint == fingerprint and context.has_picture(current):
        return "reuse"
    unfinished = [one for one in attempts.open(task.key) if one.fingerprint == fingerprint]
    if any(_is_collectable(context, attempt) for attempt in unfinished):
        return "collect"
    last = attempts.last_that_left(task.key, fingerprint)
    if last and _holds(context, last):
        return "hold"
    return "share" if _is_shared(context, task, made) else "make"


def _is_collectable(context: EngineContext, attempt: Attempt) -> bool:
    if attempt.state is State.COMPLETED and not (attempt.result_url or attempt.job_id):
        return context.store.is_taken(attempt.folder, attempt.file_stem)
    return attempt.state in (State.SUBMITTED, State.COMPLETED)


def _holds(context: EngineContext, last: Attempt) -> bool:
    if last.state in (State.SUBMITTING, State.UNKNOWN):
        return hold_reason(context, last) is not None
    return last.state is State.HELD


def _is_shared(context: EngineContext, task: ImageTask, made: set[str]) -> bool:
    if not task.request.seed_is_fixed:
        return False
    identical = context.ledger.attempts.same_picture(task.request.fingerprint)
    return task.request.fingerprint in made or any(map(context.has_picture, identical))
