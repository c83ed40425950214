"""Old pictures that lie in an archive: shown, downloaded and made current like any other."""

from __future__ import annotations

import io
import zipfile

import pytest

from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline_tests.integration.maintenance.conftest import (
    age_pictures,
    clean,
    file_of,
    stored,
)
from imagegen_pipeline_tests.integration.web.conftest import ACTOR, Served


@pytest.fixture
def archived(server: Served) -> tuple[Attempt, bytes]:
    """An actor's older base image, moved into an archive; and its bytes."""
    server.make(seed=1)
    server.make(seed=2)
    age_pictures(server.pipeline)
    old, _ = stored(server.pipeline)
    data = file_of(server.pipeline, old).read_bytes()
    server.get(f"/thumbnails/{old.id}.webp")
    assert [done.ok for done in clean(server.pipeline)] == [True]
    assert not file_of(server.pipeline, old).exists()
    return old, data


def test_an_archived_image_is_shown(server: Served, archived: tuple[Attempt, bytes]) -> None:
    """Its page and thumbnail do not extract it; its original does."""
    old, data = archived
    assert server.get(f"/picture/{ACTOR}").status_code == 200
    assert server.get(f"/thumbnails/{old.id}.webp").status_code == 200
    assert not file_of(server.pipeline, old).exists()
    answer = server.get(f"/pictures/{old.id}")
    assert (answer.status_code, answer.content) == (200, data)
    assert file_of(server.pipeline, old).read_bytes() == data


def test_a_download_contains_archived_images(
    server: Served, archived: tuple[Attempt, bytes]
) -> None:
    """The ZIP file holds the same bytes."""
    old, data = archived
    made = server.post("/api/downloads", {"attempts": [old.id]}).json()
    assert (made["pictures"], made["missing"]) == (1, 0)
    with zipfile.ZipFile(io.BytesIO(server.get(made["href"]).content)) as packed:
        (name,) = [one for one in packed.namelist() if one.endswith(".png")]
        assert packed.read(name) == data


def test_an_archived_image_can_be_made_current(
    server: Served, archived: tuple[Attempt, bytes]
) -> None:
    """As for any older image; it is published at the actor's fixed path."""
    old, data = archived
    answer = server.post("/api/choices", {"attempt": old.id})
    assert answer.status_code == 200, answer.text
    assert server.pipeline.picture_path(old).read_bytes() == data
    current = server.pipeline.ledger.attempts.current(ACTOR)
    assert current is not None
    assert current.id == old.id


def test_a_missing_archive_is_named(server: Served, archived: tuple[Attempt, bytes]) -> None:
    """404 with the archive's name and the remedy."""
    old, _ = archived
    for zipped in (server.project.results / "archive").iterdir():
        zipped.unlink()
    answer = server.get(f"/pictures/{old.id}")
    assert answer.status_code == 404
    assert "archive/pictures-" in answer.text
    assert "restore it from a backup" in answer.text
    answer = server.post("/api/choices", {"attempt": old.id})
    assert 400 <= answer.status_code < 600
    assert "is missing" in answer.text
