"""What the gallery's script asks for: cards, verdicts, choices, downloads, figures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from imagegen_pipeline.app.regenerate import choose
from imagegen_pipeline.app.source_problems import problems_in_use
from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.ledger import Decision
from imagegen_pipeline.ledger.gallery_queries import Card, Filter
from imagegen_pipeline.ledger.reviews import Verdict
from imagegen_pipeline.web.api import schemas
from imagegen_pipeline.web.api.job_routes import LARGEST, Key
from imagegen_pipeline.web.api.responses import PlainJSON, failure
from imagegen_pipeline.web.app_state import app_state_of
from imagegen_pipeline.web.gallery.picture_files import picture_file
from imagegen_pipeline.web.gallery.zip_downloads import MOST_PICTURES, entries_of, pack

router = APIRouter(tags=["gallery"])
Word = Annotated[str, Query(max_length=200)]
Id = Annotated[int, Field(ge=1, le=LARGEST)]
_STRICT = ConfigDict(strict=True, extra="forbid")


def _filter(
    state: Annotated[
        Literal["", "waiting", "running", "done", "failed", "held", "approved", "rejected"],
        Query(),
    ] = "",
    source: Annotated[Word, Query(description="database, json, single_prompt or actor.")] = "",
    actor: Annotated[Word, Query(description="An actor's name.")] = "",
    model: Word = "",
    text: Annotated[Word, Query(description="Words in the prompt or the key.")] = "",
) -> Filter:
    return Filter(state or None, source or None, actor or None, model or None, text)


Wanted = Annotated[Filter, Depends(_filter)]


@router.get(
    "/api/pictures",
    responses={
        200: {"model": schemas.Pictures, "description": "Cards that match, newest first."},
        **schemas.problems(400, 500, 503),
    },
    summary="Some of the gallery's cards.",
)
def pictures(
    request: Request,
    wanted: Wanted,
    offset: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
) -> Response:
    """Items with their current pictures, those tried last first."""
    book = app_state_of(request).pipeline.ledger.gallery
    counts = app_state_of(request).sums.counts(wanted)
    found = book.cards(wanted, offset=offset, limit=limit)
    total = counts[wanted.state or "all"]
    shown = [card_json(card) for card in found]
    return PlainJSON({"total": total, "counts": counts, "pictures": shown})


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
    book = app_state_of(request).pipeline.ledger.gallery
    card = book.card(key)
    if card is None:
        return failure(404, f"There is no picture called {key}. The gallery shows all there are.")
    tries = [attempt_json(attempt) for attempt in book.history(key)]
    return PlainJSON({"card": card_json(card), "attempts": tries})


@router.get(
    "/api/marked",
    responses={
        200: {"model": schemas.Marked, "description": "Everything that matches."},
        **schemas.problems(400, 500, 503),
    },
    summary="The keys of all that match.",
)
def marked(request: Request, wanted: Wanted) -> Response:
    """In the gallery's order, with each current picture's attempt."""
    found = app_state_of(request).pipeline.ledger.gallery.marked(wanted)
    return PlainJSON({"pictures": [{"key": key, "attempt": attempt} for key, attempt in found]})


class ReviewBody(BaseModel):
    """What is said of pictures; `none` takes it back."""

    model_config = _STRICT

    attempts: Annotated[list[Id], Field(min_length=1, max_length=100_000)]
    verdict: Literal["approved", "rejected", "none"]


@router.post(
    "/api/reviews",
    responses={
        200: {"model": schemas.Changed, "description": "All of them have it."},
        **schemas.problems(400, 408, 409, 413, 415, 500, 503),
    },
    summary="Approve or reject pictures.",
)
def reviews(request: Request, asked: ReviewBody) -> Response:
    """Of these very pictures: a new one of the same item has no verdict. All or none."""
    book = app_state_of(request).pipeline.ledger.reviews
    return PlainJSON({"changed": book.decide(asked.attempts, Verdict(asked.verdict))})


class ChoiceBody(BaseModel):
    """Which picture of an item's history is to be the current one."""

    model_config = _STRICT

    attempt: Id


@router.post(
    "/api/choices",
    responses={
        200: {"model": schemas.Try, "description": "It is the current one."},
        **schemas.problems(400, 408, 409, 413, 415, 500, 503),
    },
    summary="Make an older picture the current one.",
)
def choices(request: Request, asked: ChoiceBody) -> Response:
    """A base image is then at its fixed path again too. Dagster hears of it."""
    studio = app_state_of(request)
    attempt = choose(studio.pipeline, asked.attempt)
    outcome = studio.pipeline.current_outcome(attempt.item_key)
    if outcome is not None:
        studio.news.add(outcome)
    return PlainJSON(attempt_json(attempt))


class DecisionBody(BaseModel):
    """What is decided of an item that nothing more is sent for."""

    model_config = _STRICT

    key: Key
    decision: Literal["resubmit", "give-up", "lift"]


@router.post(
    "/api/decisions",
    responses={
        200: {"model": schemas.Changed, "description": "How many attempts it was."},
        **schemas.problems(400, 408, 409, 413, 415, 500, 503),
    },
    summary="Decide on an item that is held.",
)
def decisions(request: Request, asked: DecisionBody) -> Response:
    """Nothing is sent: `resubmit` and `lift` let the next generation make it."""
    changed = app_state_of(request).pipeline.resolve(asked.key, Decision(asked.decision))
    return PlainJSON({"changed": changed})


class DownloadBody(BaseModel):
    """Which pictures are wanted as one file."""

    model_config = _STRICT

    attempts: Annotated[list[Id], Field(min_length=1, max_length=MOST_PICTURES)]


@router.post(
    "/api/downloads",
    responses={
        200: {"model": schemas.Download, "description": "Where the ZIP can be fetched."},
        **schemas.problems(400, 404, 408, 413, 415, 500, 503),
    },
    summary="Pack pictures into a ZIP.",
)
def downloads(request: Request, asked: DownloadBody) -> Response:
    """With `prompts.csv`, which names what is missing too. It is written while it is read."""
    studio = app_state_of(request)
    found = []
    for start in range(0, len(asked.attempts), 500):
        ids = asked.attempts[start : start + 500]
        found += studio.pipeline.ledger.attempts.get(ids)
    stored = {one.id: one for one in found if one.state is State.STORED}
    if not stored:
        return failure(404, "None of these attempts has a picture. Load the page anew.")
    entries = entries_of([(one, picture_file(studio.pipeline, one)) for one in stored.values()])
    missing = sum(entry.file is None for entry in entries)
    download_id = studio.downloads.add(entries)
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
        200: {"model": schemas.StatsSchema, "description": "Figures in all, and of today (UTC)."},
        **schemas.problems(400, 500, 503),
    },
    summary="What was made and spent.",
)
def totals(request: Request) -> Response:
    """Money in the price table's currency."""
    return PlainJSON(asdict(app_state_of(request).sums.totals()))


@router.get(
    "/api/problems",
    responses={
        200: {"model": schemas.Problems, "description": "What cannot be read."},
        **schemas.problems(400, 500, 503),
    },
    summary="What in the sources cannot be read.",
)
def source_problems(request: Request) -> Response:
    """As the last look at the sources found it."""
    found = problems_in_use(app_state_of(request).pipeline)
    return PlainJSON(
        {
            "problems": [
                {"location": one.location, "message": one.message, "remedy": one.remedy}
                for one in found
            ]
        }
    )


@router.get(
    "/healthz",
    responses={
        200: {"model": schemas.Health, "description": "It answers."},
        **schemas.problems(400),
    },
    summary="Whether the server answers.",
)
def health() -> Response:
    """Needs no token, and says nothing else."""
    return PlainJSON({"status": "ok"})


def card_json(card: Card) -> dict[str, Any]:
    """A card, with its links and without where its file lies."""
    facts = asdict(card)
    for hidden in ("path", "digest"):
        facts.pop(hidden)
    return {
        **facts,
        "state": str(card.state),
        **_links(card.attempt),
        "page": f"/picture/{card.key}",
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt, with its links."""
    names = [name for name in schemas.Try.model_fields if name not in ("picture", "thumbnail")]
    facts = {name: getattr(attempt, name) for name in names}
    facts["state"] = str(attempt.state)
    facts["warnings"] = list(attempt.warnings)
    return {**facts, **_links(attempt.id if attempt.state is State.STORED else None)}


def _links(attempt_id: int | None) -> dict[str, str | None]:
    if attempt_id is None:
        return {"picture": None, "thumbnail": None}
    return {
        "picture": f"/pictures/{attempt_id}",
        "thumbnail": f"/thumbnails/{attempt_id}.webp",
    }
