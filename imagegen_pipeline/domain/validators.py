"""Types and validators of settings: lists, addresses, secrets, numbers."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.domain.limits import parse_budget

SHORTEST_TOKEN = 16
"""Characters. A shorter token could be guessed."""
_LONGEST_TIMEOUT = 7 * 24 * 3600


def split_commas(value: object) -> object:
    """``a, b`` as a tuple; a value that is not a text is returned unchanged."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


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
                "page of a named origin can spend money, so * is refused"
            )
    return tuple(origin.rstrip("/").lower() for origin in value)


def is_one_word(key: SecretStr) -> bool:
    """Whether a secret is one word of printable ASCII, apart from blanks around it."""
    word = key.get_secret_value().strip()
    return bool(word) and all("!" <= char <= "~" for char in word)


def checked_key(key: SecretStr, name: str) -> SecretStr:
    """``key`` without blanks around it; raises SetupError, which does not repeat it."""
    if not is_one_word(key):
        raise SetupError(
            f"{name} is not a key: a key is one word of plain letters, digits and signs.",
            remedy="Copy it again, without blanks, line breaks or quotation marks.",
        )
    return SecretStr(key.get_secret_value().strip())


def address(value: str) -> str:
    """An http(s) address without blanks around it or a slash at its end; raises ValueError."""
    if not is_address(value.strip(), ("http", "https")):
        raise ValueError("it is not an address that begins with http:// or https://")
    return value.strip().rstrip("/")


def _secret_address(value: SecretStr) -> SecretStr:
    """A secret address without blanks around it; raises ValueError, which does not repeat it."""
    address = value.get_secret_value().strip()
    if not is_one_word(value) or not is_address(address, ("http", "https")):
        raise ValueError("it is not an address that begins with http:// or https://")
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
"""An address that is a secret."""
CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]
Origins = Annotated[CommaList, AfterValidator(check_origins)]
Seconds = Annotated[float, Field(gt=0, le=_LONGEST_TIMEOUT, allow_inf_nan=False)]
Money = Annotated[float, BeforeValidator(parse_budget)]
