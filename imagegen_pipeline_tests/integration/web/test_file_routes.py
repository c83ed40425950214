"""Originals, thumbnails and ZIP files: bytes, caching and memory."""

from __future__ import annotations

import csv
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from PIL import Image

from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.web.gallery.zip_downloads import (
    KEPT_SECONDS,
    MAX_KEPT,
    Downloads,
    Entry,
    entries_of,
    pack,
)
from imagegen_pipeline_tests.integration.web.conftest import ACTOR, Served
from imagegen_pipeline_tests.integration.web.test_attacks import StillClock
from imagegen_pipeline_tests.integration.web.test_job_routes import ended, generate, typed


@pytest.fixture
def attempt(server: Served) -> Attempt:
    """A stored base image."""
    server.make()
    (made,) = server.pipeline.ledger.gallery.history(ACTOR)
    return made


def bytes_of(server: Served, attempt: Attempt) -> bytes:
    """The bytes of the image file."""
    return server.pipeline.store.absolute(str(attempt.path)).read_bytes()


def test_the_original_has_the_providers_bytes(server: Served, attempt: Attempt) -> None:
    """With its media type, and cacheable forever by its digest."""
    answer = server.get(f"/pictures/{attempt.id}")
    assert answer.status_code == 200
    assert answer.content == bytes_of(server, attempt)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["etag"] == f'"{attempt.digest}"'
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert "content-disposition" not in answer.headers
    saved = server.get(f"/pictures/{attempt.id}?download=1")
    assert saved.headers["content-disposition"].startswith('attachment; filename="')
    assert ACTOR in saved.headers["content-disposition"]


def test_a_cached_image_is_not_sent_again(server: Served, attempt: Attempt) -> None:
    """304 without a body for an image or thumbnail with a known ETag."""
    for path in (f"/pictures/{attempt.id}", f"/thumbnails/{attempt.id}.webp"):
        tag = server.get(path).headers["etag"]
        for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            again = server.get(path, headers={"if-none-match": known})
            assert again.status_code == 304, (path, known)
            assert again.content == b""
            assert again.headers["etag"] == tag
        assert server.get(path, headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=10-", 10, None), ("bytes=-5", -5, None), ("bytes=0-0", 0, 1)],
)
def test_a_range_of_an_image(
    server: Served, attempt: Attempt, asked: str, start: int, end: int | None
) -> None:
    """206 with the bytes of one range."""
    whole = bytes_of(server, attempt)
    answer = server.get(f"/pictures/{attempt.id}", headers={"range": asked})
    assert answer.status_code == 206
    assert answer.content == whole[start:end]
    assert answer.headers["content-range"].endswith(f"/{len(whole)}")


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_range_outside_the_file(server: Served, attempt: Attempt, asked: str) -> None:
    """416 with the file's size."""
    answer = server.get(f"/pictures/{attempt.id}", headers={"range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(bytes_of(server, attempt))}"


@pytest.mark.parametrize("asked", ["bytes", "bytes=", "bytes=9-2", "lines=1-2", "bytes=-", "=1-"])
def test_a_malformed_range(server: Served, attempt: Attempt, asked: str) -> None:
    """400 without any byte of the image."""
    answer = server.get(f"/pictures/{attempt.id}", headers={"range": asked})
    assert answer.status_code == 400
    assert len(answer.content) < 100


def test_several_ranges(server: Served, attempt: Attempt) -> None:
    """206 with each range as a part."""
    whole = bytes_of(server, attempt)
    answer = server.get(f"/pictures/{attempt.id}", headers={"range": "bytes=0-1,4-5"})
    assert answer.status_code == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert whole[0:2] in answer.content
    assert whole[4:6] in answer.content


@pytest.mark.parametrize(("tag", "status"), [(None, 206), ('"other"', 200)])
def test_a_range_of_a_known_version(
    server: Served, attempt: Attempt, tag: str | None, status: int
) -> None:
    """If-Range: a part of the version that the client has, else the whole image."""
    headers = {"range": "bytes=0-9", "if-range": tag or f'"{attempt.digest}"'}
    assert server.get(f"/pictures/{attempt.id}", headers=headers).status_code == status


def test_a_thumbnail_is_small_and_kept(server: Served, attempt: Attempt) -> None:
    """WebP of 480 pixels at most, made once for twenty concurrent requests."""
    path = f"/thumbnails/{attempt.id}.webp"
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: server.get(path), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].headers["content-type"] == "image/webp"
    with Image.open(io.BytesIO(answers[0].content)) as small:
        assert small.format == "WEBP"
        assert max(small.size) <= 480
    folder = server.project.results / ".imagegen" / "thumbnails"
    (kept,) = [file for file in folder.rglob("*") if file.is_file()]
    assert kept.name == f"{attempt.digest}.webp"
    assert kept.read_bytes() == answers[0].content


def test_a_large_image_becomes_480_pixels_high(server: Served) -> None:
    """A portrait's longer side is 480 pixels, its shape is kept."""
    server.make(width=1024, height=1536)
    (made,) = server.pipeline.ledger.gallery.history(ACTOR)
    small = server.get(f"/thumbnails/{made.id}.webp").content
    with Image.open(io.BytesIO(small)) as image:
        assert image.size == (320, 480)


def test_a_missing_file_is_404(server: Served, attempt: Attempt) -> None:
    """404 with the reason, for a file that was moved and for an attempt without an image."""
    server.pipeline.store.absolute(str(attempt.path)).unlink()
    answer = server.get(f"/pictures/{attempt.id}")
    assert answer.status_code == 404
    assert "is missing" in answer.json()["error"]
    assert server.get("/pictures/999").json()["error"] == "Attempt 999 has no picture."


def packed(server: Served, attempts: list[int]) -> tuple[dict[str, object], zipfile.ZipFile]:
    """The response of a download, and its ZIP file."""
    answer = server.post("/api/downloads", {"attempts": attempts})
    assert answer.status_code == 200, answer.text
    file = server.get(answer.json()["href"])
    assert file.status_code == 200
    assert int(file.headers["content-length"]) == len(file.content) == answer.json()["bytes"]
    assert "attachment" in file.headers["content-disposition"]
    return answer.json(), zipfile.ZipFile(io.BytesIO(file.content))


def table(archive: zipfile.ZipFile) -> list[dict[str, str]]:
    """``prompts.csv``."""
    return list(csv.DictReader(io.StringIO(archive.read("prompts.csv").decode("utf-8-sig"))))


def test_many_images_as_one_file(server: Served) -> None:
    """The same bytes, a row of prompts.csv for each, and the length in advance."""
    keys = typed(server, 3)
    generate(server, "click-000001", keys)
    ended(server, "click-000001")
    made = {key: server.pipeline.ledger.gallery.history(key)[0] for key in keys}
    told, archive = packed(server, [one.id for one in made.values()])
    assert (told["pictures"], told["missing"]) == (3, 0)
    assert archive.testzip() is None
    rows = {row["key"]: row for row in table(archive)}
    assert set(rows) == set(keys)
    for key, row in rows.items():
        assert archive.read(row["file"]) == bytes_of(server, made[key])
        assert row["prompt"].startswith("picture ")
        assert row["seed"] == str(made[key].seed)
        assert row["size"] == "64x64"
        assert row["model"] == made[key].model
        assert row["cost"]
        assert row["whole"] == "yes"


def test_a_missing_file_does_not_break_the_zip(server: Served) -> None:
    """It is listed in the table instead, also if it is deleted after the request."""
    keys = typed(server, 3)
    generate(server, "click-000001", keys)
    ended(server, "click-000001")
    made = [server.pipeline.ledger.gallery.history(key)[0] for key in keys]
    files = [server.pipeline.store.absolute(str(one.path)) for one in made]
    files[0].unlink()
    answer = server.post("/api/downloads", {"attempts": [one.id for one in made]}).json()
    assert (answer["pictures"], answer["missing"]) == (2, 1)
    files[1].unlink()
    archive = zipfile.ZipFile(io.BytesIO(server.get(answer["href"]).content))
    assert archive.testzip() is None
    assert [row["file"] for row in table(archive)].count("missing") == 2
    assert len(archive.namelist()) == 2


def test_a_file_that_is_deleted_while_it_is_streamed(
    server: Served, attempt: Attempt, tmp_path: Path
) -> None:
    """The stream keeps the announced length, and the table marks the image as incomplete."""
    file = tmp_path / "x.png"
    file.write_bytes(b"x" * 100_000)
    archive = pack([Entry(attempt, "x.png", file)])
    size = len(archive)
    file.unlink()
    data = b"".join(archive)
    assert len(data) == size
    (row,) = table(zipfile.ZipFile(io.BytesIO(data)))
    assert (row["file"], row["whole"]) == ("x.png", "no ")


def test_names_in_a_zip_are_unique_and_plain(server: Served, attempt: Attempt) -> None:
    """Zip slip, and two images of one name: each name is safe and unique."""
    from dataclasses import replace

    paths = ("a/x.png", "b/x.png", "b/X.png", "../../evil.png", "c/prompts.csv", "/etc/..")
    entries = entries_of([(replace(attempt, path=path), None) for path in paths])
    names = [entry.name for entry in entries]
    assert len({name.lower() for name in names}) == len(names)
    assert not any("/" in name or "\\" in name or name.startswith(".") for name in names)
    assert "prompts.csv" not in names


def test_a_prompt_is_no_formula(server: Served, attempt: Attempt) -> None:
    """CSV injection: a prompt that a spreadsheet would run is text."""
    from dataclasses import replace

    evil = replace(attempt, request={**attempt.request, "prompt": '=HYPERLINK("http://evil")'})
    data = b"".join(pack([Entry(evil, "x.png", None)]))
    (row,) = table(zipfile.ZipFile(io.BytesIO(data)))
    assert row["prompt"].startswith("'=")


@pytest.mark.parametrize("begin", ["=", "+", "@", "\uff1d"])
def test_a_name_is_no_formula(attempt: Attempt, begin: str) -> None:
    """CSV injection: neither is a file's name, which a prompt file may bring, nor a key."""
    from dataclasses import replace

    evil = replace(attempt, item_key="-1-1", path=f"x/{begin}HYPERLINK(1).png")
    (entry,) = entries_of([(evil, None)])
    assert entry.name == "_HYPERLINK(1).png"
    (row,) = table(zipfile.ZipFile(io.BytesIO(b"".join(pack([entry])))))
    assert row["key"] == "'-1-1"


def test_what_is_kept_for_downloads_is_bounded(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest downloads are dropped when too many images are kept, and expired ones."""
    monkeypatch.setattr("imagegen_pipeline.web.gallery.zip_downloads.MAX_KEPT_PICTURES", 3)
    clock = StillClock()
    downloads = Downloads(clock)
    two = [Entry(attempt, "x.png", None)] * 2
    first, second = downloads.add(two), downloads.add(two)
    assert downloads.get(first) is None
    large = downloads.add(two * 2)
    assert downloads.get(second) is None
    assert downloads.get(large) is not None
    clock.moment += KEPT_SECONDS + 1
    downloads.add(two)
    assert len(downloads._kept) == 1


def test_downloads_are_few_and_short_lived(server: Served) -> None:
    """An id expires after ten minutes, or after a hundred newer ones."""
    clock = StillClock()
    downloads = Downloads(clock)
    first = downloads.add([])
    assert downloads.get(first) == ()
    for _ in range(MAX_KEPT):
        last = downloads.add([])
    assert downloads.get(first) is None
    clock.moment += KEPT_SECONDS + 1
    assert downloads.get(last) is None
    gone = server.get("/downloads/abcdefgh.zip")
    assert gone.status_code == 404
    assert "Request it again" in gone.json()["error"]
    assert server.post("/api/downloads", {"attempts": [999]}).status_code == 404


def test_head_requests(server: Served, attempt: Attempt) -> None:
    """HEAD returns GET's headers without the body; the event stream has no HEAD."""
    for path in (f"/pictures/{attempt.id}", f"/thumbnails/{attempt.id}.webp", "/", "/api/pictures"):
        whole = server.get(path)
        head = requests.head(server.url + path, timeout=10)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
        assert head.headers["content-length"] == str(len(whole.content))
    assert requests.head(f"{server.url}/api/events", timeout=10).status_code == 405
