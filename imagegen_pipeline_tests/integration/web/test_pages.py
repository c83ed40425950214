"""The gallery's pages and pieces as the server sends them."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.ledger import Filter, Verdict
from imagegen_pipeline_tests.integration.web.conftest import Served
from imagegen_pipeline_tests.integration.web.seeding import seed
from imagegen_pipeline_tests.integration.web.test_job_routes import ended, generate, typed

_FORBIDDEN = re.compile(
    r"<script(?![^>]*\bsrc=)|\bstyle=|<style|\son\w+=|javascript:", re.IGNORECASE
)
_KEY = re.compile(r'data-key="([^"]+)"')


@pytest.fixture
def keys(server: Served) -> list[str]:
    """A gallery of seventy items; their keys in its order."""
    return seed(server.pipeline, 70, small=True)


def test_pages_respect_the_content_policy(server: Served, keys: list[str]) -> None:
    """No inline script, style or handler, and no address of another host in any page."""
    paths = ["/", "/?text=nothing", "/login", f"/picture/{keys[2]}", "/picture/none", "/cards"]
    for path in [*paths, "/summary", f"/picture/{keys[0]}?fragment=1"]:
        html = server.get(path).text
        assert not _FORBIDDEN.search(html), path
        for kind, address in re.findall(r'\b(src|href|action)="(\w+:[^"]*)"', html):
            assert kind == "href", address
            assert address.startswith("http://127.0.0.1:3000"), address


def test_cards_are_paged(server: Served, keys: list[str]) -> None:
    """The pages contain all matching cards once, in order."""
    pieces = [server.get(f"/cards?offset={at}&limit=30").text for at in (0, 30, 60)]
    assert _KEY.findall("".join(pieces)) == keys
    first = server.get("/cards?limit=30")
    assert first.headers["x-total"] == "70"
    assert int(first.headers["x-change-seq"]) == server.pipeline.ledger.gallery.last_change_seq()
    assert _KEY.findall(server.get("/cards?offset=9999").text) == []


def test_changed_cards_are_returned_if_they_match_or_not(server: Served, keys: list[str]) -> None:
    """Only cards that changed since; each says whether it matches the filter."""
    card_store = server.pipeline.ledger.gallery
    before = card_store.last_change_seq()
    assert _KEY.findall(server.get(f"/cards/changed?after={before}").text) == []
    done = [card for key in keys if (card := card_store.card(key)) and str(card.state) == "done"][
        :2
    ]
    server.pipeline.ledger.reviews.decide([done[0].attempt or 0], Verdict.APPROVED)
    answer = server.get(f"/cards/changed?state=done&after={before}")
    assert _KEY.findall(answer.text) == [done[0].key]
    assert 'data-matches="0"' in answer.text
    assert answer.headers["x-more"] == "0"
    assert int(answer.headers["x-change-seq"]) == card_store.last_change_seq() > before


def test_too_many_changes_make_the_page_reload(server: Served) -> None:
    """With more changes than a response holds, the response says so."""
    seed(server.pipeline, 260, small=True)
    card_store = server.pipeline.ledger.gallery
    attempts = [attempt for _, attempt in card_store.marked(Filter()) if attempt is not None]
    before = card_store.last_change_seq()
    assert server.pipeline.ledger.reviews.decide(attempts, Verdict.REJECTED) > 200
    answer = server.get(f"/cards/changed?after={before}")
    assert answer.headers["x-more"] == "1"
    assert len(_KEY.findall(answer.text)) == 200


@pytest.mark.parametrize(
    "query",
    [
        "?page=-1",
        "?page=99999999999999999999",
        "?page=x",
        "?state=%00",
        "?text=%ff%fe&actor=a&actor=b",
    ],
)
def test_an_invalid_query_is_ignored(server: Served, keys: list[str], query: str) -> None:
    """Invalid parameters count as absent."""
    answer = server.get(f"/{query}")
    assert answer.status_code == 200
    assert 'id="results"' in answer.text


def test_an_unknown_key_is_a_404_page(server: Served) -> None:
    """With the reason and a link to the gallery."""
    answer = server.get("/picture/%3Cb%3Enobody")
    assert answer.status_code == 404
    assert "No item has the key &lt;b&gt;nobody." in answer.text
    assert 'href="/"' in answer.text


def test_a_ledger_error_is_a_page(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the error and its remedy, not an empty gallery."""

    def broken() -> int:
        raise LedgerError("The ledger is locked.", remedy="End the other program.")

    monkeypatch.setattr(server.pipeline.ledger.gallery, "last_change_seq", broken)
    for path in ("/", "/cards", "/cards/changed?after=1", "/picture/a"):
        answer = server.get(path)
        assert answer.status_code == 503
        assert "The ledger is locked." in answer.text
        assert "End the other program." in answer.text


def test_source_problems_are_shown(server: Served) -> None:
    """A summary line above the cards, with the details in it."""
    folder = server.project.data / "prompt_json"
    folder.mkdir(parents=True)
    (folder / "broken.json").write_text("{")
    server.pipeline.scan_prompts(database=False)
    html = server.get("/").text
    assert "1 problem in the sources" in html
    assert "broken.json" in html


def test_the_dialogs_initial_values(server: Served) -> None:
    """After its source was edited, the dialog starts with the new text."""
    (key,) = typed(server, 1)
    generate(server, "click-000001", [key])
    ended(server, "click-000001")
    server.project.write_json("p0", "quite another picture")
    server.pipeline.scan_prompts()
    found = re.search(r"data-request='(.*?)'", server.get(f"/picture/{key}").text, re.DOTALL)
    assert found is not None
    asked = json.loads(unescape(found[1]))
    generate(server, "click-000002", [key])
    ended(server, "click-000002")
    newest = server.get(f"/api/pictures/{key}").json()["attempts"][0]
    assert newest["request"]["prompt"] == asked["prompt"] == "quite another picture"
