"""The docs about the server are true."""

from __future__ import annotations

import json
import re
import subprocess

from imagegen_pipeline_tests.conftest import ROOT
from imagegen_pipeline_tests.integration.web import attacks
from imagegen_pipeline_tests.integration.web.conftest import Served


def between(page: str, name: str) -> str:
    """The text between a pair of marks."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    match = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end of {name} -->", text, re.DOTALL)
    assert match is not None
    return match[1]


def test_the_list_of_attacks_is_that_of_the_tests() -> None:
    """docs/http-api.md lists each attack with its test."""
    assert between("http-api.md", "attacks") == attacks.table()


def test_the_gallery_page_has_measurements() -> None:
    """docs/gallery.md has the gallery's measurements for ten thousand images."""
    figures = between("gallery.md", "figures")
    assert "| pictures in the ledger | 10,000 |" in figures
    assert "| errors among them | 0 |" in figures


def test_every_image_of_the_docs_exists() -> None:
    """No page of the docs, nor the README, links a missing image."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for image in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / image).is_file(), f"{page.name}: {image}"


def test_the_example_request_is_answered(server: Served) -> None:
    """The request of docs/http-api.md generates a base image."""
    page = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```bash\n(curl.*?)```", page, re.DOTALL)
    done = subprocess.run(
        ["bash", "-c", example.replace("http://127.0.0.1:8000", server.url)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(done.stdout)["status"] == "COMPLETED"


def test_the_command_for_approved_images(server: Served) -> None:
    """The command of docs/gallery.md writes the table of approved images."""
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ *(dagster asset materialize .*)$", page, re.MULTILINE)
    server.project.run(*command.split())
    assert (server.project.results / "approved_pictures.parquet").is_file()
