"""The API's documentation page works under the content policy without other hosts."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from imagegen_pipeline_tests.e2e.browser.conftest import Visiting
from imagegen_pipeline_tests.integration.web.conftest import PARAMS


def test_the_api_can_be_read_and_tried_out(visiting: Visiting) -> None:
    """Every address is listed, and a base image can be requested. No other host is
    asked, and the policy has nothing to stop.
    """
    visit = visiting(0)
    page = visit.open("/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    described = visit.served.get("/openapi.json").json()["paths"]
    assert page.locator(".opblock").count() == sum(len(methods) for methods in described.values())
    block = page.locator("#operations-base_images-generate_api_generate_base_image_post")
    block.click()
    block.get_by_role("button", name="Try it out").click()
    block.locator("textarea").fill(json.dumps(PARAMS))
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table tbody .response-col_status").first).to_contain_text(
        "200"
    )
    assert visit.served.simulator.billed("runpod") == 1
