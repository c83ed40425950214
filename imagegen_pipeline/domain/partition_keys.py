"""Partition keys of items, and file names that are safe.

A key matches ``[A-Za-z0-9_-]+``: other characters break Dagster's UI, its ranges or paths.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]+")
_UNSAFE = re.compile(
    r'[\s/\\:*?"<>|\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+'
)
SLUG_LENGTH = 40
LONGEST_KEY = 180
"""Characters. File names of at most 255 contain a key, a time and suffixes."""


def is_key(text: str) -> bool:
    """Whether ``text`` is a valid partition key."""
    return len(text) <= LONGEST_KEY and KEY_PATTERN.fullmatch(text) is not None


def database_key(row_id: int | str) -> str:
    """The key of a row of the users' ``prompts`` table."""
    return f"db-{row_id}"


def json_key(stem: str) -> str:
    """The key of a prompt file: stays the same when the file moves or is edited."""
    return f"json-{_slug(stem)}-{_hash8(stem)}"


def typed_key(text: str) -> str:
    """The key of a typed prompt."""
    return f"prompt-{_slug(text)}-{_hash8(text)}"


def safe_file_stem(name: str, *, limit: int = 120) -> str:
    """``name`` with every unsafe character replaced by ``_``.

    Unsafe are path separators, control and bidirectional characters, blanks, and those that
    Windows forbids. The result is not empty, not hidden, and does not begin with ``-``.
    """
    text = unicodedata.normalize("NFC", name).strip()
    text = _UNSAFE.sub("_", text)
    text = text.encode()[:limit].decode(errors="ignore").strip()
    if text.startswith((".", "-")):
        text = "_" + text[1:]
    return text or "_"


def _slug(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "-", folded).strip("-").lower()
    return slug[:SLUG_LENGTH].strip("-") or "x"


def _hash8(text: str) -> str:
    return hashlib.sha256(unicodedata.normalize("NFC", text).encode()).hexdigest()[:8]
