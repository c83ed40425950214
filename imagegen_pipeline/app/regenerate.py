"""Plans what a person requests for existing items: another image, or a retry of a failed one.

The gallery and the HTTP API use it; the engine generates what is planned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from imagegen_pipeline.domain.actors import Actor, base_image_prompt
from imagegen_pipeline.domain.errors import DecisionError, ImagegenError, RequestRefusedError
from imagegen_pipeline.domain.prompt_text import prompt_text_fault
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import (
    OPEN_STATES,
    RANDOM_SEED,
    Attempt,
    GenerationRequest,
    ItemKind,
    Outcome,
    ProviderName,
    State,
    Status,
)
from imagegen_pipeline.engine import BatchOptions, ImageTask
from imagegen_pipeline.ledger.lease_owner import new_owner
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.sources.actors import LEADS_OUTSIDE, MOVE_IT_HERE, leads_outside
from imagegen_pipeline.storage.pictures import StoredPicture

_CHUNK = 500
"""Items whose attempts are read in one query."""
_NO_PICTURE = (State.FAILED, State.UNKNOWN, State.EXPIRED, State.PLANNED)


class Mode(StrEnum):
    """``regenerate``: another image beside the current one (or the first one).
    ``retry``: the failed request again; refused for an item that has not failed.
    """

    REGENERATE = "regenerate"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Overrides:
    """Fields that differ from the shown image's request; None keeps its value.

    ``prompt`` is an actor's description. ``seed`` is ``new`` (drawn), ``same`` (the shown
    image's) or a number. Sizes are pixels.
    """

    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | Literal["new", "same"] = "new"
    steps: int | None = None
    width: int | None = None
    height: int | None = None
    guidance: float | None = None
    model: str | None = None


NO_OVERRIDES = Overrides()
_NOT_FOR_ACTORS = ("model", "negative_prompt", "guidance")
"""Fixed by the workflow's graph."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One batch of the engine: items of one kind and provider with the same options."""

    kind: ItemKind
    provider: ProviderName
    options: BatchOptions
    tasks: tuple[ImageTask, ...]


@dataclass(frozen=True, slots=True)
class RegeneratePlan:
    """The batches to run, the items that are refused with the reason, and ``collected``: images
    that the same intent has generated already.
    """

    batches: tuple[BatchRequest, ...]
    refused: tuple[Outcome, ...] = ()
    collected: tuple[Outcome, ...] = ()

    @property
    def size(self) -> int:
        """The number of items in the batches."""
        return sum(len(batch.tasks) for batch in self.batches)


@dataclass(frozen=True, slots=True)
class _ItemHistory:
    """An item with its attempts, newest first, and the attempt of its current image."""

    source_item: Prompt | Actor
    default: ImageTask
    attempts: list[Attempt]
    current: Attempt | None

    @property
    def shown(self) -> Attempt | None:
        """The attempt whose request the gallery shows."""
        return self.current or (self.attempts[0] if self.attempts else None)


@dataclass(frozen=True, slots=True)
class _PlannedTask:
    """A task with the options that decide which batch it belongs to."""

    task: ImageTask
    intent: str
    regenerate: bool = False
    seed_given: bool = False


def plan_regenerate(
    pipeline: Pipeline, keys: Sequence[str], *, mode: Mode, overrides: Overrides, intent: str
) -> RegeneratePlan:
    """Plan another image or a retry for each item; sends nothing.

    ``intent`` names the request: planned again with the same intent, nothing is bought twice.
    Raises RequestRefusedError for overrides that no item could have.
    """
    _check_text(overrides)
    planned: list[_PlannedTask] = []
    refused: list[Outcome] = []
    collected: list[Outcome] = []
    for key, history in _read_histories(pipeline, keys):
        try:
            if history is None:
                raise _unknown_key(key)
            outcome = _collected_outcome(pipeline, history, intent)
            if outcome is None:
                planned.append(_plan_task(pipeline, history, mode, overrides, intent))
            else:
                collected.append(outcome)
        except ImagegenError as error:
            refused.append(_refused_outcome(key, error))
    return RegeneratePlan(_batches(pipeline, planned), tuple(refused), tuple(collected))


def _batches(pipeline: Pipeline, planned: list[_PlannedTask]) -> tuple[BatchRequest, ...]:
    """Group the tasks by kind, provider and options, in their order."""
    groups: dict[tuple[ItemKind, ProviderName, bool, bool, str], list[ImageTask]] = {}
    for one in planned:
        task = one.task
        group = (task.kind, task.request.provider, one.regenerate, one.seed_given, one.intent)
        groups.setdefault(group, []).append(task)
    return tuple(
        BatchRequest(
            kind,
            provider,
            pipeline.order(intent=intent, regenerate=regenerate, seed_given=seed_given),
            tuple(tasks),
        )
        for (kind, provider, regenerate, seed_given, intent), tasks in groups.items()
    )


def base_request(pipeline: Pipeline, key: str) -> GenerationRequest | None:
    """The request that a regenerate without overrides would send; None for an unknown key."""
    for _, history in _read_histories(pipeline, [key]):
        if history is not None:
            return _request_with(history, NO_OVERRIDES)
    return None


def make_current(pipeline: Pipeline, attempt_id: int) -> Attempt:
    """Make an older image of an item its current one, at the item's fixed path too.

    Raises DecisionError if the attempt has no image, or while another process works on the item.
    """
    attempts = pipeline.ledger.attempts.get([attempt_id])
    if not attempts or not pipeline.engine_context.has_picture(attempts[0]):
        raise DecisionError(
            f"Attempt {attempt_id} has no image on disk.", remedy="Choose another one."
        )
    (attempt,) = attempts
    owner = new_owner()
    if pipeline.ledger.leases.acquire([f"item:{attempt.item_key}"], owner) is None:
        raise DecisionError(
            f"{attempt.item_key} is being generated.", remedy="Try again when it has ended."
        )
    try:
        item = pipeline.ledger.items.get([attempt.item_key])[attempt.item_key]
        pipeline.engine_context.extract_picture(attempt)  # it may be in an archive
        target = pipeline.request_builder.as_sent(attempt, item.source_item).publish
        if target is not None:
            pipeline.store.publish(StoredPicture.of(attempt), target)
        return pipeline.ledger.reviews.make_current(attempt_id)
    finally:
        pipeline.ledger.leases.release(owner)


def _read_histories(
    pipeline: Pipeline, keys: Sequence[str]
) -> Iterator[tuple[str, _ItemHistory | None]]:
    """Each distinct key with its item's history; None for an unknown key."""
    distinct = list(dict.fromkeys(keys))
    for start in range(0, len(distinct), _CHUNK):
        chunk = distinct[start : start + _CHUNK]
        items = pipeline.ledger.items.get(chunk)
        histories = pipeline.ledger.gallery.histories(chunk)
        for key in chunk:
            item, history = items.get(key), histories.get(key, [])
            if item is None:
                yield key, None
                continue
            yield (
                key,
                _ItemHistory(
                    source_item=item.source_item,
                    default=pipeline.request_builder.by_default(item.source_item),
                    attempts=[attempt for attempt, _ in history],
                    current=next((attempt for attempt, is_current in history if is_current), None),
                ),
            )


def _collected_outcome(pipeline: Pipeline, history: _ItemHistory, intent: str) -> Outcome | None:
    """The image that this intent has generated already, for example before a restart."""
    for attempt in history.attempts:
        if attempt.intent == intent and pipeline.engine_context.extract_picture(attempt):
            path = str(pipeline.picture_path(attempt))
            return Outcome(attempt.item_key, Status.REUSED, attempt=attempt, path=path)
    return None


def _refused_outcome(key: str, error: ImagegenError) -> Outcome:
    return Outcome(key, Status.FAILED, error_kind=error.kind, error=str(error), remedy=error.remedy)


def _plan_task(
    pipeline: Pipeline, history: _ItemHistory, mode: Mode, overrides: Overrides, intent: str
) -> _PlannedTask:
    """The task for one item; raises ImagegenError if it cannot be requested."""
    _check_folders(pipeline, history.source_item)
    begun = next((attempt for attempt in history.attempts if attempt.intent == intent), None)
    if begun is not None:  # by an earlier process: the engine collects what it has sent
        task = pipeline.request_builder.as_sent(begun, history.source_item)
        return _PlannedTask(task, intent, regenerate=begun.regenerate)
    if mode is Mode.RETRY:
        return _plan_retry(pipeline, history, intent)
    request = _request_with(history, overrides)
    _check(pipeline, request)
    own = _source_fingerprint(history)
    return _PlannedTask(
        pipeline.request_builder.of(history.source_item, request, own=own),
        intent,
        regenerate=history.current is not None,
        seed_given=overrides.seed != "new" and request.seed_is_fixed,
    )


def _plan_retry(pipeline: Pipeline, history: _ItemHistory, intent: str) -> _PlannedTask:
    if not history.attempts:
        return _PlannedTask(history.default, intent)
    last = history.attempts[0]
    if last.state not in _NO_PICTURE:
        raise _not_failed(last)
    task = pipeline.request_builder.as_sent(last, history.source_item)
    # A regenerate is bought once per intent, so its retry continues the same intent.
    return _PlannedTask(
        task, last.intent if last.regenerate else intent, regenerate=last.regenerate
    )


def _not_failed(last: Attempt) -> DecisionError:
    if last.state is State.HELD:
        return DecisionError(f"{last.item_key} is held.", remedy=last.remedy)
    if last.state in OPEN_STATES:
        return DecisionError(
            f"{last.item_key} is being generated by its provider.",
            remedy="Wait for the image: it is collected.",
        )
    return DecisionError(
        f"{last.item_key} has not failed.", remedy="Regenerate it to get another image."
    )


def _unknown_key(key: str) -> DecisionError:
    return DecisionError(
        f"No item has the key {key}.", remedy="Run `imagegen sync` to register the sources' items."
    )


def _request_with(history: _ItemHistory, overrides: Overrides) -> GenerationRequest:
    """The shown image's request, with its source's present text and the overrides."""
    request, shown = history.default.request, history.shown
    if shown is not None and shown.provider == request.provider:
        request = GenerationRequest(**{**shown.request, "workflow_digest": request.workflow_digest})
        if shown.fingerprint != _source_fingerprint(history):  # the source's text has changed
            request = dataclasses.replace(request, prompt=history.default.request.prompt)
    changes: dict[str, Any] = {
        field.name: getattr(overrides, field.name)
        for field in dataclasses.fields(overrides)
        if field.name != "seed" and getattr(overrides, field.name) is not None
    }
    if isinstance(history.source_item, Actor):
        changes = {name: changes[name] for name in changes if name not in _NOT_FOR_ACTORS}
        if overrides.prompt is not None:
            changes["prompt"] = base_image_prompt(overrides.prompt)
    if overrides.seed == "same" and shown is not None:
        changes["seed"] = shown.seed
    elif isinstance(overrides.seed, int):
        changes["seed"] = overrides.seed
    return dataclasses.replace(request, **changes)


def _source_fingerprint(history: _ItemHistory) -> str:
    """The fingerprint that makes the new image count for the item's source: the current image's
    while the text is unchanged, else that of the default request.
    """
    default = history.default.request
    current = history.current
    if current is None or isinstance(history.source_item, Actor):
        return default.fingerprint
    has_same_text = any(
        attempt.fingerprint == current.fingerprint and attempt.request["prompt"] == default.prompt
        for attempt in history.attempts
    )
    return current.fingerprint if has_same_text else default.fingerprint


def _check_text(overrides: Overrides) -> None:
    for name, text in (("prompt", overrides.prompt), ("model", overrides.model)):
        fault = None if text is None else prompt_text_fault(text, name)
        if fault is not None:
            raise RequestRefusedError(fault[0], remedy=fault[1])


def _check(pipeline: Pipeline, request: GenerationRequest) -> None:
    """Refuse what the provider would refuse, before anything is planned."""
    sent = request if request.seed != RANDOM_SEED else request.with_seed(0)
    pipeline.check_request(sent)


def _check_folders(pipeline: Pipeline, source_item: Prompt | Actor) -> None:
    """Refuse an actor whose folder is a link that leads outside the roster."""
    if not isinstance(source_item, Actor):
        return
    settings = pipeline.settings
    for roster in {settings.actors_dir, settings.base_images_dir}:
        if leads_outside(roster / source_item.name, roster):
            raise RequestRefusedError(f"{source_item.name}: {LEADS_OUTSIDE}", remedy=MOVE_IT_HERE)
