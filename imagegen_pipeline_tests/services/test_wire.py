"""Pictures and errors in the services' answers, wherever they stand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import BadAnswerError
from imagegen_pipeline.services.base import RemoteImage
from imagegen_pipeline.services.wire import error_text, read_image, without_pictures

URL = "https://pictures.example/a.png?sig=1"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (URL, RemoteImage(url=URL)),
        ("aGVsbG8=", RemoteImage(data=b"hello")),
        ("aGVs\r\n bG8=", RemoteImage(data=b"hello")),
        ("data:image/png;base64,aGVsbG8=", RemoteImage(data=b"hello")),
        ({"url": URL}, RemoteImage(url=URL)),
        ({"image_url": URL}, RemoteImage(url=URL)),
        ({"type": "s3_url", "data": URL, "filename": "x"}, RemoteImage(url=URL)),
        ({"url": "", "b64_json": "aGVsbG8="}, RemoteImage(data=b"hello")),
        ({"url": None, "image": "data:image/png;base64,aGVsbG8="}, RemoteImage(data=b"hello")),
        ({"base64": "aGVsbG8="}, RemoteImage(data=b"hello")),
    ],
)
def test_a_picture_is_read_in_every_guise(entry: object, expected: RemoteImage) -> None:
    """Base64, data URI or URL, bare or in an object, under each of the known names."""
    assert read_image(entry, service="X") == expected


@pytest.mark.parametrize("entry", [None, "", 7, {}, {"filename": "x"}, ["aGVsbG8="], "a*b", "a"])
def test_what_is_no_picture_is_refused(entry: object) -> None:
    """Anything else is a bad answer that names the service."""
    with pytest.raises(BadAnswerError, match="X "):
        read_image(entry, service="X")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ""),
        ({"error": None, "message": " "}, ""),
        ({"error": "a", "message": "b"}, "a"),
        ({"msg": "b"}, "b"),
        ({"error": {"code": 1, "message": "inside"}}, "inside"),
        ({"details": ["one", 2]}, "one; 2"),
        ({"error": json.dumps({"error_message": "m", "error_traceback": "t"})}, "m"),
        ({"error": '{"no": "message"}'}, '{"no": "message"}'),
        ({"error": "{broken"}, "{broken"),
        ({"error": {}, "description": "d"}, "d"),
    ],
)
def test_the_reason_is_found_wherever_it_stands(body: dict[str, Any], expected: str) -> None:
    """The first text among the known names, also nested, in a list or as JSON in a string."""
    assert error_text(body) == expected


def test_only_pictures_are_cut_short() -> None:
    """Base64 becomes its beginning and length; URLs, numbers and short texts stay."""
    long_url = "https://a.example/" + "x" * 400
    body: dict[str, Any] = {
        "images": [{"data": "A" * 5000, "url": long_url, "seed": 7}],
        "message": "fine",
    }
    kept = without_pictures(body)
    assert kept["images"][0]["data"] == f"{'A' * 40}… (5,000 characters)"
    assert kept["images"][0]["url"] == long_url
    assert (kept["images"][0]["seed"], kept["message"]) == (7, "fine")
    assert len(body["images"][0]["data"]) == 5000
