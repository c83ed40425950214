"""HTML routes of the gallery: whole pages, and fragments that its script requests."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from imagegen_pipeline.app.regenerate import base_request
from imagegen_pipeline.app.source_problems import problems_in_use
from imagegen_pipeline.domain.errors import ImagegenError
from imagegen_pipeline.ledger.gallery_queries import Filter, PictureState
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web.app_state import app_state_of
from imagegen_pipeline.web.gallery import view
from imagegen_pipeline.web.options import ServeOptions

PAGE_SIZE = 60
"""Divisible by every number of columns in the style sheet."""
_MAX_CHANGES = 200
_NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("imagegen_pipeline.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "money": view.money,
        "when": view.when,
        "day": view.day,
        "iso": view.moment_iso,
        "seconds": view.seconds,
        "excerpt": view.excerpt,
        "with_code": view.with_code,
    }
    environment.globals |= {
        "query_of": view.query_of,
        "states": tuple(PictureState),
        "source_names": view.SOURCE_NAMES,
    }
    return environment


_templates = _environment()


def render(template: str, *, status_code: int = 200, **context: object) -> HTMLResponse:
    """A response with the rendered template."""
    html = _templates.get_template(template).render(context)
    return HTMLResponse(html, status_code=status_code, headers=_NO_STORE)


def error_page(error: ImagegenError, *, status_code: int = 503) -> HTMLResponse:
    """A page with the error and its remedy."""
    return render(
        "error.html",
        status_code=status_code,
        error=str(error),
        remedy=error.remedy,
        can_retry=status_code == 503,
    )


def _pipeline(request: Request) -> Pipeline:
    return app_state_of(request).pipeline


def _options(request: Request) -> ServeOptions:
    return app_state_of(request).options


def _number(request: Request, name: str, default: int = 0, *, maximum: int = 10**9) -> int:
    """A non-negative integer of the query; ``default`` if it is malformed."""
    text = request.query_params.get(name, "")
    return (
        min(int(text), maximum) if text.isascii() and text.isdigit() and len(text) < 19 else default
    )


def _layout(request: Request) -> dict[str, Any]:
    """The variables of the base layout."""
    return {
        "dagster_url": _options(request).dagster_url,
        "simulator": _pipeline(request).settings.simulator,
        "has_token": _options(request).token is not None,
    }


def _summary(request: Request, filters: Filter) -> dict[str, Any]:
    """The variables of the summary."""
    stats = app_state_of(request).stats
    return {
        "filters": filters,
        "counts": stats.counts(filters),
        "totals": view.TotalsView(stats.totals(), _pipeline(request).settings.budget_day),
    }


@router.get("/")
def index(request: Request) -> HTMLResponse:
    """The gallery: summary, filters, and the first cards (or those of ``page``)."""
    try:
        return _index(request)
    except ImagegenError as error:
        return error_page(error)


def _index(request: Request) -> HTMLResponse:
    pipeline, filters = _pipeline(request), view.filter_of(request.query_params)
    gallery, page = pipeline.ledger.gallery, max(1, _number(request, "page", 1))
    change_seq = gallery.last_change_seq()
    summary = _summary(request, filters)
    total = summary["counts"][filters.state or "all"]
    pages = max(1, -(-total // PAGE_SIZE))
    page = min(page, pages)
    first = (page - 1) * PAGE_SIZE
    return render(
        "gallery.html",
        cards=view.card_views(
            gallery.cards(filters, offset=first, limit=PAGE_SIZE), first=first + 1
        ),
        page=page,
        pages=pages,
        total=total,
        change_seq=change_seq,
        is_empty=total == 0 and filters == Filter(),
        problems=problems_in_use(pipeline),
        choices=app_state_of(request).stats.choices(),
        **summary,
        **_layout(request),
    )


@router.get("/summary")
def summary(request: Request) -> HTMLResponse:
    """The summary and the number of items in each state."""
    try:
        filters = view.filter_of(request.query_params)
        return render("summary.html", **_summary(request, filters))
    except ImagegenError as error:
        return error_page(error)


@router.get("/cards")
def cards(request: Request) -> HTMLResponse:
    """Matching cards from ``offset`` on; with offset 0, their total in ``X-Total``."""
    try:
        gallery, filters = _pipeline(request).ledger.gallery, view.filter_of(request.query_params)
        offset = _number(request, "offset")
        limit = _number(request, "limit", PAGE_SIZE, maximum=200)
        change_seq = gallery.last_change_seq()
        found = gallery.cards(filters, offset=offset, limit=limit)
        cards = view.card_views(found, first=offset + 1)
        response = render("cards.html", cards=cards, filters=filters)
        if offset == 0:
            response.headers["X-Total"] = str(
                app_state_of(request).stats.counts(filters)[filters.state or "all"]
            )
    except ImagegenError as error:
        return error_page(error)
    response.headers["X-Change-Seq"] = str(change_seq)
    return response


@router.get("/cards/changed")
def changed_cards(request: Request) -> HTMLResponse:
    """The cards that have changed since ``after``, matching or not.

    ``X-More: 1``: there are more than these, so the page should reload.
    """
    try:
        gallery, filters = _pipeline(request).ledger.gallery, view.filter_of(request.query_params)
        now, after = gallery.last_change_seq(), _number(request, "after")
        found = gallery.changed(after=after, limit=_MAX_CHANGES + 1)
        matching = gallery.matching([card.key for card in found], filters)
    except ImagegenError as error:
        return error_page(error)
    shown = found[:_MAX_CHANGES]
    response = render(
        "cards.html", cards=view.card_views(shown, matching=matching), filters=filters
    )
    response.headers["X-Change-Seq"] = str(max([now, *(card.change_seq for card in found)]))
    response.headers["X-More"] = str(int(len(found) > _MAX_CHANGES))
    return response


@router.get("/picture/{key}")
def picture(request: Request, key: str) -> HTMLResponse:
    """One item with its image: a whole page, or with ``fragment`` the dialog's content."""
    try:
        return _picture(request, key)
    except ImagegenError as error:
        return error_page(error)


def _picture(request: Request, key: str) -> HTMLResponse:
    pipeline, filters = _pipeline(request), view.filter_of(request.query_params)
    gallery, change_seq = pipeline.ledger.gallery, pipeline.ledger.gallery.last_change_seq()
    card = gallery.card(key)
    if card is None:
        unknown = ImagegenError(
            f"No item has the key {view.excerpt(key, 80)}.",
            remedy="It may be in another ledger; the gallery shows the items of this one.",
        )
        return error_page(unknown, status_code=404)
    dagster_url = _options(request).dagster_url
    history = tuple(view.AttemptView(attempt, dagster_url) for attempt in gallery.history(key))
    base = base_request(pipeline, key)
    picture = view.PictureView(
        view.CardView(card), history, dagster_url, {} if base is None else base.as_dict()
    )
    context: dict[str, Any] = {"picture": picture, "filters": filters, "change_seq": change_seq}
    if request.query_params.get("fragment"):
        return render("picture.html", **context)
    before, after = _neighbours(pipeline, filters, key)
    layout = _layout(request)
    return render("picture_page.html", before=before, after=after, **context, **layout)


def _neighbours(pipeline: Pipeline, filters: Filter, key: str) -> tuple[str | None, str | None]:
    """The keys before and after ``key`` among the matching items."""
    keys = [matching for matching, _ in pipeline.ledger.gallery.marked(filters)]
    if key not in keys:
        return None, None
    index = keys.index(key)
    before = keys[index - 1] if index else None
    return before, (keys[index + 1] if index + 1 < len(keys) else None)
