"""Parsing of providers' answers: images in several forms, errors in several fields.

Nothing in an answer is trusted: each size, depth and count has a limit, and texts for people are
one line without control characters.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from imagegen_pipeline.domain.errors import BadAnswerError
from imagegen_pipeline.domain.image.decode import LARGEST_BYTES
from imagegen_pipeline.providers.base import RemoteImage

MOST_VALUES = 200_000
"""Objects, lists and members in one answer; real ones have hundreds. Each takes memory."""
DEEPEST = 64
"""Lists and objects within each other."""
MOST_PICTURES = 16
"""Pictures of one answer that are kept. One was asked for; a graph may save a few."""
LONGEST_URL = 16_384
LONGEST_REASON = 2000
"""Characters of a provider's message, for sentences, logs and the ledger."""
LONGEST_JOB = 7 * 24 * 3600.0
"""Seconds. RunPod takes no longer executionTimeout."""
_JOB_ID = re.compile(r"(?=.*[A-Za-z0-9])[!-~]{1,200}")
_LONGEST_INTEGER = 21
"""Digits and sign: seeds have up to 20 digits. Longer numbers are read as None."""
_DATA_FIELDS = ("b64_json", "data", "image", "base64")
_URL_FIELDS = ("url", "image_url")
_LONG = 200
_BLANKS = b" \t\r\n\v\f"
_FOR_URLS = bytes.maketrans(b"-_", b"+/")
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
)


def read_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """The JSON value; None for invalid JSON, or one beyond MOST_VALUES or DEEPEST.

    A number that is not finite, or has more digits than any seed, is read as None.
    """
    if sum(text.count(sign) for sign in "[{,") > MOST_VALUES:
        return None
    try:
        value = json.loads(
            text, parse_int=_whole, parse_float=_finite, parse_constant=lambda _: None
        )
    except (ValueError, RecursionError):
        return None
    return value if _is_shallow(value) else None


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else None


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _is_shallow(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return True
    return False


def _inner(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON value
    """The lists and objects right within one, or none within anything else."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [inner for inner in values if isinstance(inner, dict | list)]


def one_line(text: str) -> str:
    """``text`` without line breaks, control characters or direction marks."""
    return _UNPRINTABLE.sub(" ", text)


def read_images(
    entries: Sequence[Any], *, provider: str
) -> tuple[tuple[RemoteImage, ...], tuple[str, ...]]:
    """The first MOST_PICTURES images of a list, and a warning if there are more.

    Raises BadAnswerError for one of them that cannot be read.
    """
    images = tuple(read_image(entry, provider=provider) for entry in entries[:MOST_PICTURES])
    if len(entries) <= MOST_PICTURES:
        return images, ()
    return images, (
        f"{provider} sent {len(entries):,} pictures where one was asked for: the first "
        f"{MOST_PICTURES} are kept, the others are not.",
    )


def read_warnings(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - any JSON value
    """A provider's warnings, as a few short lines; none for a value that is no list."""
    if not isinstance(value, list):
        return ()
    lines = [short_line(str(line)) for line in value[:MOST_PICTURES]]
    return tuple(line for line in lines if line)


def short_line(text: str) -> str:
    """A provider's message as one line of LONGEST_REASON characters at most."""
    line = one_line(text[: LONGEST_REASON + 1]).strip()
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


def read_seconds(value: Any, *, parts: int = 1) -> float | None:  # noqa: ANN401 - any JSON value
    """A duration in seconds, given in units of 1/``parts`` s; None for an invalid one.

    Costs are computed from it: a negative one, or one over a week (the longest job), is invalid.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    seconds = value / parts
    return seconds if 0 <= seconds <= LONGEST_JOB else None


def read_job_id(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """A job's id as a provider gives it; None for an invalid one.

    It is put into URLs (quoted), sentences and the ledger.
    """
    name = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return name if _JOB_ID.fullmatch(name) else None


def read_image(entry: Any, *, provider: str) -> RemoteImage:  # noqa: ANN401 - any JSON value
    """One image, given as base64, data URI or URL, bare or in an object."""
    if isinstance(entry, dict):
        for field in (*_URL_FIELDS, *_DATA_FIELDS):
            value = entry.get(field)
            if isinstance(value, str) and value:
                return read_image(value, provider=provider)
        raise BadAnswerError(
            f"{provider} lists a picture without data or URL: {sorted(entry)!r:.300}."
        )
    if not isinstance(entry, str) or not entry:
        raise BadAnswerError(f"{provider} lists a picture that is no text: {entry!r:.100}.")
    if entry[:8].lower().startswith(("http://", "https://")):
        if len(entry) > LONGEST_URL:
            raise BadAnswerError(f"{provider} lists a picture's URL of {len(entry):,} characters.")
        return RemoteImage(url=entry)
    return RemoteImage(data=_decode(entry, provider=provider))


def _decode(text: str, *, provider: str) -> bytes:
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    try:
        # The URL alphabet and missing padding are accepted: paid bytes are not lost to them.
        plain = text.encode("ascii").translate(_FOR_URLS, _BLANKS).rstrip(b"=")
        if len(plain) * 3 // 4 > LARGEST_BYTES:
            raise _too_large(provider, text)
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        reason = "it is no ASCII" if isinstance(error, UnicodeEncodeError) else error
        raise BadAnswerError(
            f"{provider} sent base64 that does not decode: {reason}.",
            raw=text.encode("utf-8", "replace"),
        ) from None


def _too_large(provider: str, text: str) -> BadAnswerError:
    return BadAnswerError(
        f"{provider} sent a picture in base64 that has more than {LARGEST_BYTES:,} bytes.",
        raw=text.encode("utf-8", "replace"),
    )


def error_text(body: dict[str, Any]) -> str:
    """A body's error message, from any of the usual fields, on one line; empty without one."""
    for field in ("error", "message", "msg", "error_message", "details", "description"):
        value = body.get(field)
        if isinstance(value, dict):
            value = error_text(value)
        if isinstance(value, list):
            value = "; ".join(str(part) for part in value[:MOST_PICTURES])
        if isinstance(value, str) and value.strip():
            return short_line(_inside_json(value.strip()))
    return ""


def _inside_json(text: str) -> str:
    """The message of an error that is a JSON object in a *string*, as RunPod's workers send it."""
    if text.startswith("{"):
        inner = read_json(text)
        if isinstance(inner, dict):
            return error_text({"message": inner.get("error_message")}) or text
    return text


def without_pictures(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The same JSON with long texts (images as base64) shortened."""
    if isinstance(value, dict):
        return {key: without_pictures(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_pictures(inner) for inner in value]
    if not isinstance(value, str):
        return value
    longest = LONGEST_URL if value.startswith("http") else _LONG
    return value if len(value) <= longest else f"{value[:40]}… ({len(value):,} characters)"
