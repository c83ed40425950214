"""What the values of settings look like: lists, addresses, one-word secrets, price files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

from imagegen_pipeline.domain.prices import EXAMPLE

_LARGEST_PRICE_FILE = 1_000_000


def split_commas(value: object) -> object:
    """``a, b`` as a tuple; what is no text stays as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def price_file_text(path: Path) -> str:
    """The text of a price file; a ValueError says what is wrong with it."""
    try:
        if not path.is_file():
            raise ValueError(f"there is no such file: write its path, or JSON such as {EXAMPLE}")
        if path.stat().st_size > _LARGEST_PRICE_FILE:
            raise ValueError(f"it has more than {_LARGEST_PRICE_FILE:,} bytes")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from None


def is_address(text: str, schemes: tuple[str, ...]) -> bool:
    """Whether ``text`` is an address with a host and one of these schemes."""
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_one_word(key: SecretStr) -> bool:
    """Whether a secret is one word of printable ASCII, but for blanks around it."""
    word = key.get_secret_value().strip()
    return bool(word) and all("!" <= char <= "~" for char in word)


def _secret_address(value: SecretStr) -> SecretStr:
    """An address that itself is a secret, without blanks around it; a ValueError, which does not
    repeat it, for what is none.
    """
    address = value.get_secret_value().strip()
    if not is_one_word(value) or not is_address(address, ("http", "https")):
        raise ValueError("an address that begins with http:// or https:// is wanted")
    return SecretStr(address)


SecretAddress = Annotated[SecretStr, AfterValidator(_secret_address)]
"""An address that whoever knows it can use."""
