"""What nobody watches may make: what failed, and what is out of date, within its patience."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from imagegen_pipeline.app.regenerate import NO_OVERRIDES, BatchRequest, Mode, plan_regenerate
from imagegen_pipeline.domain.requests import ItemKind, ProviderName
from imagegen_pipeline.domain.retry_backoff import RetryStatus
from imagegen_pipeline.engine import ImageTask
from imagegen_pipeline.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class RetryEligibility:
    """Keys by how they stand: to be made now, waiting for their next try, and those that only a
    person lifts.
    """

    now: list[str] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    final: list[str] = field(default_factory=list)


def failed_items(
    pipeline: Pipeline, *, among: Sequence[str] = (), at_once: bool = False
) -> RetryEligibility:
    """Items whose newest attempt failed (``among`` these, if any are named). ``at_once`` is a
    person's word: what is paused or final is due too.
    """
    failing = pipeline.ledger.failures.failing()
    keys = [key for key in failing if not among or key in set(among)]
    return RetryEligibility(now=keys) if at_once else retry_eligibility(pipeline, keys)


def stale_items(pipeline: Pipeline, *, missing: bool = False) -> RetryEligibility:
    """Items whose picture was made from an older text, and with ``missing`` those that have
    none; in their order.
    """
    keys = pipeline.out_of_date()
    if missing:
        keys += pipeline.ledger.attempts.without_picture()
    return retry_eligibility(pipeline, keys)


def retry_eligibility(pipeline: Pipeline, keys: Iterable[str]) -> RetryEligibility:
    """``keys`` by how they stand. Failures at another request than the item's present one do not
    count: whoever edits a prompt starts anew.
    """
    wanted = list(keys)
    failures = pipeline.ledger.failures.of(wanted)
    newest = pipeline.ledger.attempts.newest(list(failures))
    items = pipeline.ledger.items.get(failures)
    now = pipeline.engine_context.clock.now()
    due = RetryEligibility()
    lists = {RetryStatus.DUE: due.now, RetryStatus.PAUSED: due.paused, RetryStatus.FINAL: due.final}
    for key in wanted:
        standing = RetryStatus.DUE
        if key in failures:
            is_same = (
                pipeline.request_builder.made_from(newest[key], items[key].source_item) is not None
            )
            standing = failures[key].standing(now) if is_same else RetryStatus.DUE
        lists[standing].append(key)
    return due


def retry_requests(pipeline: Pipeline, keys: Sequence[str], *, intent: str) -> list[BatchRequest]:
    """What is asked of the engine for what failed: the same again, or what its source asks for
    now where that has changed since.
    """
    newest = pipeline.ledger.attempts.newest(keys)
    items = pipeline.ledger.items.get(keys)
    changed = [
        key
        for key in keys
        if pipeline.request_builder.made_from(newest[key], items[key].source_item) is None
    ]
    same = [key for key in keys if key not in set(changed)]
    again = plan_regenerate(pipeline, same, how=Mode.RETRY, change=NO_OVERRIDES, intent=intent)
    return [*again.parts, *refresh_requests(pipeline, changed, intent=intent)]


def refresh_requests(pipeline: Pipeline, keys: Sequence[str], *, intent: str) -> list[BatchRequest]:
    """What is asked of the engine for items as their sources have them now."""
    items = pipeline.ledger.items.get(keys)
    wanted = [pipeline.request_builder.by_default(item.source_item) for item in items.values()]
    order = pipeline.order(intent=intent)
    groups: dict[tuple[ItemKind, ProviderName], list[ImageTask]] = {}
    for one in wanted:
        groups.setdefault((one.kind, one.request.provider), []).append(one)
    return [
        BatchRequest(kind, provider, order, tuple(tasks))
        for (kind, provider), tasks in groups.items()
    ]
