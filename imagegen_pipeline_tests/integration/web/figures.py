"""Prints the gallery's figures: `python -m imagegen_pipeline_tests.integration.web.figures`
(docs/gallery.md).

A real `imagegen serve` on a ledger of 10,000 pictures: the first page, memory while all pages are
read, and 200 clients at once for a minute.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from playwright.sync_api import sync_playwright

from imagegen_pipeline.ledger import Filter
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.settings import load_settings
from imagegen_pipeline_tests.conftest import make_project, until
from imagegen_pipeline_tests.e2e.browser.conftest import CHROMIUM, DESKTOP
from imagegen_pipeline_tests.e2e.browser.scrolling import scroll_through
from imagegen_pipeline_tests.integration.web.crowd import Memory, Tally, crowd
from imagegen_pipeline_tests.integration.web.seeding import seed

PICTURES, CLIENTS, SECONDS = 10_000, 200, 60.0
_PAGE_LOADS = 20


@dataclass(frozen=True)
class Figures:
    """What was measured. Times are milliseconds, memory MB."""

    pictures: int
    first_pages: list[float]
    memory_before: float
    memory_after_reading: float
    memory_after_crowd: float
    half_way_memory: float
    most_memory: float
    tally: Tally
    scrolling: str = ""


@contextmanager
def large_server(folder: Path, pictures: int) -> Iterator[tuple[str, int, list[int]]]:
    """A real server on so many pictures: its address, its process, and their attempts."""
    make_project(folder, {})
    os.chdir(folder)
    os.environ["IMAGEGEN_SIMULATOR"] = "http://127.0.0.1:9"  # nothing is made here
    pipeline = Pipeline(load_settings())
    seed(pipeline, pictures)
    attempts = [attempt for _, attempt in pipeline.ledger.gallery.marked(Filter()) if attempt]
    pipeline.close()
    log = folder / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "imagegen", "serve", "--port", "0"],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        found = until(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()))
        yield found[0], process.pid, attempts
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def measure(
    folder: Path, *, pictures: int = PICTURES, clients: int = CLIENTS, seconds: float = SECONDS
) -> Figures:
    """Start a server on ``pictures`` and ask it for all that is measured."""
    with large_server(folder, pictures) as (url, pid, attempts):
        memory = Memory(pid)
        first_pages = [_milliseconds(f"{url}/") for _ in range(_PAGE_LOADS)]
        memory.look()
        for offset in range(0, pictures, 60):
            requests.get(f"{url}/cards?offset={offset}&limit=60", timeout=60).raise_for_status()
        memory.look()
        tally, during = crowd(url, attempts, pid=pid, clients=clients, seconds=seconds)
        memory.look()
        scrolled = _scrolled(url)
    before, read, after = memory.seen
    half = during.seen[: len(during.seen) // 2]
    return Figures(
        pictures, first_pages, before, read, after, max(half), max(during.seen), tally, scrolled
    )


def _scrolled(url: str) -> str:
    """How it scrolls in a real browser, where there is one."""
    if not Path(CHROMIUM).exists():
        return ""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=DESKTOP)
        page.goto(url)
        scrolled = str(scroll_through(page))
        browser.close()
    return scrolled


def _milliseconds(url: str) -> float:
    began = time.perf_counter()
    requests.get(url, timeout=60).raise_for_status()
    return 1000 * (time.perf_counter() - began)


def table(figures: Figures) -> str:
    """The figures as docs/gallery.md has them."""
    tally = figures.tally
    rows = [
        ("pictures in the ledger", f"{figures.pictures:,}"),
        ("first page, median of 20", f"{statistics.median(figures.first_pages):.0f} ms"),
        ("first page, slowest of 20", f"{max(figures.first_pages):.0f} ms"),
        ("memory after the first page", f"{figures.memory_before:.0f} MB"),
        ("memory after all pages", f"{figures.memory_after_reading:.0f} MB"),
        (f"requests of {CLIENTS} clients in {SECONDS:g} s", f"{tally.requests:,}"),
        ("errors among them", f"{sum(tally.errors.values())}"),
        ("most memory in the first half", f"{figures.half_way_memory:.0f} MB"),
        ("most memory in all", f"{figures.most_memory:.0f} MB"),
        ("memory afterwards", f"{figures.memory_after_crowd:.0f} MB"),
    ]
    lines = ["| | |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows)]
    lines += ["", "| request, among 200 clients | number | median | 95 % |"]
    lines += ["| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {kind} | {len(tally.seconds[kind]):,} | {tally.quantile(kind, 0.5):.0f} ms | "
        f"{tally.quantile(kind, 0.95):.0f} ms |"
        for kind in sorted(tally.seconds)
    ]
    if figures.scrolling:
        lines += ["", f"Scrolling for 6 s at 3,000 px/s in Chromium: {figures.scrolling}."]
    return "\n".join(lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        measured = measure(Path(scratch))
        print(table(measured))  # noqa: T201 - its table is what it is for
        if measured.tally.errors:
            print(dict(measured.tally.errors))  # noqa: T201
        os.chdir("/")
