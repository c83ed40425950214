"""Pictures of Dagster's pages for the documents.

``python -m imagegen_pipeline_tests.e2e.dagster.screenshots [FOLDER]`` writes ``dagster-*.png``
there (by default into ``docs/images``): the sample data is made on the simulator, one prompt is
refused and one edited, and the pages are looked at. Nothing is sent to any service.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from imagegen_pipeline.domain.partition_keys import json_key
from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import OURS, ROOT, Simulator, make_project
from imagegen_pipeline_tests.e2e.browser.conftest import CHROMIUM, PRICES
from imagegen_pipeline_tests.e2e.dagster.dagster_process import dagster_dev
from imagegen_pipeline_tests.e2e.dagster.deployment import BASE_IMAGES, IMAGES, RESULTS, Deployment

FOLDER = ROOT / "docs" / "images"
LARGEST = 200_000
VIEWPORT = {"width": 1400, "height": 860}
WIDE = {"width": 1720, "height": 1160}
SHOWN, EDITED, FAILED, BLANK = "Cable_car", "Clockmaker", "Greenhouse", "Heron"
"""Prefixes of sample file names."""
TYPED = """ops:
  {op}:
  config:
  """
"""The editor keeps the indent of the line before."""


def main(folder: Path) -> int:
    """Write all of them; returns the exit code."""
    expect.set_options(timeout=60_000)
    with (
        tempfile.TemporaryDirectory() as scratch,
        _deployment(Path(scratch) / "deployment") as deployment,
    ):
        keys = _fill(deployment)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            taker = _ScreenshotTaker(browser, deployment.web.url, folder)
            taker.take_failures(keys)
            _recover(deployment)
            taker.take_others(keys)
            browser.close()
        os.chdir(ROOT)
    return 0


@contextlib.contextmanager
def _deployment(root: Path) -> Iterator[Deployment]:
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    with running(SimulatorOptions(latency=0.8)) as url:
        variables = {"IMAGEGEN_SIMULATOR": url, "IMAGEGEN_PRICES": PRICES}
        os.environ |= variables
        root.mkdir()
        project = make_project(root, variables)
        shutil.copytree(ROOT / "data", project.data, dirs_exist_ok=True)
        os.chdir(root)
        with dagster_dev(project) as web:
            yield Deployment(project, Simulator(url), web)


def _fill(deployment: Deployment) -> dict[str, str]:
    """Generate the samples; returns the keys of those that are shown, by name prefix."""
    deployment.sync()
    folder = deployment.project.data / "prompt_json"
    files = {name: next(folder.glob(f"{name}*.json")) for name in (SHOWN, EDITED, FAILED, BLANK)}
    keys = {name: json_key(path.stem) for name, path in files.items()}
    for name, fault in ((FAILED, "job_failed"), (BLANK, "blank")):
        match = json.loads(files[name].read_text())["image_prompt"][:40]
        deployment.simulator.fault(provider="duomi", operation="submit", fault=fault, match=match)
    web = deployment.web
    prompts = web.materialize(IMAGES, RESULTS, "prompts", keys=web.keys(IMAGES))
    web.succeeded(web.materialize(BASE_IMAGES, "actors", keys=web.keys(BASE_IMAGES)), seconds=600)
    assert web.ended(prompts, seconds=600).status == "FAILURE"
    sample = json.loads(files[EDITED].read_text())
    files[EDITED].write_text(json.dumps({**sample, "image_prompt": "A clockmaker asleep."}))
    return keys


def _recover(deployment: Deployment) -> None:
    """Retry the failed image and materialize the tables."""
    web = deployment.web
    web.succeeded(web.launch("retry_failed", "retry_failed_op", {"at_once": True}))
    for asset in ("source_scan", RESULTS, "approved_pictures"):
        web.succeeded(web.materialize(asset))


class _ScreenshotTaker:
    """Takes screenshots, each in a new browser context."""

    def __init__(self, browser: Browser, url: str, folder: Path) -> None:
        self._browser, self._url, self._folder = browser, url, folder

    def take_failures(self, keys: dict[str, str]) -> None:
        """The pages that show a failed partition."""
        self.take("failed", _partition(keys[FAILED]), _settle)
        self.take("reason", _partition(keys[FAILED]), _show_reason)

    def take_others(self, keys: dict[str, str]) -> None:
        """The other pages."""
        self.take("assets", "/asset-groups", _unfold, viewport=WIDE)
        self.take("partition", _partition(keys[SHOWN]), _show_picture)
        self.take("stale", _partition(keys[EDITED]), _show_cause)
        self.take("check", f"/assets/{IMAGES}?view=checks&checkDetail=not_blank", _show_blank)
        self.take("results", f"/assets/{RESULTS}", _show_sheet)
        self.take("automation", "/automation", _settle)
        self.take("launchpad", _partition(keys[SHOWN]), _configure)

    def take(
        self, name: str, path: str, act: Callable[[Page], None], *, viewport: Any = VIEWPORT
    ) -> None:
        """Open a page, act on it and write a screenshot."""
        context = self._browser.new_context(viewport=viewport, reduced_motion="reduce")
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.goto(self._url + path)
        act(page)
        page.wait_for_timeout(1500)  # animations and late layout
        write_small(self._folder / f"dagster-{name}.png", page.screenshot())
        context.close()


def _partition(key: str) -> str:
    return f"/assets/{IMAGES}?view=partitions&partition={key}"


def _unfold(page: Page) -> None:
    _settle(page)
    page.get_by_role("button").filter(has=page.get_by_label("panel_show_right")).last.click()
    page.keyboard.press("Alt+e")
    expect(page.get_by_text("Loading…")).to_have_count(0)


def _settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")


def _show_picture(page: Page) -> None:
    page.get_by_text("[Show Markdown]").first.click()
    expect(page.get_by_role("dialog").get_by_role("img").first).to_be_visible()


def _show_reason(page: Page) -> None:
    page.get_by_role("button", name="View all historical events").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("row").last.get_by_text("json-").first.click()
    expect(dialog).to_contain_text("remedy")


def _show_blank(page: Page) -> None:
    expect(page.get_by_role("tab", name="Execution history")).to_be_visible()
    page.get_by_role("tab", name="Partitions").last.click()
    page.get_by_placeholder("Filter by partition").fill("heron")
    page.get_by_text("json-").locator("visible=true").first.click()
    expect(page.get_by_text("It is black all over.")).to_be_visible()
    page.mouse.move(0, 0)


def _show_sheet(page: Page) -> None:
    row = page.get_by_role("row").filter(has=page.get_by_text("newest pictures"))
    row.get_by_text("[Show Markdown]").click()
    expect(page.get_by_role("dialog").get_by_role("img").last).to_be_visible()


def _show_cause(page: Page) -> None:
    page.get_by_text("Unsynced").hover()
    expect(page.get_by_text("upstream data version change")).to_be_visible()


def _configure(page: Page) -> None:
    page.get_by_role("button", name="Materialize…").click()
    page.get_by_role("dialog").get_by_text("Config", exact=True).click()
    page.get_by_role("button", name="Add config").click()
    page.locator(".CodeMirror").click()
    page.keyboard.type(TYPED.format(op=IMAGES))
    expect(page.get_by_text("WIDTHxHEIGHT in pixels")).to_be_visible()
    page.keyboard.type("image_size: 768x1024\nregenerate: true")
    expect(page.get_by_text("No errors")).to_be_visible()


def write_small(file: Path, png: bytes) -> None:
    """Write a PNG with as few colours as keep it below the size limit."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(io.BytesIO(png)) as image:
        whole = image.convert("RGB")
    for colours in (None, 256, 128):
        out = io.BytesIO()
        shown = whole if colours is None else whole.quantize(colours)
        shown.save(out, "PNG", optimize=True)
        if out.tell() < LARGEST:
            break
    file.write_bytes(out.getvalue())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
