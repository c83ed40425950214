"""Accessibility, phones, dark mode, login and hostile prompts."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from imagegen_pipeline.domain.partition_keys import safe_file_stem
from imagegen_pipeline_tests.e2e.browser.conftest import (
    CHROMIUM,
    PHONE,
    Visit,
    Visiting,
    card,
    first_of,
    keys_of,
)
from imagegen_pipeline_tests.integration.web.conftest import Serve

TOKEN = "a-token-for-the-gallery"


def faults_of(page: Page, scheme: str = "light") -> list[str]:
    """What axe finds serious or critical on the page as it is; in the dark only what is dark.

    Behind a dialog that is open nothing is looked at.
    """
    rules = None if scheme == "light" else {"runOnly": ["color-contrast"]}
    dialog = page.locator("dialog[open]").last
    part = f"#{dialog.get_attribute('id')}" if dialog.count() else None
    found = Axe().run(page, context=part, options=rules).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def _grid(visit: Visit) -> Page:
    page = visit.open()
    page.locator(".card .pick").first.check()
    return page


def _viewer(visit: Visit) -> Page:
    page = visit.open()
    card(page, first_of(page, "failed")).locator(".open").click()
    expect(page.locator("#panel h2")).to_be_visible()
    return page


def _compared(visit: Visit) -> Page:
    card_store = visit.served.pipeline.ledger.gallery
    key = next(
        key
        for key in visit.keys
        if sum(one.state == "stored" for one in card_store.history(key)) == 2
        and card_store.history(key)[0].state == "stored"
    )
    page = visit.open(f"/picture/{key}")
    page.keyboard.press("c")
    expect(page.locator(".older-image")).to_be_visible()
    return page


def _dialog(visit: Visit) -> Page:
    page = _viewer(visit)
    page.keyboard.press("r")
    expect(page.locator("#regenerate-cost")).to_contain_text("will be generated")
    return page


def _help(visit: Visit) -> Page:
    page = visit.open()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    return page


def _nothing(visit: Visit) -> Page:
    return visit.open("/?text=nothing-has-this")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_serious_barrier(visiting: Visiting, scheme: str) -> None:
    """axe finds nothing serious or critical in the grid, an image's page and the dialogs."""
    visit = visiting(10, color_scheme=scheme)
    parts: tuple[Callable[[Visit], Page], ...] = (
        *(_grid, _viewer, _compared, _dialog, _help, _nothing),
    )
    for part in parts:
        page = part(visit)
        assert faults_of(page, scheme) == [], part.__name__
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_login_empty_gallery_and_errors_have_no_barrier(
    visiting: Visiting, serve: Serve, scheme: str
) -> None:
    """The same for the login, the empty gallery and the login's errors."""
    closed = visiting(0, server=serve(token=_secret()), color_scheme=scheme)
    page = closed.context.new_page()
    page.goto(closed.served.url + "/?state=done")
    expect(page.get_by_label("Token")).to_be_focused()
    assert faults_of(page, scheme) == []
    page.get_by_label("Token").fill("not the token")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the token.")
    assert faults_of(page, scheme) == []
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("No images yet|No matches"))).to_be_visible()
    assert page.url.endswith("/?state=done")
    assert faults_of(page, scheme) == []
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()


def test_logging_in_over_plain_http_from_another_machine(browser: Browser, serve: Serve) -> None:
    """Browsers send fewer headers to an address that is neither loopback nor https."""
    served = serve(token=_secret(), allowed_hosts=("gallery.test",))
    elsewhere = browser.browser_type.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox", "--host-resolver-rules=MAP gallery.test 127.0.0.1"],
    )
    page = elsewhere.new_page()
    page.goto(served.url.replace("127.0.0.1", "gallery.test"))
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="No images yet")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    elsewhere.close()


def _secret() -> object:
    from pydantic import SecretStr

    return SecretStr(TOKEN)


def test_a_verdict_by_keyboard_only(visit: Visit) -> None:
    """Tab, arrows, Enter, ``a`` and Escape need no pointer."""
    page = visit.open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the images")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    for press in ("ArrowRight", "ArrowDown", "ArrowUp", "End", "Home", "ArrowRight"):
        page.keyboard.press(press)
        expect(page.locator(".card .open:focus")).to_have_count(1)
    expect(card(page, visit.keys[1]).locator(".open")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#panel h2")).to_have_text(visit.keys[1])
    page.keyboard.press("a")
    expect(page.locator("#panel .chip").first).to_have_text("Approved")
    page.keyboard.press("Escape")
    expect(card(page, visit.keys[1])).to_have_attribute("data-state", "approved")
    expect(card(page, visit.keys[1]).locator(".open")).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+Space")
    expect(page.locator("#bulk-count")).to_have_text("2")
    page.keyboard.press("Escape")
    expect(page.locator("#bulk")).to_be_hidden()


def test_shortcuts_do_nothing_while_the_user_types(visit: Visit) -> None:
    """An ``a`` in the search field or the dialog's prompt is a letter."""
    page = visit.open()
    card(page, first_of(page, "done")).locator(".open").focus()
    page.keyboard.press("/")
    page.keyboard.type("axr?")
    expect(page.get_by_label("Search prompts and keys")).to_have_value("axr?")
    assert not page.get_by_role("dialog").count()
    assert not [url for url in visit.watched.requests if "/api/reviews" in url]


def test_the_layout_on_a_phone(visiting: Visiting) -> None:
    """At 390 px nothing is wider than the screen, and controls are at least 40 px high."""
    visit = visiting(viewport=PHONE, has_touch=True, is_mobile=True)
    page = visit.open()
    small = """(selector) => [...document.querySelectorAll(selector)]
      .filter(one => one.checkVisibility() && one.closest("[hidden]") === null)
      .map(one => [one.getBoundingClientRect(), one.outerHTML.slice(0, 90)])
      .filter(([box]) => box.width && (box.height < 40 || box.width < 40))
      .map(([box, html]) => `${box.width}x${box.height} ${html}`)"""
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    assert page.evaluate(small, ".top button, .top select, .top input, .tab, .pick, .act") == []
    page.locator(".card .pick").first.tap()
    expect(page.locator("#bulk")).to_be_visible()
    assert page.evaluate(wide) == 0
    assert page.evaluate(small, "#bulk .button") == []
    page.get_by_role("button", name="Clear the selection").tap()
    card(page, first_of(page, "done")).locator(".open").tap()
    expect(page.locator("#panel h2")).to_be_visible()
    assert page.evaluate(small, ".verdicts .button, .stage .step, .panel .close") == []
    box = page.evaluate("document.querySelector('#viewer').scrollWidth - innerWidth")
    assert box == 0
    page.get_by_role("button", name="Regenerate…").tap()
    expect(page.locator("#regenerate-cost")).to_contain_text("will be generated")
    assert page.evaluate("document.querySelector('#regenerate').scrollWidth - innerWidth") <= 0


def test_dark_mode(visiting: Visiting) -> None:
    """The colours follow the system's setting."""
    page = visiting(4, color_scheme="dark").open()
    expect(page.locator("body")).to_have_css("background-color", "rgb(16, 16, 19)")
    page.emulate_media(color_scheme="light")
    expect(page.locator("body")).to_have_css("background-color", "rgb(247, 247, 245)")


def test_markup_in_prompts_and_names_is_text(visiting: Visiting) -> None:
    """XSS: a prompt is shown as text; none of it runs, and the policy has nothing to block."""
    attack = '<img src=x onerror="window.pwned=1"><script>window.pwned=2</script>\'"}</textarea>'
    visit = visiting(0)
    project = visit.served.project
    file = project.write_json("<img src=x onerror=window.pwned=3>".replace("/", ""), attack)
    assert safe_file_stem(file.stem) != file.stem
    project.write_json("javascript_{{7*7}}", "{{ 7 * 7 }} ${alert(1)} javascript:alert(1)")
    project.run("imagegen", "generate", "--image-size", "64x64", "--source", "json")
    page = visit.open()
    expect(page.locator(".card")).to_have_count(2)
    key = next(key for key in keys_of(page) if "img" in key)
    card(page, key).locator(".open").click()
    expect(page.locator("[data-prompt]")).to_have_text(attack)
    expect(page.locator("#panel")).to_contain_text("onerror=window.pwned=3")
    page.keyboard.press("r")
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value(attack)
    expect(page.locator("#regenerate-cost")).to_contain_text("will be generated")
    page.goto(visit.served.url + "/?text=" + "%3Cimg%20src%3Dx%20onerror%3Dwindow.pwned%3D4%3E")
    expect(page.locator("main")).to_contain_text("onerror=window.pwned=4")
    assert page.evaluate("window.pwned") is None
