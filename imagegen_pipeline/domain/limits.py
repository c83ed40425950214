"""Limits on requests and money, for all processes on one ledger."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from imagegen_pipeline.domain.requests import ProviderName

_COUNT = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_COUNT_FORM = "write N for each provider, or NAME=N,OTHER=M"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one provider; None is no limit.

    ``in_flight``: simultaneous requests. ``per_minute`` and ``per_day``:
    requests that are sent in a minute and in a day (UTC).
    """

    in_flight: int | None = None
    per_minute: int | None = None
    per_day: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is any limit."""
        return (self.in_flight, self.per_minute, self.per_day) != (None, None, None)


@dataclass(frozen=True, slots=True)
class Budget:
    """The money that may be spent on all providers, in the price table's currency.

    ``run``: by one run or command with its retries. ``day``: in a day (UTC). None is no
    budget; 0 means that nothing may be bought.
    """

    run: float | None = None
    day: float | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is any budget."""
        return (self.run, self.day) != (None, None)


def parse_limit(value: object, providers: Collection[ProviderName]) -> dict[ProviderName, int]:
    """A limit by provider, from ``N`` (for each) or ``duomi=N,runpod=M``; raises ValueError.

    ``providers`` are the allowed names. A mapping by name is accepted too; an
    empty one limits nothing.
    """
    if isinstance(value, Mapping):
        return _by_provider([(str(name), str(n)) for name, n in value.items()], providers)
    text = str(value)
    if "=" not in text:
        return dict.fromkeys(providers, _count(text))
    parts = [part.partition("=") for part in text.split(",")]
    return _by_provider([(name, count) for name, _, count in parts], providers)


def _by_provider(
    pairs: Iterable[tuple[str, str]], providers: Collection[ProviderName]
) -> dict[ProviderName, int]:
    limits: dict[ProviderName, int] = {}
    for name, count in pairs:
        provider = name.strip()
        if provider not in providers:
            known = ", ".join(providers)
            raise ValueError(f"{provider[:60]!r} is no provider of {known}: {_COUNT_FORM}")
        if provider in limits:
            raise ValueError(f"{provider} appears twice: {_COUNT_FORM}")
        limits[provider] = _count(count)
    return limits


def _count(text: str) -> int:
    text = text.strip()
    if not _COUNT.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is not a whole number from 1 to 999999999: {_COUNT_FORM}")
    return int(text)


def parse_budget(value: object) -> float:
    """An amount of money; raises ValueError."""
    try:
        amount = float(str(value))
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise ValueError(
            f"{str(value)[:60]!r} is not an amount of money: write a number from 0 up, such as "
            "2.50, in the currency of IMAGEGEN_PRICES; 0 buys nothing"
        )
    return amount
