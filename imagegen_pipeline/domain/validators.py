"""Validators of settings: lists, addresses, one-word secrets, price files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.domain.prices import EXAMPLE

SHORTEST_TOKEN = 16
"""Characters: fewer could be guessed."""
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


def check_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """Web origins in lower case without a slash at their end; raises ValueError."""
    for origin in value:
        if not is_address(origin, ("http", "https")) or urlsplit(origin).path not in ("", "/"):
            raise ValueError(
                f"{origin[:100]!r} is not an origin such as https://pictures.example; any "
                "page of a named origin can spend money, so * is none"
            )
    return tuple(origin.rstrip("/").lower() for origin in value)


def is_one_word(key: SecretStr) -> bool:
    """Whether a secret is one word of printable ASCII, but for blanks around it."""
    word = key.get_secret_value().strip()
    return bool(word) and all("!" <= char <= "~" for char in word)


def checked_key(key: SecretStr, name: str) -> SecretStr:
    """``key`` without the blanks around it; raises SetupError, without it, for what is no key."""
    if not is_one_word(key):
        raise SetupError(
            f"{name} is not a key: a key is one word of plain letters, digits and signs.",
            remedy="Copy it again, without blanks, line breaks or quotation marks.",
        )
    return SecretStr(key.get_secret_value().strip())


def address(value: str) -> str:
    """An http(s) address without blanks around it or a slash at its end; raises ValueError."""
    if not is_address(value.strip(), ("http", "https")):
        raise ValueError("an address that begins with http:// or https:// is wanted")
    return value.strip().rstrip("/")


def _secret_address(value: SecretStr) -> SecretStr:
    """An address that itself is a secret, without blanks around it; a ValueError, which does not
    repeat it, for what is none.
    """
    address = value.get_secret_value().strip()
    if not is_one_word(value) or not is_address(address, ("http", "https")):
        raise ValueError("an address that begins with http:// or https:// is wanted")
    return SecretStr(address)


def _access_token(value: SecretStr) -> SecretStr:
    if not is_one_word(value) or len(value.get_secret_value().strip()) < SHORTEST_TOKEN:
        raise ValueError(
            f"a token is one word of at least {SHORTEST_TOKEN} letters, digits and signs, "
            "such as `openssl rand -hex 24` prints"
        )
    return SecretStr(value.get_secret_value().strip())


AccessToken = Annotated[SecretStr, AfterValidator(_access_token)]
Address = Annotated[str, AfterValidator(address)]
SecretAddress = Annotated[SecretStr, AfterValidator(_secret_address)]
"""An address that is a secret itself."""
