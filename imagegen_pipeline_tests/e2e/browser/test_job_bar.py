"""The job bar: progress and results of jobs started on a page, and queued items."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from imagegen_pipeline_tests.e2e.browser.conftest import Visit, Visiting, card, keys_of
from imagegen_pipeline_tests.integration.web.conftest import Serve

JOB = "**/api/jobs/*"


class FakeJobs:
    """Fakes the server's responses about jobs, and records the page's requests."""

    def __init__(self, page: Page, **answer: Any) -> None:
        self.answer = {"status": "IN_PROGRESS", "total": 3, "made": 0, "reused": 0, "failed": 0}
        self.answer |= {"waiting": 3, "cost": None, "outcomes": [], **answer}
        self.stopped: list[str] = []
        self.jobs: dict[str, int] = {}
        page.route("**/api/generations", self._accept)
        page.route(JOB, lambda route: route.fulfill(json=self._of(route)))
        page.route("**/api/jobs/*/stop", self._stop)

    def _accept(self, route: Route) -> None:
        asked = json.loads(route.request.post_data or "{}")
        self.jobs[asked["id"]] = len(asked["keys"])
        route.fulfill(status=202, json={**self.answer, "jobId": asked["id"]})

    def _of(self, route: Route) -> Any:
        return {**self.answer, "total": self.jobs[route.request.url.split("/")[-1]]}

    def _stop(self, route: Route) -> None:
        self.stopped.append(route.request.url.split("/")[-2])
        route.fulfill(status=202, json={**self.answer, "total": self.jobs[self.stopped[-1]]})

    def later(self, page: Page, **answer: Any) -> None:
        """Change the response and make the page request it."""
        self.answer |= answer
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def outcome(key: str, status: str, error: str | None = None, remedy: str | None = None) -> Any:
    """One item's outcome."""
    return {"key": key, "status": status, "error": error, "remedy": remedy, "cost": None}


def regenerate(page: Page, count: int) -> list[str]:
    """Select this number of cards and regenerate them."""
    keys = keys_of(page)[:count]
    for key in keys:
        card(page, key).locator(".pick").check()
    page.locator('[data-bulk="regenerate"]').click()
    dialog = page.get_by_role("dialog", name="Regenerate")
    dialog.locator("[type=submit]").click()
    expect(dialog).to_be_hidden()
    page.locator('[data-bulk="clear"]').click()
    return keys


def test_a_job_is_followed_through_a_reload(visit: Visit) -> None:
    """It counts, survives a reload, shows its success, and disappears."""
    page = visit.open()
    fake = FakeJobs(page)
    regenerate(page, 3)
    bar = page.locator("#jobs [role=status]")
    expect(bar).to_have_text("Generating 0 of 3 …")
    fake.later(page, made=2)
    expect(bar).to_have_text("Generating 2 of 3 …")
    expect(page.locator("#jobs progress")).to_have_js_property("value", 2)
    page.reload()
    expect(bar).to_have_text("Generating 2 of 3 …")
    fake.later(page, status="COMPLETED", made=3, waiting=0)
    expect(bar).to_have_text("3 generated.")
    expect(page.locator(".job")).to_have_count(0, timeout=12_000)
    page.reload()
    expect(page.locator("body")).to_have_attribute("data-ready", "yes")
    expect(page.locator(".job")).to_have_count(0)


def test_a_stopped_job_stays_with_its_reason(visit: Visit) -> None:
    """The first real reason with its remedy, until it is dismissed, and a link to failed items."""
    page = visit.open()
    fake = FakeJobs(page)
    keys = regenerate(page, 3)
    expect(page.locator(".job")).to_be_visible()
    skipped = outcome(keys[0], "skipped", "It was stopped before it was sent.")
    budget = outcome(keys[1], "failed", "The budget is spent.", "Raise `IMAGEGEN_BUDGET_DAY`.")
    made = outcome(keys[2], "made")
    fake.later(page, status="FAILED", made=1, failed=2, outcomes=[skipped, budget, made])
    words = "Stopped after 1 of 3: The budget is spent. Raise IMAGEGEN_BUDGET_DAY."
    expect(page.locator("#jobs [role=status]")).to_have_text(words)
    expect(page.locator("#jobs code")).to_have_text("IMAGEGEN_BUDGET_DAY")
    page.reload()
    expect(page.locator("#jobs [role=status]")).to_have_text(words)
    page.get_by_role("link", name="Show failed items").click()
    expect(page).to_have_url(re.compile(r"\?state=failed$"))
    page.locator("#jobs").get_by_role("button", name="Dismiss").click()
    expect(page.locator(".job")).to_have_count(0)
    page.reload()
    expect(page.locator("body")).to_have_attribute("data-ready", "yes")
    expect(page.locator(".job")).to_have_count(0)


def test_jobs_stack_with_the_newest_first(visit: Visit) -> None:
    """Each has its own line and Stop button."""
    page = visit.open()
    fake = FakeJobs(page)
    regenerate(page, 2)
    (older,) = fake.jobs
    page.locator(".card .pick").nth(4).check()
    page.locator('[data-bulk="regenerate"]').click()
    page.locator("#regenerate [type=submit]").click()
    expect(page.locator(".job")).to_have_count(2)
    words = page.locator(".job [role=status]")
    expect(words).to_have_text(["Generating 1 image …", "Generating 0 of 2 …"])
    page.locator(".job").nth(1).get_by_role("button", name="Stop").click()
    expect(words).to_have_text(["Generating 1 image …", re.compile("Stopping")])
    assert fake.stopped == [older]


def test_queued_items_are_labelled_and_left_out(visit: Visit) -> None:
    """Cards are "Queued" until they start; a new selection leaves them out."""
    page = visit.open("/?state=done")
    fake = FakeJobs(page)
    keys = regenerate(page, 2)
    for key in keys:
        expect(card(page, key).locator(".facts .state")).to_have_text("Queued")
    for key in keys_of(page)[:3]:
        card(page, key).locator(".pick").check()
    page.locator('[data-bulk="regenerate"]').click()
    dialog = page.get_by_role("dialog", name="Regenerate")
    expect(dialog.locator("#regenerate-about")).to_contain_text("2 queued items are left out")
    expect(dialog.locator("#regenerate-cost")).to_contain_text("1 image will be generated")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    fake.later(page, outcomes=[outcome(keys[0], "made")], made=1)
    expect(card(page, keys[0]).locator(".facts .state")).to_have_text("Done")
    expect(card(page, keys[1]).locator(".facts .state")).to_have_text("Queued")
    card(page, keys[1]).locator(".open").click()
    expect(page.locator("#panel .chip.queued")).to_be_visible()
    expect(page.locator("dialog.viewer .job")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(r"/\?state=done$"))
    page.reload()
    expect(card(page, keys[1]).locator(".facts .state")).to_have_text("Queued")


def test_a_real_job_is_stopped(serve_slow: Serve, visiting: Visiting) -> None:
    """Nothing more is sent; sent images are kept, and the bar shows how many."""
    visit = visiting(24, server=serve_slow())
    page = visit.open("/?state=done")
    regenerate(page, 12)
    expect(page.locator(".facts .state", has_text="Queued").first).to_be_visible()
    page.locator("#jobs").get_by_role("button", name="Stop").click()
    expect(page.locator("#jobs [role=status]")).to_have_text(
        re.compile(r"^Stopped after \d+ of \d+"), timeout=30_000
    )
    expect(page.locator(".facts .state", has_text="Queued")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_bar_has_no_barrier(visiting: Visiting, scheme: str) -> None:
    """axe finds nothing serious in it while it runs or after it has failed."""
    from imagegen_pipeline_tests.e2e.browser.test_accessibility import faults_of

    page = visiting(10, color_scheme=scheme).open()
    fake = FakeJobs(page)
    keys = regenerate(page, 2)
    expect(page.locator(".job")).to_be_visible()
    assert faults_of(page, scheme) == []
    failed = outcome(keys[0], "failed", "CUDA ran out of memory.", "Try again.")
    fake.later(page, status="FAILED", failed=2, outcomes=[failed])
    expect(page.get_by_role("link", name="Show failed items")).to_be_visible()
    assert faults_of(page, scheme) == []
