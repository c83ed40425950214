"""Bytes that claim to be an image: complete ones, polyglot files, unsupported formats."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing

import pytest
from PIL import Image

from imagegen_pipeline.domain.errors import NotAPictureError
from imagegen_pipeline.domain.image.decode import decode_picture
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.sources.typed_prompts import typed_prompt
from imagegen_pipeline_tests.conftest import SHARED, SMALL, Project
from imagegen_pipeline_tests.integration.hostile.pictures import (
    ENCODERS,
    encoded,
    png,
)
from imagegen_pipeline_tests.integration.hostile.raw_server import OK, at_once, raw_server

Make = Callable[[], bytes]


@pytest.mark.parametrize("name", ENCODERS)
def test_what_encoders_write_is_a_picture(name: str) -> None:
    """Every kind of PNG, JPEG and WebP is accepted, with its size, bytes and preview."""
    data = ENCODERS[name]()
    picture = decode_picture(data)
    with Image.open(io.BytesIO(data)) as image:
        assert (picture.format, picture.width, picture.height) == (image.format, *image.size)
    assert picture.data == data
    assert Image.open(io.BytesIO(picture.preview)).size <= (144, 256)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("padding", [b"\0", bytes(5000), b"\n", b"\r\n\0\0"])
def test_padding_behind_a_picture_is_padding(name: str, padding: bytes) -> None:
    """Trailing zeros and line breaks, as sloppy copies have them, are accepted."""
    data = ENCODERS[name]() + padding
    assert decode_picture(data).data == data


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("cut", [1, 2, 5, 13, 0.5])
def test_a_picture_that_breaks_off_is_none(name: str, cut: float) -> None:
    """Without its last bytes it is refused, however few are missing."""
    data = ENCODERS[name]()
    end = len(data) - (cut if cut >= 1 else len(data) * cut)
    with pytest.raises(NotAPictureError, match="does not decode"):
        decode_picture(data[: int(end)])


def archive() -> bytes:
    """A ZIP."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("evil.sh", "rm -rf /")
    return out.getvalue()


BEHIND: list[tuple[str, Make, str]] = [
    ("a zip", archive, "seem to be a ZIP archive"),
    ("a pdf", lambda: b"\0\0%PDF-1.7\n%%EOF", "seem to be a PDF"),
    ("html", lambda: b"\n<!DOCTYPE html><script>alert(1)</script>", "seem to be a web page"),
    ("a script", lambda: b"#!/bin/sh\nrm -rf /", "seem to be a program"),
    ("a program", lambda: b"\x7fELF\x02\x01\x01" + bytes(900), "seem to be a program"),
    ("svg", lambda: b"<svg onload='alert(1)'/>", "seem to be SVG or XML"),
    ("a picture", lambda: encoded("PNG"), "seem to be a PNG"),
    ("another jpeg", lambda: encoded("JPEG"), "seem to be a JPEG"),
    ("its end once more", lambda: b"payload\xff\xd9", "begin with 70 61 79"),
    ("one byte", lambda: b"x", "begin with 78"),
]


@pytest.mark.parametrize(
    ("make", "looks"), [case[1:] for case in BEHIND], ids=[case[0] for case in BEHIND]
)
@pytest.mark.parametrize(
    "name", ["png", "apng", "jpeg", "jpeg, progressive", "webp", "webp with all"]
)
def test_a_picture_with_something_behind_it_is_refused(name: str, make: Make, looks: str) -> None:
    """A file that is an image to one program and something else to another is refused by name."""
    data = ENCODERS[name]()
    with pytest.raises(NotAPictureError, match="something else follows: they ") as caught:
        decode_picture(data + make())
    assert looks in str(caught.value)
    assert f"ends after {len(data):,} of its {len(data + make()):,} bytes" in str(caught.value)


OTHERS: list[tuple[str, Make, str]] = [
    ("svg", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG or XML"),
    ("svg with a head", lambda: b'\xef\xbb\xbf<?xml version="1.0"?><svg/>', "SVG or XML"),
    ("svg behind a remark", lambda: b"<!-- --><svg/>", "SVG or XML"),
    ("html", lambda: b"\n<HTML><body>", "a web page"),
    ("pdf", lambda: b"%PDF-1.7\n", "a PDF"),
    ("gif", lambda: encoded("GIF"), "a GIF"),
    ("zip", archive, "a ZIP archive"),
    ("tiff", lambda: encoded("TIFF"), "a TIFF"),
    ("big tiff", lambda: encoded("TIFF", big_tiff=True), "a TIFF"),
    ("eps", lambda: encoded("EPS"), "PostScript or EPS"),
    ("ico", lambda: encoded("ICO"), "an ICO"),
    ("bmp", lambda: encoded("BMP"), "a BMP"),
    ("avif", lambda: encoded("AVIF"), "an AVIF"),
    ("json", lambda: b'{"error": "expired"}', "JSON"),
    ("gzip", lambda: b"\x1f\x8b\x08\x00", "gzip"),
    ("jpeg 2000", lambda: encoded("JPEG2000"), "begin with 00 00 00 0c"),
    ("a picture behind something", lambda: b"%PDF-1.7\n" + encoded("PNG"), "a PDF"),
    ("an audio file", lambda: b"RIFF\x24\0\0\0WAVEfmt ", "begin with 52 49 46 46"),
    ("nothing", lambda: b"", "there are none"),
]


@pytest.mark.parametrize(
    ("make", "looks"), [case[1:] for case in OTHERS], ids=[case[0] for case in OTHERS]
)
def test_other_files_are_refused_by_their_name(make: Make, looks: str) -> None:
    """SVG, HTML, PDF, GIF, ZIP, TIFF, EPS, ICO and more: the message names the format."""
    with pytest.raises(NotAPictureError, match="are not a picture: ") as caught:
        decode_picture(make())
    assert looks in str(caught.value)


def test_a_jpeg_that_says_it_is_more_is_a_jpeg() -> None:
    """Markers of a multi-picture file (MPO) in a JPEG with one picture change nothing."""
    body = b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x01\0\0\0\x02\0\0\0\0\0\0\0"
    mark = b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body
    data = encoded("JPEG")
    picture = decode_picture(data[:2] + mark + data[2:])
    assert (picture.format, picture.suffix) == ("JPEG", ".jpg")


def test_real_pictures_of_the_users_pass() -> None:
    """All images beside the users' data are accepted."""
    suffixes = (".png", ".jpg", ".jpeg", ".webp")
    for path in SHARED.rglob("*"):
        if path.suffix.lower() in suffixes:
            assert decode_picture(path.read_bytes()).width > 0, path


@pytest.mark.parametrize("name", ["polyglot", "svg", "bomb"])
def test_what_was_paid_for_and_refused_is_kept_with_its_reason(
    name: str, live_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the whole pipeline: the item fails, and quarantine has the original bytes."""
    data = {
        "polyglot": encoded("PNG") + archive(),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "bomb": png(size=(60_000, 60_000), data=b""),
    }[name]
    body = json.dumps({"images": [{"b64_json": base64.b64encode(data).decode()}]}).encode()
    answer = at_once(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    with raw_server(answer) as server, monkeypatch.context() as patched:
        patched.setenv("DUOMI_BASE_URL", server.url)
        with closing(Pipeline()) as pipeline:
            prompt = typed_prompt("a harbour")
            pipeline.register(prompt)
            order = pipeline.order()
            (outcome,) = pipeline.generate_images(
                [prompt], PromptParameters(image_size=SMALL), order
            )
    assert (outcome.ok, outcome.error_kind) == (False, "not_a_picture")
    (kept,) = (live_project.data / "quarantine").glob("*.bin")
    assert kept.read_bytes() == data
    assert str(outcome.error) in kept.with_suffix(".txt").read_text()
    assert not list((live_project.data / "generated_images").glob("*.*"))
