"""What a person asks of items whose picture is there, or failed: another one, or a new try.

The gallery and the HTTP API come here; what is made goes through the engine like all else.
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

_AT_ONCE = 500
"""Items whose attempts are read together."""
_NO_PICTURE = (State.FAILED, State.UNKNOWN, State.EXPIRED, State.PLANNED)


class Mode(StrEnum):
    """``regenerate``: another picture beside the one that is there (or the first one).
    ``retry``: once more what failed, as it was asked; nothing for an item that has its picture.
    """

    REGENERATE = "regenerate"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What of the shown picture's request is to differ; None keeps it.

    ``prompt`` is the description for an actor. ``seed`` is ``new`` (drawn), ``same`` (the shown
    picture's) or a number. Sizes are pixels.
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


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """Items of one kind, provider and order: one batch of the engine."""

    kind: ItemKind
    provider: ProviderName
    order: BatchOptions
    wanted: tuple[ImageTask, ...]


@dataclass(frozen=True, slots=True)
class RegeneratePlan:
    """What will be asked of the engine; what cannot be, with the reason; and ``had``, the
    pictures that the same intent has brought already.
    """

    parts: tuple[BatchRequest, ...]
    refused: tuple[Outcome, ...] = ()
    had: tuple[Outcome, ...] = ()

    @property
    def size(self) -> int:
        """How many items are asked of the engine."""
        return sum(len(part.wanted) for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Known:
    """An item with what the ledger knows of its pictures."""

    source_item: Prompt | Actor
    default: ImageTask
    history: list[Attempt]
    current: Attempt | None


def plan_regenerate(
    pipeline: Pipeline, keys: Sequence[str], *, how: Mode, change: Overrides, intent: str
) -> RegeneratePlan:
    """What a person's click asks of the engine; nothing is sent.

    ``intent`` names the click: asked again with it, nothing is bought twice. Raises
    RequestRefusedError for a change that no item could have.
    """
    _check_text(change)
    orders: dict[tuple[ItemKind, ProviderName, bool, bool, str], list[ImageTask]] = {}
    refused: list[Outcome] = []
    had: list[Outcome] = []
    for key, known in _known(pipeline, keys):
        if known is None:
            refused.append(_refusal(key, _unknown(key)))
            continue
        brought = _brought(pipeline, known, intent)
        if brought is not None:
            had.append(brought)
            continue
        try:
            wanted, regenerate, seed_given, why = _asked(pipeline, known, how, change, intent)
        except ImagegenError as error:
            refused.append(_refusal(key, error))
            continue
        group = (wanted.kind, wanted.request.provider, regenerate, seed_given, why)
        orders.setdefault(group, []).append(wanted)
    parts = tuple(
        BatchRequest(
            kind,
            provider,
            pipeline.order(intent=why, regenerate=regenerate, seed_given=seed_given),
            tuple(wanted),
        )
        for (kind, provider, regenerate, seed_given, why), wanted in orders.items()
    )
    return RegeneratePlan(parts, tuple(refused), tuple(had))


def basis(pipeline: Pipeline, key: str) -> GenerationRequest | None:
    """What a regenerate without any change would ask for; None for what is not known."""
    for _, known in _known(pipeline, [key]):
        if known is not None:
            return _changed(known, _shown(known), NO_OVERRIDES)
    return None


def choose(pipeline: Pipeline, attempt_id: int) -> Attempt:
    """Make a picture of an item's history its current one, at its fixed path too.

    Raises DecisionError when it has no picture, or while another process is at the item.
    """
    found = pipeline.ledger.attempts.get([attempt_id])
    if not found or not pipeline.engine_context.has_picture(found[0]):
        raise DecisionError(
            f"Attempt {attempt_id} has no picture on disk.", remedy="Choose another one."
        )
    (attempt,) = found
    owner = new_owner()
    if pipeline.ledger.leases.acquire([f"item:{attempt.item_key}"], owner) is None:
        raise DecisionError(
            f"{attempt.item_key} is being made just now.", remedy="Try again when it is done."
        )
    try:
        item = pipeline.ledger.items.get([attempt.item_key])[attempt.item_key]
        pipeline.engine_context.extract_picture(attempt)  # an old one may lie in an archive
        target = pipeline.request_builder.as_sent(attempt, item.source_item).publish
        if target is not None:
            pipeline.store.publish(StoredPicture.of(attempt), target)
        return pipeline.ledger.reviews.make_current(attempt_id)
    finally:
        pipeline.ledger.leases.release(owner)


def _known(pipeline: Pipeline, keys: Sequence[str]) -> Iterator[tuple[str, _Known | None]]:
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        items = pipeline.ledger.items.get(some)
        histories = pipeline.ledger.gallery.histories(some)
        for key in some:
            item, history = items.get(key), histories.get(key, [])
            if item is None:
                yield key, None
                continue
            yield (
                key,
                _Known(
                    source_item=item.source_item,
                    default=pipeline.request_builder.by_default(item.source_item),
                    history=[attempt for attempt, _ in history],
                    current=next((one for one, is_current in history if is_current), None),
                ),
            )


def _brought(pipeline: Pipeline, known: _Known, intent: str) -> Outcome | None:
    """The picture that this very click has brought to an item, before a restart say."""
    for attempt in known.history:
        if attempt.intent == intent and pipeline.engine_context.extract_picture(attempt):
            path = str(pipeline.picture_path(attempt))
            return Outcome(attempt.item_key, Status.REUSED, attempt=attempt, path=path)
    return None


def _refusal(key: str, error: ImagegenError) -> Outcome:
    return Outcome(key, Status.FAILED, error_kind=error.kind, error=str(error), remedy=error.remedy)


def _asked(
    pipeline: Pipeline, known: _Known, how: Mode, change: Overrides, intent: str
) -> tuple[ImageTask, bool, bool, str]:
    """What is wanted of one item; whether it is a regenerate, has a seed given, and its intent."""
    _check_place(pipeline, known.source_item)
    begun = next((one for one in known.history if one.intent == intent), None)
    if begun is not None:  # by an earlier process: what it sent may have brought a picture since
        return (
            pipeline.request_builder.as_sent(begun, known.source_item),
            begun.regenerate,
            False,
            intent,
        )
    if how is Mode.RETRY:
        return _once_more(pipeline, known, intent)
    request = _changed(known, _shown(known), change)
    _check(pipeline, request)
    wanted = pipeline.request_builder.of(known.source_item, request, own=_own(known))
    seed_given = change.seed != "new" and request.seed_is_fixed
    return wanted, known.current is not None, seed_given, intent


def _shown(known: _Known) -> Attempt | None:
    return known.current or (known.history[0] if known.history else None)


def _once_more(pipeline: Pipeline, known: _Known, intent: str) -> tuple[ImageTask, bool, bool, str]:
    last = known.history[0] if known.history else None
    if last is None:
        return known.default, False, False, intent
    if last.state not in _NO_PICTURE:
        raise _not_failed(last)
    wanted = pipeline.request_builder.as_sent(last, known.source_item)
    # A regenerate is bought once for each intent: its new try goes on under the same one.
    return wanted, last.regenerate, False, last.intent if last.regenerate else intent


def _not_failed(last: Attempt) -> DecisionError:
    if last.state is State.HELD:
        return DecisionError(f"{last.item_key} is held.", remedy=last.remedy)
    if last.state in OPEN_STATES:
        return DecisionError(
            f"{last.item_key} is with its service just now.",
            remedy="Wait for its picture: it is collected.",
        )
    return DecisionError(
        f"{last.item_key} has nothing that failed.",
        remedy="Regenerate it to have another picture.",
    )


def _unknown(key: str) -> DecisionError:
    return DecisionError(
        f"Nothing of the name {key} is known.",
        remedy="`imagegen sync` writes down what the sources have.",
    )


def _changed(known: _Known, shown: Attempt | None, change: Overrides) -> GenerationRequest:
    """The request of the shown picture, brought up to its source's text, with the change."""
    request = known.default.request
    if shown is not None and shown.provider == request.provider:
        request = GenerationRequest(**{**shown.request, "workflow_digest": request.workflow_digest})
        if shown.fingerprint != _own(known):  # its source has another text now
            request = dataclasses.replace(request, prompt=known.default.request.prompt)
    wishes: dict[str, Any] = {
        field.name: getattr(change, field.name)
        for field in dataclasses.fields(change)
        if field.name != "seed" and getattr(change, field.name) is not None
    }
    if isinstance(known.source_item, Actor):
        wishes.pop("model", None)
        wishes.pop("negative_prompt", None)
        wishes.pop("guidance", None)  # the graph's own: none of these is the users' to change
        if change.prompt is not None:
            wishes["prompt"] = base_image_prompt(change.prompt)
    if change.seed == "same" and shown is not None:
        wishes["seed"] = shown.seed
    elif isinstance(change.seed, int):
        wishes["seed"] = change.seed
    return dataclasses.replace(request, **wishes)


def _own(known: _Known) -> str:
    """What the item's source asks for: as its picture was last asked for, while the text is
    the same, else by the users' defaults. The new picture then counts for it.
    """
    default = known.default.request
    current = known.current
    if current is None or isinstance(known.source_item, Actor):
        return default.fingerprint
    same_text = any(
        one.fingerprint == current.fingerprint and one.request["prompt"] == default.prompt
        for one in known.history
    )
    return current.fingerprint if same_text else default.fingerprint


def _check_text(change: Overrides) -> None:
    for name, text in (("prompt", change.prompt), ("model", change.model)):
        fault = None if text is None else prompt_text_fault(text, name)
        if fault is not None:
            raise RequestRefusedError(fault[0], remedy=fault[1])


def _check(pipeline: Pipeline, request: GenerationRequest) -> None:
    """Refuse what the provider would refuse, before anything is planned."""
    sent = request if request.seed != RANDOM_SEED else request.with_seed(0)
    pipeline.check_request(sent)


def _check_place(pipeline: Pipeline, source_item: Prompt | Actor) -> None:
    given = pipeline.settings
    if isinstance(source_item, Actor):
        for roster in {given.actors_dir, given.base_images_dir}:
            if leads_outside(roster / source_item.name, roster):
                raise RequestRefusedError(
                    f"{source_item.name}: {LEADS_OUTSIDE}", remedy=MOVE_IT_HERE
                )
