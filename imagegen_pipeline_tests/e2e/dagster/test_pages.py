"""Dagster's pages in Chromium: what a user sees of the images, and clicks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Locator, Page, Response, expect

from imagegen_pipeline_tests.e2e.browser.conftest import Watched
from imagegen_pipeline_tests.e2e.dagster.conftest import FirstBackfill
from imagegen_pipeline_tests.e2e.dagster.deployment import IMAGES, Deployment

GROUP = "shown"
VIEWPORT = {"width": 1400, "height": 900}
_DAGSTER_WARNING = "warning: "
"""Dagster's pages log warnings of their own, such as a connection that a click has closed."""


@dataclass(frozen=True)
class Shown:
    """Partitions: an image, one whose prompt was edited since, a blank one, a refused one, and one
    that was not requested; and the run of the first four.
    """

    stored: str
    edited: str
    blank: str
    failed: str
    missing: str
    run: str


@pytest.fixture(scope="module")
def shown(started: tuple[Deployment, FirstBackfill]) -> Shown:
    """Partitions in every state that these pages show."""
    deployment, _ = started
    keys = deployment.prompts(GROUP, 5)
    deployment.blank(f"{GROUP}, number 2")
    deployment.refuse(f"{GROUP}, number 3")
    run = deployment.materialize_images(keys[:4])
    assert deployment.web.ended(run).status == "FAILURE"
    deployment.write(GROUP, [1], text="{group}, number {n}, edited")
    deployment.sync()
    first, second, third, fourth, fifth = keys
    return Shown(first, second, third, fourth, fifth, run)


@pytest.fixture
def page(browser: Browser, deployment: Deployment, shown: Shown) -> Iterator[Page]:
    """A page of the running Dagster, which must request no other host and log no error."""
    context = browser.new_context(viewport=VIEWPORT, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    watched = Watched(deployment.web.url, expected=[_DAGSTER_WARNING])
    page = context.new_page()
    watched.follow(page)
    yield page
    try:
        watched.check()
    finally:
        context.close()


def open_partition(page: Page, deployment: Deployment, key: str) -> None:
    """Select a partition of the images in the list of the asset's page."""
    page.goto(f"{deployment.web.url}/assets/{IMAGES}?view=partitions")
    page.get_by_placeholder("Filter by name").fill(key)
    page.get_by_text(key, exact=True).locator("visible=true").first.click()
    page.wait_for_url(f"**partition={key}**")


def dialog_to_materialize(page: Page) -> Locator:
    """The dialog behind "Materialize…"."""
    page.get_by_role("button", name="Materialize…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Launch runs to materialize")
    return dialog


def launch_one(page: Page, deployment: Deployment) -> str:
    """Click "Launch 1 run" and wait for the run to succeed; returns its id."""
    with page.expect_response(_is_launch) as launch:
        page.get_by_role("button", name="Launch 1 run").click()
    expect(page.get_by_text("Launched run")).to_be_visible()
    run_id = launch.value.json()["data"]["launchPipelineExecution"]["run"]["id"]
    return deployment.web.succeeded(run_id).id


def _is_launch(response: Response) -> bool:
    return "launchPipelineExecution(" in (response.request.post_data or "")


def test_a_partition_shows_its_image(page: Page, deployment: Deployment, shown: Shown) -> None:
    """The partition's page shows the prompt, and the browser decodes the preview."""
    open_partition(page, deployment, shown.stored)
    expect(page.get_by_text(f"{GROUP}, number 0", exact=True)).to_be_visible()
    expect(page.get_by_text("Materialized", exact=True)).to_be_visible()
    expect(page.get_by_text("Unsynced")).to_have_count(0)
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.get_by_role("img", name=shown.stored)
    expect(picture).to_be_visible()
    assert picture.evaluate("one => [one.naturalWidth, one.naturalHeight]") == [64, 64]


def test_a_partition_of_an_edited_prompt_is_unsynced(
    page: Page, deployment: Deployment, shown: Shown
) -> None:
    """The partition's header says that it is stale, and why."""
    open_partition(page, deployment, shown.edited)
    mark = page.get_by_text("Unsynced")
    expect(mark).to_be_visible()
    mark.hover()
    expect(page.get_by_text("has a new materialization")).to_be_visible()
    expect(page.get_by_text("1 upstream data version change")).to_be_visible()


def test_a_checks_page_shows_the_result_of_each_partition(
    page: Page, deployment: Deployment, shown: Shown
) -> None:
    """Each image of a range run has its own result of each check; the check's page explains and
    shows the blank one.
    """
    keys = [shown.stored, shown.edited, shown.blank]
    checks = deployment.web.checks(IMAGES, keys)
    assert checks["picture_decodes"] == dict.fromkeys(keys, "succeeded")
    assert checks["not_blank"] == {**checks["picture_decodes"], shown.blank: "failed"}

    page.goto(f"{deployment.web.url}/assets/{IMAGES}?view=checks&checkDetail=not_blank")
    expect(page.get_by_text("the provider has probably refused the prompt")).to_be_visible()
    page.get_by_role("tab", name="Partitions").last.click()
    page.get_by_placeholder("Filter by partition").fill(shown.blank)
    page.get_by_text(shown.blank[-8:]).locator("visible=true").first.click()
    expect(page.get_by_text("It is black all over.")).to_be_visible()
    page.get_by_text("[Show Markdown]").click()
    expect(page.get_by_role("img", name=shown.blank)).to_be_visible()


def test_the_materialize_dialog_describes_its_fields(
    page: Page, deployment: Deployment, shown: Shown
) -> None:
    """The dialog's configuration describes each field; "Launch 1 run" generates an image of the
    typed size, and its partition shows it.
    """
    open_partition(page, deployment, shown.missing)
    dialog = dialog_to_materialize(page)
    expect(dialog).to_contain_text("1 partition")
    dialog.get_by_text("Config", exact=True).click()
    dialog.get_by_role("button", name="Add config").click()
    page.locator(".CodeMirror").click()
    page.keyboard.type(f"ops:\n  {IMAGES}:\n  config:\n  ")
    for words in ("WIDTHxHEIGHT in pixels", "Generate at most this many images", "Costs money"):
        expect(page.get_by_role("dialog").last).to_contain_text(words)
    page.keyboard.type("image_size: 96x64")
    page.get_by_role("button", name="Save config").click()
    run = launch_one(page, deployment)

    assert [one["run"] for one in deployment.web.images(IMAGES, shown.missing)] == [run]
    checks = deployment.web.checks(IMAGES, [shown.missing])
    assert checks["picture_decodes"] == checks["asked_size"] == {shown.missing: "succeeded"}
    open_partition(page, deployment, shown.missing)
    expect(page.get_by_text("96x64", exact=True)).to_be_visible()


def test_a_failed_partition_says_why_and_is_retried_alone(
    page: Page, deployment: Deployment, shown: Shown
) -> None:
    """The failed partition and its run show the reason; the dialog's "Failed" launches that
    partition alone.
    """
    open_partition(page, deployment, shown.failed)
    page.get_by_role("button", name="View all historical events").click()
    events = page.get_by_role("dialog")
    events.get_by_text(shown.failed, exact=True).click()
    expect(events).to_contain_text("failed: API request failed with status 400")
    expect(events).to_contain_text("Use a model that the documentation lists")
    events.get_by_role("button", name="OK").click()
    page.get_by_role("link", name=shown.run[:8]).first.click()
    expect(page.get_by_text("1 of 4 have no image").first).to_be_visible()

    page.goto(f"{deployment.web.url}/assets/{IMAGES}?view=partitions")
    expect(page.get_by_text("Failed (1)")).to_be_visible()
    dialog = dialog_to_materialize(page)
    dialog.get_by_role("button", name="Failed", exact=True).click()
    run = launch_one(page, deployment)
    assert deployment.web.images(IMAGES, shown.failed)[0]["run"] == run
    assert deployment.billed(GROUP)[f"{GROUP}, number 3"] == 1


def test_sensors_and_schedules_that_spend_money_are_off(page: Page, deployment: Deployment) -> None:
    """The automation page shows free sensors as on and the others as off; the page of
    ``automation_sensor`` says that it spends money.
    """
    page.goto(f"{deployment.web.url}/automation")
    on = {"collect_sensor": True, "sources_sensor": True, "automation_sensor": False}
    for name, state in {**on, "hourly_retry": False, "nightly_refresh": False}.items():
        row = page.locator("[data-index]").filter(has=page.get_by_text(name, exact=True))
        expect(row.locator("input[type=checkbox]").last).to_be_checked(checked=state)
    page.get_by_text("automation_sensor", exact=True).click()
    expect(page.get_by_text("It spends money")).to_be_visible()
    switch = page.locator("input[type=checkbox]")
    expect(switch).to_be_checked(checked=False)


def test_the_launchpad_of_a_typed_prompt_shows_its_required_field(
    page: Page, deployment: Deployment
) -> None:
    """The launchpad of ``generate_one_prompt`` opens with the prompt's field and describes each
    field.
    """
    page.goto(
        f"{deployment.web.url}/locations/imagegen_pipeline/jobs/generate_one_prompt/playground"
    )
    editor = page.locator(".CodeMirror")
    expect(editor).to_contain_text("prompt: ''")
    expect(editor).not_to_contain_text("api_key")
    expect(page.get_by_text("No errors")).to_be_visible()
    editor.get_by_text("prompt", exact=True).click()
    expect(page.get_by_text("The text of the prompt. Required.").first).to_be_visible()
    expect(page.get_by_text("WIDTHxHEIGHT in pixels, such as 1080x1920.")).to_be_visible()
