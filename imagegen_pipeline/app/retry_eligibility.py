"""Items that unattended jobs may generate: failed and stale ones, subject to backoff."""

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
    """Item keys by status: eligible now, paused until their backoff ends, and final until a
    person allows a retry.
    """

    now: list[str] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    final: list[str] = field(default_factory=list)


def failed_items(
    pipeline: Pipeline, *, among: Sequence[str] = (), at_once: bool = False
) -> RetryEligibility:
    """Items whose newest attempt failed (only ``among`` these keys, if given). ``at_once``: a
    person asks, so paused and final items are eligible too.
    """
    failing = pipeline.ledger.failures.failing()
    keys = [key for key in failing if not among or key in set(among)]
    return RetryEligibility(now=keys) if at_once else retry_eligibility(pipeline, keys)


def stale_items(pipeline: Pipeline, *, missing: bool = False) -> RetryEligibility:
    """Items whose image was made from an older text, and with ``missing`` those without one."""
    keys = pipeline.out_of_date()
    if missing:
        keys += pipeline.ledger.attempts.without_picture()
    return retry_eligibility(pipeline, keys)


def retry_eligibility(pipeline: Pipeline, keys: Iterable[str]) -> RetryEligibility:
    """``keys`` by status. Failures of another request than the item's present one do not
    count, so an edited prompt is eligible at once.
    """
    requested = list(keys)
    failures = pipeline.ledger.failures.of(requested)
    newest = pipeline.ledger.attempts.newest(list(failures))
    items = pipeline.ledger.items.get(failures)
    made_from = pipeline.request_builder.made_from
    now = pipeline.engine_context.clock.now()
    result = RetryEligibility()
    by_status = {
        RetryStatus.DUE: result.now,
        RetryStatus.PAUSED: result.paused,
        RetryStatus.FINAL: result.final,
    }
    for key in requested:
        status = RetryStatus.DUE
        if key in failures and made_from(newest[key], items[key].source_item) is not None:
            status = failures[key].status(now)
        by_status[status].append(key)
    return result


def retry_requests(pipeline: Pipeline, keys: Sequence[str], *, intent: str) -> list[BatchRequest]:
    """Batches that repeat the failed requests, or send the sources' present request where it
    has changed since.
    """
    newest = pipeline.ledger.attempts.newest(keys)
    items = pipeline.ledger.items.get(keys)
    made_from = pipeline.request_builder.made_from
    changed = [key for key in keys if made_from(newest[key], items[key].source_item) is None]
    same = [key for key in keys if key not in set(changed)]
    plan = plan_regenerate(pipeline, same, mode=Mode.RETRY, overrides=NO_OVERRIDES, intent=intent)
    return [*plan.batches, *refresh_requests(pipeline, changed, intent=intent)]


def refresh_requests(pipeline: Pipeline, keys: Sequence[str], *, intent: str) -> list[BatchRequest]:
    """Batches that generate the items as their sources have them now."""
    items = pipeline.ledger.items.get(keys)
    tasks = [pipeline.request_builder.by_default(item.source_item) for item in items.values()]
    options = pipeline.order(intent=intent)
    groups: dict[tuple[ItemKind, ProviderName], list[ImageTask]] = {}
    for task in tasks:
        groups.setdefault((task.kind, task.request.provider), []).append(task)
    return [
        BatchRequest(kind, provider, options, tuple(group))
        for (kind, provider), group in groups.items()
    ]
