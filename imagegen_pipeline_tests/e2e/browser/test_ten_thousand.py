"""Ten thousand images in a real browser."""

from __future__ import annotations

import pytest

from imagegen_pipeline_tests.e2e.browser.conftest import Visiting
from imagegen_pipeline_tests.e2e.browser.scrolling import scroll_through


@pytest.mark.long
def test_scrolling_keeps_the_page_small(visiting: Visiting) -> None:
    """While scrolling, the page contains a few hundred cards, not all of them."""
    page = visiting(10_000).open()
    seen = scroll_through(page)
    assert seen.moved > 10_000
    assert seen.nodes < 15_000
