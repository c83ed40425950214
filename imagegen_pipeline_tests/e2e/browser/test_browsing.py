"""Browsing the gallery: filters, search, an item's page, neighbours, comparison."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from imagegen_pipeline.ledger import Filter
from imagegen_pipeline_tests.e2e.browser.conftest import Visit, Visiting, card, first_of, keys_of


def test_cards_are_shown_with_their_states_newest_first(visit: Visit) -> None:
    """The page has a card for each item, in the ledger's order, and all seven states."""
    page = visit.open()
    assert keys_of(page) == visit.keys
    states = page.locator(".card").evaluate_all("all => all.map(one => one.dataset.state)")
    assert set(states) == {
        *("waiting", "running", "done", "failed", "held", "approved", "rejected"),
    }
    for key, state in zip(visit.keys, states, strict=True):
        expect(card(page, key).locator(".facts .state")).to_have_text(state.capitalize())
    expect(page.locator("#states [data-state=all] .count")).to_have_text("12")
    image = page.locator(".card img.thumb").first
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0


def test_a_state_is_filtered_without_a_reload(visit: Visit) -> None:
    """A click on a state filters by it; the address follows, and Back undoes it."""
    page = visit.open()
    page.evaluate("window.same = true")
    page.get_by_role("link", name=re.compile("^Failed")).click()
    expect(page.locator(".card")).to_have_count(
        len(visit.served.pipeline.ledger.gallery.cards(Filter(state="failed")))
    )
    assert page.url.endswith("/?state=failed")
    expect(page.locator("#states [aria-current]")).to_contain_text("Failed")
    page.go_back()
    expect(page.locator(".card")).to_have_count(12)
    assert page.evaluate("window.same")


def test_filters_by_source_actor_and_model(visit: Visit) -> None:
    """The three filters can be combined."""
    page, card_store = visit.open(), visit.served.pipeline.ledger.gallery
    page.get_by_label("Source", exact=True).select_option("actor")
    actors = card_store.cards(Filter(source="actor"))
    expect(page.locator(".card")).to_have_count(len(actors))
    page.get_by_label("Actor", exact=True).select_option(actors[0].key)
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_label("Actor", exact=True).select_option("")
    page.get_by_label("Source", exact=True).select_option("")
    page.locator("#filters").get_by_label("Model").select_option(card_store.models()[0])
    expect(page.locator(".card")).to_have_count(
        len(card_store.cards(Filter(model=card_store.models()[0])))
    )


def test_search_in_prompts_says_when_nothing_matches(visit: Visit) -> None:
    """Typing searches the prompts; without matches the page offers to clear the filters."""
    page, card_store = visit.open(), visit.served.pipeline.ledger.gallery
    word = card_store.cards(Filter(source="json"))[0].text.split()[0]
    page.keyboard.press("/")
    page.keyboard.type(word)
    expect(page.locator(".card")).to_have_count(len(card_store.cards(Filter(text=word))))
    page.get_by_label("Search prompts and keys").fill("zebra crossing <b>nowhere</b>")
    expect(page.get_by_role("heading", name="No matches")).to_be_visible()
    expect(page.locator("main")).to_contain_text("zebra crossing <b>nowhere</b>")
    page.get_by_role("link", name="Clear the filters").click()
    expect(page.locator(".card")).to_have_count(12)
    expect(page.get_by_label("Search prompts and keys")).to_have_value("")


def test_an_items_page_shows_its_details(visit: Visit) -> None:
    """Prompt, seed, parameters, cost, file, attempts, and the link to Dagster."""
    page = visit.open()
    key = first_of(page, "approved")
    card(page, key).locator(".open").click()
    panel, card_store = page.locator("#panel"), visit.served.pipeline.ledger.gallery
    attempt, shown = card_store.history(key)[0], card_store.card(key)
    assert shown is not None
    expect(panel.get_by_role("heading", name=key)).to_be_visible()
    expect(panel.locator("[data-prompt]")).to_have_text(shown.text)
    expect(panel.locator("[data-fact=seed]")).to_have_text(str(attempt.seed))
    expect(panel.locator("[data-fact=steps]")).to_have_text(str(attempt.request["steps"]))
    expect(panel.locator("[data-fact=model]")).to_have_text(attempt.model)
    expect(panel.locator("[data-fact=cost]")).to_have_text(re.compile(r"^0\.\d+$"))
    expect(panel).to_contain_text(shown.path or "?")
    link = panel.get_by_role("link", name="Partition in Dagster")
    expect(link).to_have_attribute("href", re.compile(f"partition={key}$"))
    assert page.url.endswith(f"/picture/{key}")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page).to_have_url(visit.served.url + "/")
    page.go_forward()
    expect(panel.get_by_role("heading", name=key)).to_be_visible()
    page.go_back()
    expect(page.locator("#viewer")).to_be_hidden()


def test_next_and_previous_by_key_and_button(visit: Visit) -> None:
    """Arrows, j and k, and the buttons; closing focuses the last item's card."""
    page = visit.open()
    card(page, visit.keys[0]).locator(".open").click()
    title = page.locator("#panel h2")
    expect(title).to_have_text(visit.keys[0])
    expect(page.get_by_role("link", name="Previous image")).to_be_hidden()
    for key, place in (("ArrowRight", 1), ("j", 2), ("k", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        expect(title).to_have_text(visit.keys[place])
    page.get_by_role("link", name="Next image").click()
    expect(title).to_have_text(visit.keys[2])
    for _ in range(5):  # faster than pictures come
        page.keyboard.press("j")
    expect(title).to_have_text(visit.keys[7])
    page.keyboard.press("Escape")
    expect(card(page, visit.keys[7]).locator(".open")).to_be_focused()


def test_an_items_address_is_a_page(visit: Visit) -> None:
    """In a new tab it shows the item, and leads to its neighbours and the gallery."""
    page = visit.open(f"/picture/{visit.keys[1]}")
    expect(page.locator("#panel h2")).to_have_text(visit.keys[1])
    page.keyboard.press("ArrowRight")
    expect(page.locator("#panel h2")).to_have_text(visit.keys[2])
    expect(page.locator("body")).to_have_attribute("data-ready", "yes")
    page.keyboard.press("Escape")
    expect(page.locator(".card")).to_have_count(12)
    page.goto(visit.served.url + "/picture/nothing-here")
    expect(page.get_by_role("heading")).to_contain_text("No item has the key nothing-here")
    visit.expect_trouble("404")


def test_an_older_image_is_compared_and_made_current(visit: Visit) -> None:
    """Both are shown with seed, steps and cost; a button makes the older one current."""
    card_store = visit.served.pipeline.ledger.gallery
    key = next(
        key
        for key in visit.keys
        if sum(one.state == "stored" for one in card_store.history(key)) == 2
        and card_store.history(key)[0].state == "stored"
    )
    newer, older = card_store.history(key)
    page = visit.open(f"/picture/{key}")
    page.keyboard.press("c")
    then = page.locator(".older-image")
    expect(then).to_be_visible()
    expect(then.locator(".below")).to_contain_text(f"seed {older.seed}")
    expect(page.locator(".current-image .below")).to_contain_text(f"seed {newer.seed}")
    then.get_by_role("button", name="Make current").click()
    expect(page.locator(".picture")).to_have_attribute("data-attempt", str(older.id))
    current = visit.served.pipeline.ledger.attempts.current(key)
    assert current is not None
    assert current.id == older.id


def test_pages_work_without_javascript(visiting: Visiting) -> None:
    """Without scripts there are page links, a filter form, and whole pages."""
    visit = visiting(70, java_script_enabled=False)
    page = visit.context.new_page()
    page.goto(visit.served.url)
    expect(page.locator(".card")).to_have_count(60)
    page.get_by_role("link", name="Older").click()
    expect(page.locator(".card")).to_have_count(10)
    page.get_by_label("Source", exact=True).select_option("actor")
    page.get_by_role("button", name="Show").click()
    actors = visit.served.pipeline.ledger.gallery.counts(Filter(source="actor"))["all"]
    expect(page.locator(".card")).to_have_count(actors)
    # Playwright's switch does not affect the parser, which ignores <noscript> here.
    assert "<noscript>" in page.content()
    expect(page.locator(".pick:visible, .act:visible")).to_have_count(0)
    page.locator(".card .open").first.click()
    expect(page.locator("#panel h2")).to_be_visible()
    assert "Without JavaScript this page can be viewed" in visit.served.get("/").text
    assert (
        "Without JavaScript this page can be viewed"
        in visit.served.get(f"/picture/{visit.keys[0]}").text
    )
    expect(page.locator(".verdicts button:visible, .problem button:visible")).to_have_count(0)


def test_only_cards_near_the_viewport_are_loaded(visiting: Visiting) -> None:
    """Chunks near the viewport are loaded, far ones emptied; the page's height does not change."""
    visit = visiting(620)
    page = visit.open()
    height = page.evaluate("document.documentElement.scrollHeight")
    most = 0
    for part in range(1, 9):
        page.evaluate("where => scrollTo(0, where)", height * part / 8)
        expect(page.locator(".chunk:not(.away)").first).to_be_attached()
        most = max(most, page.locator(".card").count())
    expect(card(page, visit.keys[-1])).to_be_visible()
    assert page.locator(".card").count() < 360
    assert most < 420
    assert abs(page.evaluate("document.documentElement.scrollHeight") - height) < 4
    page.evaluate("scrollTo(0, 0)")
    expect(card(page, visit.keys[0])).to_be_visible()


def test_an_image_with_a_missing_file(visit: Visit) -> None:
    """The page shows the reason, not a broken image."""
    pipeline = visit.served.pipeline
    key = first_of(visit.open(), "approved")
    attempt = pipeline.ledger.attempts.current(key)
    assert attempt is not None
    pipeline.store.absolute(attempt.path or "").unlink()
    visit.expect_trouble("404")
    page = visit.open(f"/picture/{key}")
    expect(page.locator(".stage")).to_contain_text("is missing")


def test_the_first_arrow_focuses_the_first_card(visit: Visit) -> None:
    """The grid's shortcuts work without pressing Tab first."""
    page = visit.open()
    for press, number in (("ArrowRight", 0), ("j", 1), ("k", 0)):
        page.keyboard.press(press)
        expect(card(page, visit.keys[number]).locator(".open")).to_be_focused()
