"""A real browser on the real server; every page is watched for what no page may do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from imagegen_pipeline_tests.integration.web.conftest import (
    Serve,
    Served,
    serve,
    serve_slow,
    slow,
)
from imagegen_pipeline_tests.integration.web.seeding import seed

__all__ = ["serve", "serve_slow", "slow"]  # fixtures
CHROMIUM = "/usr/bin/chromium"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
expect.set_options(timeout=20_000)  # milliseconds: a machine may be busy with other tests
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for all of these tests."""
    if not Path(CHROMIUM).exists():
        reason = f"there is no {CHROMIUM}: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Watched:
    """What a page did: all its requests, and everything that went wrong in it."""

    own: str
    requests: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        """Watch this page."""
        page.add_init_script(_WATCH)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("console", self._console)
        self.pages.append(page)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")

    def check(self) -> None:
        """Fail for a foreign request, a script's error or what the policy had to stop."""
        schemes = ("data", "blob", "about")
        foreign = [
            url
            for url in self.requests
            if urlsplit(url).scheme not in schemes and not url.startswith(self.own)
        ]
        assert not foreign, foreign
        for page in self.pages:
            if not page.is_closed():
                assert page.evaluate("window.violations ?? []") == []
        wrong = [one for one in self.wrong if not any(part in one for part in self.expected)]
        assert not wrong, wrong


@dataclass
class Visit:
    """A server with pictures, and a browser that looks at it."""

    served: Served
    context: BrowserContext
    watched: Watched
    keys: list[str]

    def open(self, path: str = "/") -> Page:
        """A page of the gallery, its script at work."""
        page = self.context.new_page()
        self.watched.follow(page)
        page.goto(self.served.url + path)
        if page.locator("body[data-page]").count():
            expect(page.locator("body")).to_have_attribute("data-ready", "yes")
        return page

    def expect_trouble(self, part: str) -> None:
        """This message of the console is meant to come."""
        self.watched.expected.append(part)


Visiting = Callable[..., Visit]


PRICES = '{"duomi": {"*": 0.0025}, "runpod": {"per_second": 0.0004}}'


@pytest.fixture
def visiting(browser: Browser, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visiting]:
    """Starts visits: ``visiting(pictures, server=…, **context)``. Prices are known."""
    monkeypatch.setenv("IMAGEGEN_PRICES", PRICES)
    monkeypatch.setenv("IMAGEGEN_BUDGET_DAY", "5")
    visits: list[Visit] = []

    def start(pictures: int = 12, server: Served | None = None, **context: Any) -> Visit:
        served = server or serve()
        keys = seed(served.pipeline, pictures, small=True) if pictures else []
        made = browser.new_context(
            **{"viewport": DESKTOP, "reduced_motion": "reduce", "accept_downloads": True, **context}
        )
        made.set_default_timeout(30_000)
        visit = Visit(served, made, Watched(served.url), keys)
        visits.append(visit)
        return visit

    yield start
    try:
        for visit in visits:
            visit.watched.check()
    finally:
        for visit in visits:
            visit.context.close()


@pytest.fixture
def visit(visiting: Visiting) -> Visit:
    """A dozen pictures in every state, on a desk."""
    return visiting()


def card(page: Page, key: str) -> Any:
    """The card of an item."""
    return page.locator(f'.card[data-key="{key}"]')


def keys_of(page: Page) -> list[str]:
    """The keys of the cards on the page, in order."""
    return page.locator(".card").evaluate_all("all => all.map(one => one.dataset.key)")


def first_of(page: Page, state: str) -> str:
    """The key of the first card in a state."""
    key = page.locator(f'.card[data-state="{state}"]').first.get_attribute("data-key")
    assert key is not None
    return key
