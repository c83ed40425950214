"""Actions in the gallery: verdicts, regenerate, selections, failed and held items."""

from __future__ import annotations

import csv
import io
import re
import threading
import zipfile

from playwright.sync_api import Page, expect

from imagegen_pipeline.ledger import Filter
from imagegen_pipeline_tests.conftest import until
from imagegen_pipeline_tests.e2e.browser.conftest import Visit, Visiting, card, first_of


def state_of(visit: Visit, key: str) -> str:
    """The state of an item's card in the ledger."""
    found = visit.served.pipeline.ledger.gallery.card(key)
    assert found is not None
    return str(found.state)


def key_of(page: Page, number: int) -> str:
    """The key of a card by its position."""
    key = page.locator(".card").nth(number).get_attribute("data-key")
    assert key is not None
    return key


def open_item(page: Page, key: str) -> None:
    """Open an item's dialog."""
    card(page, key).locator(".open").click()
    expect(page.locator("#panel h2")).to_have_text(key)


def test_verdicts_by_keyboard(visit: Visit) -> None:
    """``a`` approves the shown image, ``x`` rejects it, ``u`` removes the verdict."""
    page = visit.open()
    key = first_of(page, "done")
    open_item(page, key)
    for press, state in (("a", "approved"), ("x", "rejected"), ("u", "done")):
        page.keyboard.press(press)
        expect(page.locator("#panel .chip").first).to_have_text(state.capitalize())
        assert state_of(visit, key) == state
    expect(page.locator("#panel h2")).to_have_text(key)
    page.keyboard.press("Escape")
    expect(card(page, key)).to_have_attribute("data-state", "done")


def test_a_verdict_can_be_undone(visit: Visit) -> None:
    """The toast's button restores the earlier verdict."""
    page = visit.open()
    key = first_of(page, "approved")
    open_item(page, key)
    page.get_by_role("button", name="Reject").click()
    expect(page.locator(".picture")).to_have_attribute("data-verdict", "rejected")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".picture")).to_have_attribute("data-verdict", "approved")
    assert state_of(visit, key) == "approved"


def test_regenerate(
    visit: Visit,
) -> None:
    """The cost is shown before the button is enabled; the new image appears without a reload."""
    page = visit.open()
    page.evaluate("window.same = true")
    key = first_of(page, "approved")
    before = card(page, key).get_attribute("data-attempt")
    billed = visit.served.simulator.billed() + visit.served.simulator.billed("runpod")
    open_item(page, key)
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog", name="Regenerate")
    dialog.get_by_label("Prompt", exact=True).fill("A quiet harbour at dawn")
    dialog.get_by_label("Steps").fill("12")
    expect(dialog.get_by_role("button", name="Regenerate")).to_be_disabled()
    expect(dialog.locator("#regenerate-cost")).to_contain_text(
        "1 image will be generated, for about 0."
    )
    dialog.get_by_role("button", name="Regenerate").dblclick()
    expect(dialog).to_be_hidden()
    expect(page.locator(".picture")).not_to_have_attribute("data-attempt", before or "")
    expect(page.locator("[data-fact=steps]")).to_have_text("12")
    expect(page.locator("[data-sent]")).to_have_text("A quiet harbour at dawn")
    expect(page.locator(".history")).to_be_visible()
    page.keyboard.press("Escape")
    expect(card(page, key)).to_have_attribute("data-state", "done")
    assert page.evaluate("window.same")
    assert visit.served.simulator.billed() + visit.served.simulator.billed("runpod") == billed + 1


def test_the_dialog_sends_the_chosen_seed(visit: Visit) -> None:
    """The request contains only the changed fields and the chosen seed."""
    page = visit.open()
    sent: list[dict[str, object]] = []
    page.on(
        "request",
        lambda one: (
            sent.append(one.post_data_json["overrides"]) if "cost-estimates" in one.url else None
        ),
    )
    key = first_of(page, "done")
    open_item(page, key)
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog", name="Regenerate")
    expect(dialog.locator("#regenerate-cost")).to_contain_text("will be generated")
    dialog.get_by_label("Same").check()
    expect(dialog.locator("#regenerate-cost")).not_to_contain_text("Estimating")
    dialog.get_by_label("Seed number").fill("4711")
    dialog.get_by_role("button", name=re.compile("1024 . 1024")).click()
    expect(dialog.locator("#regenerate-cost")).not_to_contain_text("Estimating")
    assert sent[0] == {"seed": "new"}
    assert {"seed": "same"} in sent
    assert sent[-1] == {"seed": 4711, "width": 1024, "height": 1024}


def test_a_selection_is_downloaded_as_a_zip(visit: Visit) -> None:
    """A range by Shift, then one file with all images and the list of prompts."""
    page = visit.open()
    boxes = page.locator(".card .pick")
    boxes.nth(0).check()
    boxes.nth(5).click(modifiers=["Shift"])
    expect(page.locator("#bulk-count")).to_have_text("6")
    keys = visit.keys[:6]
    shown = [visit.served.pipeline.ledger.gallery.card(key) for key in keys]
    attempts = {one.attempt for one in shown if one is not None and one.attempt is not None}
    with page.expect_download() as waiting:
        page.get_by_role("button", name="ZIP").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        rows = list(csv.DictReader(io.StringIO(archive.read("prompts.csv").decode("utf-8-sig"))))
    assert len(names) == len(attempts) + 1
    assert len(rows) == len(attempts)


def test_all_matching_items_are_approved(visit: Visit) -> None:
    """ "Select all" includes cards that are not loaded, and the bar acts on all of them."""
    page = visit.open("/?state=done")
    card_store = visit.served.pipeline.ledger.gallery
    done = card_store.cards(Filter(state="done"))
    page.locator(".card .pick").first.check()
    page.get_by_role("button", name=re.compile("Select all")).click()
    expect(page.locator("#bulk-count")).to_have_text(str(len(done)))
    page.get_by_role("button", name="Approve").click()
    until(lambda: not card_store.cards(Filter(state="done")))
    assert {state_of(visit, one.key) for one in done} == {"approved"}
    page.keyboard.press("Escape")
    expect(page.locator("#bulk")).to_be_hidden()


def test_a_failed_item_is_retried(visit: Visit) -> None:
    """The reason and the remedy are shown with a button; the cost comes first."""
    page = visit.open()
    key = first_of(page, "failed")
    shown = visit.served.pipeline.ledger.gallery.card(key)
    assert shown is not None
    open_item(page, key)
    expect(page.locator(".problem")).to_contain_text(shown.error or "?")
    page.get_by_role("button", name="Retry", exact=True).click()
    dialog = page.get_by_role("dialog", name="Retry")
    expect(dialog.locator("#regenerate-cost")).to_contain_text("1 image will be generated")
    dialog.get_by_role("button", name="Retry").click()
    expect(page.locator(".picture")).to_have_attribute("data-state", "done")
    assert state_of(visit, key) == "done"


def test_a_held_item_is_sent_again(visit: Visit) -> None:
    """It says that it may have been billed; only the dialog's button sends the decision."""
    page = visit.open()
    key = first_of(page, "held")
    card(page, key).get_by_role("button", name=re.compile("Decide")).click()
    expect(page.locator(".problem")).to_contain_text("may have been made and billed")
    expect(page.locator(".problem")).not_to_contain_text("imagegen resolve")
    page.get_by_role("button", name="Send again…").click()
    dialog = page.get_by_role("dialog", name="Send again")
    message = dialog.locator("#regenerate-cost")
    expect(message).to_contain_text("Sends it again. It may have been billed already.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    assert state_of(visit, key) == "held"
    assert not [url for url in visit.watched.requests if "/api/decisions" in url]
    page.get_by_role("button", name="Send again…").click()
    dialog.get_by_role("button", name="Send again").click()
    expect(page.locator(".picture")).to_have_attribute("data-state", "done")


def test_a_held_item_is_given_up_and_allowed_again(visit: Visit) -> None:
    """An item that was given up offers to allow a retry."""
    page = visit.open()
    open_item(page, first_of(page, "held"))
    page.get_by_role("button", name="Give up").click()
    expect(page.locator("#panel .chip").first).to_have_text("Given up")
    page.get_by_role("button", name="Allow retry…").click()
    dialog = page.get_by_role("dialog", name="Allow retry")
    expect(dialog.locator("#regenerate-cost")).to_contain_text("It may have been billed already.")
    page.keyboard.press("Escape")
    expect(page.locator("#panel .chip").first).to_have_text("Given up")
    page.get_by_role("button", name="Allow retry…").click()
    dialog.get_by_role("button", name="Allow retry").click()
    expect(page.locator(".picture")).to_have_attribute("data-state", "done")


def test_a_batch_of_another_process_is_followed(visiting: Visiting) -> None:
    """Cards change from waiting to done, and the totals count, without a reload."""
    visit = visiting(0)
    project = visit.served.project
    for number in range(6):
        project.write_json(f"live_{number}", f"A red boat, number {number}")
    page = visit.open()
    expect(page.get_by_role("heading", name="No images yet")).to_be_visible()
    page.evaluate("window.same = true")
    command = ("imagegen", "generate", "--image-size", "64x64", "--source", "json")
    batch = threading.Thread(target=project.run, args=command)
    batch.start()
    expect(page.locator(".card")).to_have_count(6, timeout=60_000)
    expect(page.locator('.card[data-state="done"]')).to_have_count(6, timeout=60_000)
    batch.join()
    expect(page.locator("#states [data-state=done] .count")).to_have_text("6")
    expect(page.locator("#totals div").first).to_contain_text("6 today")
    expect(page.locator("#announcer")).to_have_text(re.compile(r"\d (running|done)"))
    assert page.evaluate("window.same")


def test_new_images_wait_while_the_pointer_is_on_the_grid(visit: Visit) -> None:
    """New cards are counted, and shown on top after a click."""
    page = visit.open()
    card_store = visit.served.pipeline.ledger.gallery
    page.locator("#filters").get_by_label("Source").select_option("json")
    expect(page.locator(".card")).to_have_count(len(card_store.cards(Filter(source="json"))))
    page.locator(".card").nth(1).hover()
    visit.served.project.write_json("brand_new", "A brand new boat")
    visit.served.project.run("imagegen", "generate", "--image-size", "64x64", "--source", "json")
    pill = page.get_by_role("button", name=re.compile(r"\d new"))
    expect(pill).to_be_visible()
    pill.click()
    expect(page.locator(".card").first).to_contain_text("A brand new boat")
    expect(pill).to_be_hidden()


def test_newly_registered_items_are_counted(visit: Visit) -> None:
    """They are counted while the pointer is on the grid, and shown after a click."""
    page = visit.open()
    page.locator(".card").nth(1).hover()
    visit.served.project.write_json("only_registered", "A boat that nobody has made")
    visit.served.pipeline.scan_prompts(database=False)
    pill = page.get_by_role("button", name="1 new")
    expect(pill).to_be_visible()
    pill.click()
    expect(page.locator(".card", has_text="A boat that nobody has made")).to_be_visible()
    expect(pill).to_be_hidden()


def test_invalid_fields_are_marked(visit: Visit) -> None:
    """No estimate is requested while a field is invalid."""
    page = visit.open()
    key = visit.keys[1]
    assert visit.served.pipeline.ledger.gallery.history(key)[0].provider == "duomi"
    open_item(page, key)
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog", name="Regenerate")
    message = dialog.locator("#regenerate-cost")
    submit = dialog.locator("[type=submit]")
    expect(message).to_contain_text("will be generated")
    wrong = (
        ("steps", "101", "A whole number from 1 to 100."),
        ("steps", "1.5", "A whole number from 1 to 100."),
        ("width", "0", "A whole number from 1 to 99,999."),
        ("seed_number", "soon", "A whole number, such as 4711."),
        ("prompt", " ", "Describe the image."),
    )
    quotes = [url for url in visit.watched.requests if "/api/cost-estimates" in url]
    for name, value, sentence in wrong:
        field = dialog.locator(f"[name={name}]")
        before = field.input_value()
        field.fill(value)
        expect(dialog.locator(f"#fault-{name}")).to_have_text(sentence)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(submit).to_be_disabled()
        if name == "prompt":
            break
        field.fill(before)
        expect(dialog.locator(".fault")).to_have_count(0)
        expect(submit).to_be_enabled()
    assert len([url for url in visit.watched.requests if "/api/cost-estimates" in url]) <= (
        len(quotes) + len(wrong)
    )
    dialog.locator("[name=prompt]").fill("A boat")
    expect(submit).to_be_enabled()


def test_the_limits_of_an_actors_fields(visit: Visit) -> None:
    """Sides are multiples of sixteen, and more steps are allowed than for a prompt."""
    card_store = visit.served.pipeline.ledger.gallery
    found = card_store.cards(Filter(source="actor"))
    actor = next(one for one in found if one.state in ("done", "approved", "rejected"))
    page = visit.open(f"/picture/{actor.key}")
    expect(page.locator("#panel h2")).to_be_visible()
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog", name="Regenerate")
    dialog.locator("[name=width]").fill("100")
    expect(dialog.locator("#fault-width")).to_have_text("A multiple of 16.")
    dialog.locator("[name=width]").fill("64")
    dialog.locator("[name=steps]").fill("200")
    expect(dialog.locator("#regenerate-cost")).to_contain_text("1 image will be generated")


def test_the_first_image_is_generated(visit: Visit) -> None:
    """An item without an image offers "Generate…" with its source's text; ``r`` does the same."""
    page = visit.open("/?state=waiting")
    key = first_of(page, "waiting")
    shown = visit.served.pipeline.ledger.gallery.card(key)
    assert shown is not None
    card(page, key).locator(".open").focus()
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog", name="Generate")
    expect(dialog.locator("[name=prompt]")).to_have_value(shown.text)
    page.keyboard.press("Escape")
    card(page, key).locator(".pick").check()
    expect(page.locator('[data-bulk="regenerate"]')).to_have_text("Generate…")
    page.locator('[data-bulk="clear"]').click()
    open_item(page, key)
    expect(page.get_by_role("button", name="Generate…")).to_have_count(1)
    page.keyboard.press("r")
    dialog.locator("[name=prompt]").fill("Quite another boat")
    expect(dialog.locator("#regenerate-cost")).to_contain_text("1 image will be generated")
    dialog.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator(".picture")).to_have_attribute("data-state", "done")
    expect(page.locator("[data-sent]")).to_have_text("Quite another boat")


def test_verdict_messages_replace_each_other(visit: Visit) -> None:
    """There is one message at a time, with the item's key."""
    page = visit.open("/?state=done")
    for key in (key_of(page, 0), key_of(page, 1)):
        card(page, key).locator(".open").focus()
        page.keyboard.press("a")
        expect(page.locator("#toasts .toast")).to_have_text(re.compile(f"^Approved: {key}"))
        expect(page.locator("#toasts .toast")).to_have_count(1)


def test_parameters_without_an_image_are_called_requested(visit: Visit) -> None:
    """An image has "Parameters"; an item without one has "Requested parameters"."""
    card_store = visit.served.pipeline.ledger.gallery
    without = next(one for one in card_store.cards(Filter()) if one.attempt is None and one.last)
    page = visit.open(f"/picture/{without.key}")
    expect(page.get_by_role("heading", name="Requested parameters")).to_be_visible()
    page.goto(visit.served.url + f"/picture/{visit.keys[1]}")
    expect(page.get_by_role("heading", name="Parameters")).to_be_visible()


def test_the_attempts_table_fits_its_panel(visit: Visit) -> None:
    """At 1280 px the table does not overflow."""
    for key in visit.keys:
        page = visit.open(f"/picture/{key}")
        over = "all => all.map(one => one.scrollWidth - one.clientWidth)"
        assert set(page.locator(".scroll").evaluate_all(over)) <= {0}, key
        page.close()


def test_an_error_of_the_server_is_shown(visit: Visit) -> None:
    """The server's sentence stays on the page until it is dismissed."""
    page = visit.open()
    open_item(page, first_of(page, "done"))
    sentence = "The ledger at sqlite failed: the disk is full. Free some room."
    body = {"status": "FAILED", "error": sentence, "warnings": []}
    page.route("**/api/reviews", lambda route: route.fulfill(status=503, json=body))
    visit.expect_trouble("503")
    page.keyboard.press("a")
    expect(page.get_by_role("alert").get_by_text(sentence)).to_be_visible()
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_text(sentence)).to_be_hidden()


def test_a_lost_connection_is_shown(visit: Visit) -> None:
    """A note is shown while the server does not answer."""
    page = visit.open()
    visit.expect_trouble("net::ERR")
    visit.expect_trouble("Failed to load resource")
    expect(page.locator("#connection")).to_be_hidden()
    visit.context.set_offline(True)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.locator("#connection")).to_be_visible(timeout=20_000)
    visit.context.set_offline(False)
    expect(page.locator("#connection")).to_be_hidden(timeout=20_000)


def test_a_selected_item_can_be_approved_after_its_first_image(visit: Visit) -> None:
    """The bar enables verdicts as soon as a selected item has an image."""
    page = visit.open("/?state=waiting")
    key = first_of(page, "waiting")
    card(page, key).locator(".pick").check()
    approve = page.locator('[data-bulk="approved"]')
    expect(approve).to_be_disabled()
    page.locator('[data-bulk="retry"]').click()
    dialog = page.get_by_role("dialog", name="Retry")
    dialog.get_by_role("button", name="Retry").click()
    expect(card(page, key)).to_have_attribute("data-state", "done")
    expect(approve).to_be_enabled()
    approve.click()
    expect(card(page, key)).to_have_attribute("data-state", "approved")
