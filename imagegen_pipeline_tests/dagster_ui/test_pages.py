"""Dagster's pages in Chromium: what a person who lives there sees of the pictures, and clicks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Locator, Page, Response, expect

from imagegen_pipeline_tests.dagster_ui.conftest import Opening
from imagegen_pipeline_tests.dagster_ui.studio import IMAGES, Studio
from imagegen_pipeline_tests.web.browser.conftest import Watched

STORY = "shown"
DESK = {"width": 1400, "height": 900}
_OF_DAGSTER = "warning: "
"""Dagster's pages warn of matters of their own, such as a connection that a click has closed."""


@dataclass(frozen=True)
class Shown:
    """A picture that was made, one whose prompt was edited since, one that came back blank, one
    that was refused, and one that was not asked for; and the run of the first four.
    """

    made: str
    edited: str
    blank: str
    failed: str
    missing: str
    run: str


@pytest.fixture(scope="module")
def shown(opened: tuple[Studio, Opening]) -> Shown:
    """What these pages show."""
    studio, _ = opened
    keys = studio.prompts(STORY, 5)
    studio.blank(f"{STORY}, number 2")
    studio.refuse(f"{STORY}, number 3")
    run = studio.make(keys[:4])
    assert studio.web.ended(run).status == "FAILURE"
    studio.write(STORY, [1], text="{story}, number {n}, edited")
    studio.sync()
    return Shown(*keys, run)


@pytest.fixture
def page(browser: Browser, studio: Studio, shown: Shown) -> Iterator[Page]:
    """A page of the running Dagster; it asks no other host, and nothing goes wrong in it."""
    context = browser.new_context(viewport=DESK, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    watched = Watched(studio.web.url, expected=[_OF_DAGSTER])
    page = context.new_page()
    watched.follow(page)
    yield page
    try:
        watched.check()
    finally:
        context.close()


def open_partition(page: Page, studio: Studio, key: str) -> None:
    """Choose a partition of the pictures in the list of its page."""
    page.goto(f"{studio.web.url}/assets/{IMAGES}?view=partitions")
    page.get_by_placeholder("Filter by name").fill(key)
    page.get_by_text(key, exact=True).locator("visible=true").first.click()
    page.wait_for_url(f"**partition={key}**")


def dialog_to_materialize(page: Page) -> Locator:
    """The dialog behind "Materialize…"."""
    page.get_by_role("button", name="Materialize…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Launch runs to materialize")
    return dialog


def launch_one(page: Page, studio: Studio) -> str:
    """Click "Launch 1 run", and see the run to its end; returns its id."""
    with page.expect_response(_is_launch) as launch:
        page.get_by_role("button", name="Launch 1 run").click()
    expect(page.get_by_text("Launched run")).to_be_visible()
    run_id = launch.value.json()["data"]["launchPipelineExecution"]["run"]["id"]
    return studio.web.succeeded(run_id).id


def _is_launch(response: Response) -> bool:
    return "launchPipelineExecution(" in (response.request.post_data or "")


def test_the_picture_is_seen_in_its_partition(page: Page, studio: Studio, shown: Shown) -> None:
    """The chosen partition says what it was made from, and its preview is really painted."""
    open_partition(page, studio, shown.made)
    expect(page.get_by_text(f"{STORY}, number 0", exact=True)).to_be_visible()
    expect(page.get_by_text("Materialized", exact=True)).to_be_visible()
    expect(page.get_by_text("Unsynced")).to_have_count(0)
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.get_by_role("img", name=shown.made)
    expect(picture).to_be_visible()
    assert picture.evaluate("one => [one.naturalWidth, one.naturalHeight]") == [64, 64]


def test_an_edited_prompts_picture_is_marked(page: Page, studio: Studio, shown: Shown) -> None:
    """The partition's header says that it is out of date, and by what."""
    open_partition(page, studio, shown.edited)
    mark = page.get_by_text("Unsynced")
    expect(mark).to_be_visible()
    mark.hover()
    expect(page.get_by_text("has a new materialization")).to_be_visible()
    expect(page.get_by_text("1 upstream data version change")).to_be_visible()


def test_what_a_check_has_found_is_read_in_its_partition(
    page: Page, studio: Studio, shown: Shown
) -> None:
    """Each picture of a run over several has its own verdict of each check; the check's page says
    of the blank one what is wrong with it, and shows it.
    """
    keys = [shown.made, shown.edited, shown.blank]
    checks = studio.web.checks(IMAGES, keys)
    assert checks["picture_decodes"] == dict.fromkeys(keys, "succeeded")
    assert checks["not_blank"] == {**checks["picture_decodes"], shown.blank: "failed"}

    page.goto(f"{studio.web.url}/assets/{IMAGES}?view=checks&checkDetail=not_blank")
    expect(page.get_by_text("the service has probably refused the prompt")).to_be_visible()
    page.get_by_role("tab", name="Partitions").last.click()
    page.get_by_placeholder("Filter by partition").fill(shown.blank)
    page.get_by_text(shown.blank[-8:]).locator("visible=true").first.click()
    expect(page.get_by_text("It is black all over.")).to_be_visible()
    page.get_by_text("[Show Markdown]").click()
    expect(page.get_by_role("img", name=shown.blank)).to_be_visible()


def test_a_picture_is_asked_for_with_settings_that_explain_themselves(
    page: Page, studio: Studio, shown: Shown
) -> None:
    """The dialog's configuration says what each field does; "Launch 1 run" makes the picture in
    the size that was typed there, and its partition shows it.
    """
    open_partition(page, studio, shown.missing)
    dialog = dialog_to_materialize(page)
    expect(dialog).to_contain_text("1 partition")
    dialog.get_by_text("Config", exact=True).click()
    dialog.get_by_role("button", name="Add config").click()
    page.locator(".CodeMirror").click()
    page.keyboard.type(f"ops:\n  {IMAGES}:\n  config:\n  ")
    for words in ("WIDTHxHEIGHT in pixels", "Make at most so many pictures", "costs money"):
        expect(page.get_by_role("dialog").last).to_contain_text(words)
    page.keyboard.type("image_size: 96x64")
    page.get_by_role("button", name="Save config").click()
    run = launch_one(page, studio)

    assert [one["run"] for one in studio.web.pictures(IMAGES, shown.missing)] == [run]
    checks = studio.web.checks(IMAGES, [shown.missing])
    assert checks["picture_decodes"] == checks["asked_size"] == {shown.missing: "succeeded"}
    open_partition(page, studio, shown.missing)
    expect(page.get_by_text("96x64", exact=True)).to_be_visible()


def test_why_it_failed_is_read_and_only_the_failed_is_tried_again(
    page: Page, studio: Studio, shown: Shown
) -> None:
    """From the red partition to the run's sentence, and to the partition's own; then the dialog's
    "Failed" launches that one alone.
    """
    open_partition(page, studio, shown.failed)
    page.get_by_role("button", name="View all historical events").click()
    events = page.get_by_role("dialog")
    events.get_by_text(shown.failed, exact=True).click()
    expect(events).to_contain_text("failed: API request failed with status 400")
    expect(events).to_contain_text("Use a model that the documentation lists")
    events.get_by_role("button", name="OK").click()
    page.get_by_role("link", name=shown.run[:8]).first.click()
    expect(page.get_by_text("1 of 4 have no image").first).to_be_visible()

    page.goto(f"{studio.web.url}/assets/{IMAGES}?view=partitions")
    expect(page.get_by_text("Failed (1)")).to_be_visible()
    dialog = dialog_to_materialize(page)
    dialog.get_by_role("button", name="Failed", exact=True).click()
    run = launch_one(page, studio)
    assert studio.web.pictures(IMAGES, shown.failed)[0]["run"] == run
    assert studio.billed(STORY)[f"{STORY}, number 3"] == 1


def test_what_buys_is_off_and_says_so(page: Page, studio: Studio) -> None:
    """On the automation page the sensors that cost nothing are on, what buys is off; the switch's
    own page says what it does, and turns it.
    """
    page.goto(f"{studio.web.url}/automation")
    on = {"collect_sensor": True, "sources_sensor": True, "automation_sensor": False}
    for name, state in {**on, "hourly_retry": False, "nightly_refresh": False}.items():
        row = page.locator("[data-index]").filter(has=page.get_by_text(name, exact=True))
        expect(row.locator("input[type=checkbox]").last).to_be_checked(checked=state)
    page.get_by_text("automation_sensor", exact=True).click()
    expect(page.get_by_text("It buys pictures")).to_be_visible()
    switch = page.locator("input[type=checkbox]")
    expect(switch).to_be_checked(checked=False)


def test_a_jobs_launchpad_asks_for_the_prompt(page: Page, studio: Studio) -> None:
    """The launchpad of a typed prompt opens with the field that is to be filled, and says what
    each field means.
    """
    page.goto(f"{studio.web.url}/locations/imagegen_pipeline/jobs/generate_one_prompt/playground")
    editor = page.locator(".CodeMirror")
    expect(editor).to_contain_text("prompt: ''")
    expect(editor).not_to_contain_text("api_key")
    expect(page.get_by_text("No errors")).to_be_visible()
    editor.get_by_text("prompt").click()
    expect(page.get_by_text("What the picture is to show.").first).to_be_visible()
    expect(page.get_by_text("WIDTHxHEIGHT in pixels, such as 1080x1920.")).to_be_visible()
