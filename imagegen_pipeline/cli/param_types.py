"""Option types: numbers within the chosen provider's limits, sizes, texts, keys.

Each check is a click callback: the value, or a BadParameter that names the option.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from imagegen_pipeline.providers.base import Capabilities

LONGEST_DELAY = 86_400


def finite(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    """A finite number: click's ranges accept ``nan``."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a number.")
    return value


def steps(_ctx: click.Context, _param: click.Parameter, value: int | None) -> int | None:
    """Inference steps that the chosen provider accepts."""
    return None if value is None else _within(value, _capabilities().steps)


def guidance(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A guidance scale that the chosen provider accepts."""
    allowed = None if value is None else _capabilities().guidance
    value = finite(ctx, param, value)
    return value if value is None or allowed is None else _within(value, allowed)


def seed(_ctx: click.Context, _param: click.Parameter, value: int | None) -> int | None:
    """A seed that the chosen provider accepts, or -1 for a random one."""
    return None if value is None else _within(value, (-1, _capabilities().seed[1]))


def _capabilities() -> Capabilities:
    from imagegen_pipeline.providers.registry import registry
    from imagegen_pipeline.settings import load_settings

    return registry().get(load_settings().prompt_provider).capabilities


_Number = TypeVar("_Number", int, float)


def _within(value: _Number, allowed: tuple[float, float]) -> _Number:
    least, most = allowed
    if not least <= value <= most:
        raise click.BadParameter(f"{value} is not in the range {least}<=x<={most}.")
    return value


def size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """``WxH`` in pixels."""
    from imagegen_pipeline.domain.errors import RequestRefusedError
    from imagegen_pipeline.domain.parameters import parse_size

    if value is not None:
        try:
            parse_size(value)
        except RequestRefusedError as error:
            raise click.BadParameter(error.sentence) from None
    return value


def text_or_blank(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A text that can be sent to a provider, or an empty one."""
    from imagegen_pipeline.domain.prompt_text import prompt_text_fault

    fault = prompt_text_fault(value, "text") if value and value.strip() else None
    if fault is not None:
        raise click.BadParameter(" ".join(fault))
    return value


def word(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A name, such as a model's: one line that is not blank."""
    if value is not None and not (value.strip() and value.isprintable()):
        raise click.BadParameter("It is blank or has unprintable characters.")
    return value.strip() if value is not None else None


def key(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A provider's key; the error does not repeat it."""
    from pydantic import SecretStr

    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.domain.validators import checked_key

    if value is None:
        return None
    try:
        return checked_key(SecretStr(value), "It").get_secret_value()
    except SetupError as error:
        raise click.BadParameter(error.sentence) from None
