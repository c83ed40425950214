"""Pictures of the gallery for the documents.

``python -m imagegen_pipeline_tests.e2e.browser.screenshots`` writes ``docs/images/gallery*.png``:
a scratch project is filled, served and looked at; nothing is sent to any service.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from imagegen_pipeline.ledger import Filter
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web.options import ServeOptions
from imagegen_pipeline.web.server import running
from imagegen_pipeline_tests.conftest import OURS, ROOT, make_project
from imagegen_pipeline_tests.e2e.browser.conftest import CHROMIUM, PHONE, PRICES
from imagegen_pipeline_tests.integration.web.seeding import seed

FOLDER = ROOT / "docs" / "images"
DESKTOP = {"width": 1180, "height": 780}
LARGEST = 400_000
NOWHERE = "http://127.0.0.1:9"
"""Nobody listens there: what the seeded jobs would be asked for goes nowhere."""


def main() -> int:
    """Write all of them; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        _settle(Path(folder) / "state")
        pipeline = Pipeline()
        seed(pipeline, 120)
        options = ServeOptions.of(pipeline.settings, port=0, collect_seconds=3600.0)
        with running(pipeline, options) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            _take_all(browser, server.url, pipeline)
            browser.close()
        pipeline.close()
        os.chdir(ROOT)
    return 0


def _settle(root: Path) -> None:
    """A scratch project with prices and a budget as the current one."""
    for name in list(os.environ):
        if name.startswith(OURS):
            del os.environ[name]
    os.environ |= {
        "DUOMI_API_KEY": "none",
        "DUOMI_BASE_URL": NOWHERE,
        "RUNPOD_API_KEY": "none",
        "RUNPOD_BASE_URL": NOWHERE,
        "RUNPOD_SERVER_100_ID": "none",
        "IMAGEGEN_PRICES": PRICES,
        "IMAGEGEN_BUDGET_DAY": "5",
    }
    root.mkdir()
    make_project(root, {})
    os.chdir(root)


def _take_all(browser: Browser, url: str, pipeline: Pipeline) -> None:
    card_store = pipeline.ledger.gallery
    many = next(
        one.key
        for one in card_store.cards(Filter(state="approved"), limit=100)
        if one.text.isascii() and len(card_store.history(one.key)) > 1 and one.kind == "prompt"
    )
    phone = {"viewport": PHONE, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
    take = _Taker(browser, url)
    take("gallery", "/")
    take("gallery-dark", "/", color_scheme="dark")
    take("gallery-picture", f"/picture/{many}", _compare)
    take("gallery-regenerate", f"/picture/{many}", _ask)
    take("gallery-phone", "/", **phone)


class _Taker:
    """Takes one screenshot at a time."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser, self._url = browser, url

    def __call__(
        self, name: str, path: str, act: Callable[[Page], None] | None = None, **context: Any
    ) -> None:
        made = self._browser.new_context(
            **{"viewport": DESKTOP, "reduced_motion": "reduce", **context}
        )
        page = made.new_page()
        page.goto(self._url + path)
        expect(page.locator("body")).to_have_attribute("data-ready", "yes")
        if act:
            act(page)
        page.wait_for_load_state("load")
        page.wait_for_timeout(1500)  # the small pictures are made when first asked for
        _write(FOLDER / f"{name}.png", page.screenshot())
        made.close()


def _compare(page: Page) -> None:
    page.keyboard.press("c")
    expect(page.locator(".older-image")).to_be_visible()


def _ask(page: Page) -> None:
    page.keyboard.press("r")
    expect(page.locator("#regenerate-cost")).to_contain_text("will be generated")


def _write(file: Path, png: bytes) -> None:
    """As few colours as it takes to stay small."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(io.BytesIO(png)) as image:
        whole = image.convert("RGB")
    for colours in (None, 256, 128):
        shown = whole
        if colours is not None:
            palette = whole.quantize(colours)
            shown = whole.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        out = io.BytesIO()
        shown.save(out, "PNG", optimize=True)
        if out.tell() < LARGEST:
            break
    file.write_bytes(out.getvalue())


if __name__ == "__main__":
    sys.exit(main())
