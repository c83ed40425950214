"""Parsing of images and errors in providers' answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import BadAnswerError
from imagegen_pipeline.providers.base import RemoteImage
from imagegen_pipeline.providers.http import response_parsing
from imagegen_pipeline.providers.http.response_parsing import (
    LONGEST_URL,
    MOST_PICTURES,
    error_text,
    read_image,
    read_images,
    read_job_id,
    read_seconds,
    read_warnings,
    without_pictures,
)

URL = "https://pictures.example/a.png?sig=1"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (URL, RemoteImage(url=URL)),
        ("aGVsbG8=", RemoteImage(data=b"hello")),
        ("aGVs\r\n bG8=", RemoteImage(data=b"hello")),
        ("data:image/png;base64,aGVsbG8=", RemoteImage(data=b"hello")),
        ("DATA:image/png;base64,aGVsbG8=", RemoteImage(data=b"hello")),
        ("_-8", RemoteImage(data=b"\xff\xef")),
        (URL.replace("https", "HTTPS"), RemoteImage(url=URL.replace("https", "HTTPS"))),
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
    assert read_image(entry, provider="X") == expected


@pytest.mark.parametrize("entry", [None, "", 7, {}, {"filename": "x"}, ["aGVsbG8="], "a*b", "a"])
def test_what_is_no_picture_is_refused(entry: object) -> None:
    """Anything else is a bad answer that names the provider."""
    with pytest.raises(BadAnswerError, match="X "):
        read_image(entry, provider="X")


@pytest.mark.parametrize(
    "entry", ["\u00e9" * 8, {"x" * 5000: 1}, ["y" * 5000], "https://a/" + "z" * LONGEST_URL]
)
def test_a_refusal_does_not_repeat_a_long_entry(entry: object) -> None:
    """What is no picture is shown by its beginning: it goes into sentences and the ledger."""
    with pytest.raises(BadAnswerError, match="X ") as caught:
        read_image(entry, provider="X")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("blanks", ["", "\n" * 900])
def test_base64_over_the_limit_of_a_picture_is_not_decoded(
    blanks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its length says how long the picture would be; one byte less is decoded."""
    monkeypatch.setattr(response_parsing, "LARGEST_BYTES", 999)
    whole = "A" * (999 // 3 * 4)
    assert read_image(blanks[:500] + whole, provider="X") == RemoteImage(data=bytes(999))

    def decode(*_: object, **__: object) -> None:
        raise AssertionError("decoded all the same")

    monkeypatch.setattr("base64.b64decode", decode)
    for entry in (f"{blanks}{whole}AA", {"data": f"data:image/png;base64,{whole}AA"}):
        with pytest.raises(BadAnswerError, match="more than 999 bytes") as caught:
            read_image(entry, provider="X")
        assert caught.value.raw.endswith(b"AAAA"), "what was paid for can still be kept"


def test_many_pictures_are_cut_short_with_a_word() -> None:
    """The first sixteen are kept, in order; a warning says how many there were."""
    entries = [f"https://a.example/{number}" for number in range(MOST_PICTURES + 4)]
    images, warnings = read_images(entries, provider="X")
    assert [image.url for image in images] == entries[:MOST_PICTURES]
    (warning,) = warnings
    assert "X sent 20 pictures" in warning
    assert "the first 16 are kept" in warning
    assert read_images(entries[:MOST_PICTURES], provider="X") == (images, ())


def test_a_picture_behind_the_last_that_is_kept_is_not_looked_at() -> None:
    """Unreadable entries after those that are kept are ignored."""
    entries = [URL] * MOST_PICTURES + [None]
    assert len(read_images(entries, provider="X")[0]) == MOST_PICTURES


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ()),
        ("a warning", ()),
        ({"errors": 1}, ()),
        (["one", 2, {"three": 4}], ("one", "2", "{'three': 4}")),
        (["\x1b[2Jone\r\n\u202etwo", " ", "\x00"], ("[2Jone two",)),
    ],
)
def test_warnings_are_lines(value: object, expected: tuple[str, ...]) -> None:
    """Whatever a worker lists becomes lines that a terminal only shows."""
    assert read_warnings(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3391, 3.391),
        (0, 0.0),
        (2.5, 0.0025),
        (None, None),
        ("3391", None),
        (True, None),
        (-1, None),
        (10**20, None),
        ({}, None),
    ],
)
def test_only_a_time_is_a_time(value: object, expected: float | None) -> None:
    """Negative durations, ones over a week and texts are invalid, since costs depend on them."""
    assert read_seconds(value, parts=1000) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("c80ffee4-f315-4e25-a146-0f3d98cf024b-u1", "c80ffee4-f315-4e25-a146-0f3d98cf024b-u1"),
        ("task/1?x=../#", "task/1?x=../#"),
        (902, "902"),
        ("", None),
        ("..", None),
        ("a b", None),
        ("a\n", None),
        ("\u202ea", None),
        ("x" * 201, None),
        (True, None),
        (None, None),
        (["a"], None),
    ],
)
def test_only_a_short_word_names_a_job(value: object, expected: str | None) -> None:
    """A job's id is kept unchanged, or is invalid."""
    assert read_job_id(value) == expected


def test_warnings_are_few_and_short() -> None:
    """A worker cannot fill the ledger with them."""
    lines = read_warnings(["x" * 100_000] * 1000)
    assert len(lines) == MOST_PICTURES
    assert max(map(len, lines)) < 2100


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
