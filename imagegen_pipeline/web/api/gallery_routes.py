"""JSON routes of the gallery: cards, reviews, decisions, downloads, statistics."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from imagegen_pipeline.app.regenerate import make_current
from imagegen_pipeline.app.source_problems import problems_in_use
from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.ledger import Decision
from imagegen_pipeline.ledger.gallery_queries import Card, Filter
from imagegen_pipeline.ledger.reviews import Verdict
from imagegen_pipeline.web.api import schemas
from imagegen_pipeline.web.api.job_routes import MAX_ID, Key
from imagegen_pipeline.web.api.responses import PlainJSON, failure
from imagegen_pipeline.web.app_state import app_state_of
from imagegen_pipeline.web.gallery.picture_files import picture_file
from imagegen_pipeline.web.gallery.zip_downloads import MAX_PICTURES, entries_of, pack

router = APIRouter(tags=["gallery"])
FilterValue = Annotated[str, Query(max_length=200)]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
_STRICT = ConfigDict(strict=True, extra="forbid")


def _filter(
    state: Annotated[
        Literal["", "waiting", "running", "done", "failed", "held", "approved", "rejected"],
        Query(),
    ] = "",
    source: Annotated[
        FilterValue, Query(description="database, json, single_prompt or actor.")
    ] = "",
    actor: Annotated[FilterValue, Query(description="An actor's name.")] = "",
    model: FilterValue = "",
    text: Annotated[FilterValue, Query(description="Words in the prompt or the key.")] = "",
) -> Filter:
    return Filter(state or None, source or None, actor or None, model or None, text)


Filters = Annotated[Filter, Depends(_filter)]


@router.get(
    "/api/pictures",
    responses={
        200: {"model": schemas.Pictures, "description": "Matching cards, newest first."},
        **schemas.problems(400, 500, 503),
    },
    summary="A page of cards.",
)
def pictures(
    request: Request,
    filters: Filters,
    offset: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
) -> Response:
    """Items with their current images, the latest attempts first."""
    gallery = app_state_of(request).pipeline.ledger.gallery
    counts = app_state_of(request).stats.counts(filters)
    cards = [card_json(card) for card in gallery.cards(filters, offset=offset, limit=limit)]
    total = counts[filters.state or "all"]
    return PlainJSON({"total": total, "counts": counts, "pictures": cards})


@router.get(
    "/api/pictures/{key}",
    responses={
        200: {"model": schemas.Picture, "description": "The item with all its attempts."},
        **schemas.problems(400, 404, 500, 503),
    },
    summary="One item with all its attempts.",
)
def picture(
    request: Request,
    key: Annotated[str, Path(min_length=1, max_length=200, pattern=schemas.KEY_PATTERN)],
) -> Response:
    """Attempts come newest first."""
    gallery = app_state_of(request).pipeline.ledger.gallery
    card = gallery.card(key)
    if card is None:
        return failure(404, f"No item has the key {key}.")
    attempts = [attempt_json(attempt) for attempt in gallery.history(key)]
    return PlainJSON({"card": card_json(card), "attempts": attempts})


@router.get(
    "/api/keys",
    responses={
        200: {"model": schemas.Keys, "description": "All matching keys."},
        **schemas.problems(400, 500, 503),
    },
    summary="The keys of all matching items.",
)
def keys(request: Request, filters: Filters) -> Response:
    """In the gallery's order, with the attempt of each current image."""
    matching = app_state_of(request).pipeline.ledger.gallery.marked(filters)
    return PlainJSON({"pictures": [{"key": key, "attempt": attempt} for key, attempt in matching]})


class ReviewBody(BaseModel):
    """A verdict on images; `none` removes it."""

    model_config = _STRICT

    attempts: Annotated[list[Id], Field(min_length=1, max_length=100_000)]
    verdict: Literal["approved", "rejected", "none"]


@router.post(
    "/api/reviews",
    responses={
        200: {"model": schemas.Changed, "description": "All of them have the verdict."},
        **schemas.problems(400, 408, 409, 413, 415, 500, 503),
    },
    summary="Approve or reject images.",
)
def reviews(request: Request, body: ReviewBody) -> Response:
    """The verdict is on these images only: a later image of an item has none. All or nothing."""
    ledger = app_state_of(request).pipeline.ledger
    return PlainJSON({"changed": ledger.reviews.decide(body.attempts, Verdict(body.verdict))})


class ChoiceBody(BaseModel):
    """The attempt whose image becomes the current one."""

    model_config = _STRICT

    attempt: Id


@router.post(
    "/api/choices",
    responses={
        200: {"model": schemas.AttemptSchema, "description": "It is the current image."},
        **schemas.problems(400, 408, 409, 413, 415, 500, 503),
    },
    summary="Make an older image the current one.",
)
def choices(request: Request, body: ChoiceBody) -> Response:
    """A base image is published at its fixed path too. The change is reported to Dagster."""
    state = app_state_of(request)
    attempt = make_current(state.pipeline, body.attempt)
    outcome = state.pipeline.current_outcome(attempt.item_key)
    if outcome is not None:
        state.report_queue.add(outcome)
    return PlainJSON(attempt_json(attempt))


class DecisionBody(BaseModel):
    """A decision on a held item, or on one that was given up."""

    model_config = _STRICT

    key: Key
    decision: Literal["resubmit", "give-up", "allow-retry"]


@router.post(
    "/api/decisions",
    responses={
        200: {"model": schemas.Changed, "description": "The number of attempts changed."},
        **schemas.problems(400, 408, 409, 413, 415, 500, 503),
    },
    summary="Decide on a held item.",
)
def decisions(request: Request, body: DecisionBody) -> Response:
    """Sends nothing: after `resubmit` or `allow-retry` the next generation may send it."""
    decision = Decision[body.decision.replace("-", "_").upper()]
    changed = app_state_of(request).pipeline.resolve(body.key, decision)
    return PlainJSON({"changed": changed})


class DownloadBody(BaseModel):
    """The attempts whose images are downloaded."""

    model_config = _STRICT

    attempts: Annotated[list[Id], Field(min_length=1, max_length=MAX_PICTURES)]


@router.post(
    "/api/downloads",
    responses={
        200: {"model": schemas.Download, "description": "The address of the ZIP file."},
        **schemas.problems(400, 404, 408, 413, 415, 500, 503),
    },
    summary="Prepare a ZIP file of images.",
)
def downloads(request: Request, body: DownloadBody) -> Response:
    """`prompts.csv` in it lists the images, missing ones too. It is written while it is read."""
    state = app_state_of(request)
    attempts: list[Attempt] = []
    for start in range(0, len(body.attempts), 500):
        attempts += state.pipeline.ledger.attempts.get(body.attempts[start : start + 500])
    stored = {one.id: one for one in attempts if one.state is State.STORED}
    if not stored:
        return failure(404, "None of these attempts has an image. Reload the page.")
    entries = entries_of([(one, picture_file(state.pipeline, one)) for one in stored.values()])
    missing = sum(entry.file is None for entry in entries)
    download_id = state.downloads.add(entries)
    return PlainJSON(
        {
            "href": f"/downloads/{download_id}.zip",
            "pictures": len(entries) - missing,
            "missing": missing,
            "bytes": len(pack(entries)),
        }
    )


@router.get(
    "/api/totals",
    responses={
        200: {"model": schemas.StatsSchema, "description": "Counts in total and of today (UTC)."},
        **schemas.problems(400, 500, 503),
    },
    summary="Images made and money spent.",
)
def totals(request: Request) -> Response:
    """Amounts are in the price table's currency."""
    return PlainJSON(asdict(app_state_of(request).stats.totals()))


@router.get(
    "/api/problems",
    responses={
        200: {"model": schemas.Problems, "description": "The problems."},
        **schemas.problems(400, 500, 503),
    },
    summary="Problems of the sources.",
)
def source_problems(request: Request) -> Response:
    """What the last scan could not read."""
    problems = problems_in_use(app_state_of(request).pipeline)
    return PlainJSON(
        {
            "problems": [
                {"location": one.location, "message": one.message, "remedy": one.remedy}
                for one in problems
            ]
        }
    )


@router.get(
    "/healthz",
    responses={
        200: {"model": schemas.Health, "description": "The server is running."},
        **schemas.problems(400),
    },
    summary="Whether the server is running.",
)
def health() -> Response:
    """Needs no token and returns nothing else."""
    return PlainJSON({"status": "ok"})


def card_json(card: Card) -> dict[str, Any]:
    """A card with its links, without its file's path."""
    fields = asdict(card)
    for hidden in ("path", "digest"):
        fields.pop(hidden)
    return {
        **fields,
        "state": str(card.state),
        **_links(card.attempt),
        "page": f"/picture/{card.key}",
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt with its links."""
    names = [n for n in schemas.AttemptSchema.model_fields if n not in ("picture", "thumbnail")]
    fields = {name: getattr(attempt, name) for name in names}
    fields["state"] = str(attempt.state)
    fields["warnings"] = list(attempt.warnings)
    return {**fields, **_links(attempt.id if attempt.state is State.STORED else None)}


def _links(attempt_id: int | None) -> dict[str, str | None]:
    if attempt_id is None:
        return {"picture": None, "thumbnail": None}
    return {
        "picture": f"/pictures/{attempt_id}",
        "thumbnail": f"/thumbnails/{attempt_id}.webp",
    }
