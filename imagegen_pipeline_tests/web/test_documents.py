"""What the docs say of the server is so."""

from __future__ import annotations

import re

from imagegen_pipeline_tests.conftest import ROOT
from imagegen_pipeline_tests.web import attacks


def between(page: str, name: str) -> str:
    """What stands in a page between a pair of marks."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    match = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end of {name} -->", text, re.DOTALL)
    assert match is not None
    return match[1]


def test_the_list_of_attacks_is_that_of_the_tests() -> None:
    """docs/http-api.md names each attack with the test that holds it off."""
    assert between("http-api.md", "attacks") == attacks.table()


def test_the_gallery_has_its_figures() -> None:
    """docs/gallery.md says how the gallery holds up with ten thousand pictures."""
    figures = between("gallery.md", "figures")
    assert "| pictures in the ledger | 10,000 |" in figures
    assert "| errors among them | 0 |" in figures


def test_every_picture_of_the_docs_is_there() -> None:
    """No page of the docs, nor the README, shows a picture that is missing."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for image in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / image).is_file(), f"{page.name}: {image}"
