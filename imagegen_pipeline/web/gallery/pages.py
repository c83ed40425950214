"""The gallery's pages, and the pieces of them that its script asks for."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from imagegen_pipeline.app.regenerate import basis
from imagegen_pipeline.app.source_problems import problems_in_use
from imagegen_pipeline.domain.errors import ImagegenError
from imagegen_pipeline.ledger.gallery_queries import Filter, PictureState
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web.app_state import app_state_of
from imagegen_pipeline.web.gallery import view
from imagegen_pipeline.web.options import ServeOptions

PAGE = 60
"""Cards at a time: every number of columns that the style sheet has divides it."""
_MOST_CHANGES = 200
_NEVER_KEPT = {"Cache-Control": "no-store"}

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
        "coded": view.coded,
    }
    environment.globals |= {
        "query_of": view.query_of,
        "states": tuple(PictureState),
        "source_names": view.SOURCE_NAMES,
    }
    return environment


_templates = _environment()


def render(template: str, *, status_code: int = 200, **context: object) -> HTMLResponse:
    """A template as an answer."""
    html = _templates.get_template(template).render(context)
    return HTMLResponse(html, status_code=status_code, headers=_NEVER_KEPT)


def trouble(error: ImagegenError, *, status_code: int = 503) -> HTMLResponse:
    """The page that says what is wrong and what to do about it."""
    return render(
        "error.html",
        status_code=status_code,
        error=str(error),
        remedy=error.remedy,
        again=status_code == 503,
    )


def _pipeline(request: Request) -> Pipeline:
    return app_state_of(request).pipeline


def _options(request: Request) -> ServeOptions:
    return app_state_of(request).options


def _number(request: Request, name: str, default: int = 0, *, most: int = 10**9) -> int:
    """A number of the address; what is none counts as the default."""
    text = request.query_params.get(name, "")
    return min(int(text), most) if text.isascii() and text.isdigit() and len(text) < 19 else default


def _frame(request: Request) -> dict[str, Any]:
    """What every page's frame shows."""
    return {
        "dagster_url": _options(request).dagster_url,
        "simulator": _pipeline(request).settings.simulator,
        "has_token": _options(request).token is not None,
    }


def _summary(request: Request, wanted: Filter) -> dict[str, Any]:
    """The figures over the pictures."""
    sums = app_state_of(request).sums
    return {
        "wanted": wanted,
        "counts": sums.counts(wanted),
        "totals": view.TotalsView(sums.totals(), _pipeline(request).settings.budget_day),
    }


@router.get("/")
def index(request: Request) -> HTMLResponse:
    """The gallery: the figures, the filters, and the first cards (or those of ``page``)."""
    try:
        return _index(request)
    except ImagegenError as error:
        return trouble(error)


def _index(request: Request) -> HTMLResponse:
    pipeline, wanted = _pipeline(request), view.filter_of(request.query_params)
    book, page = pipeline.ledger.gallery, max(1, _number(request, "page", 1))
    change_seq = book.last_change_seq()
    summary = _summary(request, wanted)
    total = summary["counts"][wanted.state or "all"]
    pages = max(1, -(-total // PAGE))
    page = min(page, pages)
    first = (page - 1) * PAGE
    return render(
        "gallery.html",
        cards=view.card_views(book.cards(wanted, offset=first, limit=PAGE), first=first + 1),
        page=page,
        pages=pages,
        total=total,
        change_seq=change_seq,
        is_empty=total == 0 and wanted == Filter(),
        problems=problems_in_use(pipeline),
        choices=app_state_of(request).sums.choices(),
        **summary,
        **_frame(request),
    )


@router.get("/summary")
def summary(request: Request) -> HTMLResponse:
    """The figures and the states' counts, as they are now."""
    try:
        wanted = view.filter_of(request.query_params)
        return render("summary.html", **_summary(request, wanted))
    except ImagegenError as error:
        return trouble(error)


@router.get("/cards")
def cards(request: Request) -> HTMLResponse:
    """Some cards of those that match, from ``offset`` on; with the first their number."""
    try:
        book, wanted = _pipeline(request).ledger.gallery, view.filter_of(request.query_params)
        offset = _number(request, "offset")
        limit = _number(request, "limit", PAGE, most=200)
        change_seq = book.last_change_seq()
        found = view.card_views(book.cards(wanted, offset=offset, limit=limit), first=offset + 1)
        answer = render("cards.html", cards=found, wanted=wanted)
        if offset == 0:
            answer.headers["X-Total"] = str(
                app_state_of(request).sums.counts(wanted)[wanted.state or "all"]
            )
    except ImagegenError as error:
        return trouble(error)
    answer.headers["X-Change-Seq"] = str(change_seq)
    return answer


@router.get("/cards/changed")
def changed_cards(request: Request) -> HTMLResponse:
    """The cards that something has happened to since ``after``, matching or not.

    ``X-More: 1`` says that there are more than these: the page had better begin anew.
    """
    try:
        book, wanted = _pipeline(request).ledger.gallery, view.filter_of(request.query_params)
        now, after = book.last_change_seq(), _number(request, "after")
        found = book.changed(after=after, limit=_MOST_CHANGES + 1)
        matching = book.matching([card.key for card in found], wanted)
    except ImagegenError as error:
        return trouble(error)
    shown = found[:_MOST_CHANGES]
    answer = render("cards.html", cards=view.card_views(shown, matching=matching), wanted=wanted)
    answer.headers["X-Change-Seq"] = str(max([now, *(card.change_seq for card in found)]))
    answer.headers["X-More"] = str(int(len(found) > _MOST_CHANGES))
    return answer


@router.get("/picture/{key}")
def picture(request: Request, key: str) -> HTMLResponse:
    """One picture opened large: a whole page, or with ``fragment`` what its dialog shows."""
    try:
        return _picture(request, key)
    except ImagegenError as error:
        return trouble(error)


def _picture(request: Request, key: str) -> HTMLResponse:
    pipeline, wanted = _pipeline(request), view.filter_of(request.query_params)
    book, change_seq = pipeline.ledger.gallery, pipeline.ledger.gallery.last_change_seq()
    card = book.card(key)
    if card is None:
        gone = ImagegenError(
            f"There is no picture called {view.excerpt(key, 80)}.",
            remedy="It may stand in another ledger. The gallery shows all there are in this one.",
        )
        return trouble(gone, status_code=404)
    dagster_url = _options(request).dagster_url
    history = tuple(view.AttemptView(attempt, dagster_url) for attempt in book.history(key))
    begin = basis(pipeline, key)
    asked = {} if begin is None else begin.as_dict()
    shown = view.PictureView(view.CardView(card), history, dagster_url, asked)
    context: dict[str, Any] = {"picture": shown, "wanted": wanted, "change_seq": change_seq}
    if request.query_params.get("fragment"):
        return render("picture.html", **context)
    before, after = _neighbours(pipeline, wanted, key)
    frame = _frame(request)
    return render("picture_page.html", before=before, after=after, **context, **frame)


def _neighbours(pipeline: Pipeline, wanted: Filter, key: str) -> tuple[str | None, str | None]:
    """The keys before and after one among those that match."""
    keys = [one for one, _ in pipeline.ledger.gallery.marked(wanted)]
    if key not in keys:
        return None, None
    at = keys.index(key)
    return (keys[at - 1] if at else None), (keys[at + 1] if at + 1 < len(keys) else None)
