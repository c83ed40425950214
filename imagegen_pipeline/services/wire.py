"""What the services' answers have in common: pictures in many guises, errors in many places."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from imagegen_pipeline.domain.errors import BadAnswerError
from imagegen_pipeline.services.base import RemoteImage

_DATA_FIELDS = ("b64_json", "data", "image", "base64")
_URL_FIELDS = ("url", "image_url")
_LONG = 200


def read_image(entry: Any, *, service: str) -> RemoteImage:  # noqa: ANN401 - any JSON value
    """One picture, given as base64, data URI or URL, bare or in an object."""
    if isinstance(entry, dict):
        for field in (*_URL_FIELDS, *_DATA_FIELDS):
            value = entry.get(field)
            if isinstance(value, str) and value:
                return read_image(value, service=service)
        raise BadAnswerError(f"{service} lists a picture without data or URL: {sorted(entry)!r}.")
    if not isinstance(entry, str) or not entry:
        raise BadAnswerError(f"{service} lists a picture that is no text: {entry!r:.100}.")
    if entry.startswith(("http://", "https://")):
        return RemoteImage(url=entry)
    return RemoteImage(data=_decode(entry, service=service))


def _decode(text: str, *, service: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    # The alphabet for URLs and a missing padding are seen too: paid bytes are not lost to them.
    plain = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadAnswerError(f"{service} sent base64 that does not decode: {error}.") from None


def error_text(body: dict[str, Any]) -> str:
    """What a body says went wrong, wherever it says so; empty when it does not."""
    for field in ("error", "message", "msg", "error_message", "details", "description"):
        value = body.get(field)
        if isinstance(value, dict):
            value = error_text(value)
        if isinstance(value, list):
            value = "; ".join(str(part) for part in value)
        if isinstance(value, str) and value.strip():
            return _inside_json(value.strip())
    return ""


def _inside_json(text: str) -> str:
    """RunPod's workers put a JSON object as a *string* into ``error``: its message is wanted."""
    if text.startswith("{"):
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if isinstance(inner, dict):
            return error_text({"message": inner.get("error_message")}) or text
    return text


def without_pictures(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The same JSON with long texts (pictures as base64) cut short."""
    if isinstance(value, dict):
        return {key: without_pictures(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_pictures(inner) for inner in value]
    is_picture = isinstance(value, str) and len(value) > _LONG and not value.startswith("http")
    return f"{value[:40]}… ({len(value):,} characters)" if is_picture else value
