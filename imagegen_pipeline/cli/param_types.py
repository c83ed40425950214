"""What options take: numbers within the services' limits, sizes, texts, keys.

Each check is a click callback: the value, or a BadParameter that names the option.
"""

from __future__ import annotations

import math

import click

LARGEST_SEED = 9_999_999_999
"""Duomi's largest."""
LONGEST_DELAY = 86_400


def finite(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    """A number: ``nan`` is none, although it lies outside of no range."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a number.")
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
    """A text that a service can be sent, or an empty one."""
    from imagegen_pipeline.domain.prompt_text import prompt_text_fault

    fault = prompt_text_fault(value, "text") if value and value.strip() else None
    if fault is not None:
        raise click.BadParameter(" ".join(fault))
    return value


def word(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A name, such as a model's: not blank, in one line."""
    if value is not None and not (value.strip() and value.isprintable()):
        raise click.BadParameter("It is blank, or holds what cannot be printed.")
    return value.strip() if value is not None else None


def key(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A service's key; a refusal does not repeat it."""
    from pydantic import SecretStr

    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.settings import checked_key

    if value is None:
        return None
    try:
        return checked_key(SecretStr(value), "It")
    except SetupError as error:
        raise click.BadParameter(error.sentence) from None
