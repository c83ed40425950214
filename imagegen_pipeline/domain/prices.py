"""The cost of an image. A price that is not configured is unknown (None), never 0.

The user configures the table; there are no built-in prices. Duomi publishes none. RunPod has
removed the rates by GPU from its documentation (docs.runpod.io/serverless/pricing), and the rates
published during 2026 differ (an H100: 0.00116 to 0.00133 a second).
"""

from __future__ import annotations

import json
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from imagegen_pipeline.domain.errors import RequestRefusedError
from imagegen_pipeline.domain.parameters import parse_size
from imagegen_pipeline.domain.requests import GenerationRequest, ProviderName

OTHER = "*"
"""Stands for every model or size that is not named."""
EXAMPLE = '{"PROVIDER": {"MODEL": 0.01}, "OTHER": {"per_second": 0.0003}}'
_GPU_FORM = '{"gpu": "NAME", "per_second": {"NAME": 0.0003}}'


class ProviderPrices(ABC):
    """The prices of one provider, read from its entry in the table.

    ``table`` is None if there is no entry. Raises ValueError for an invalid one.
    """

    @abstractmethod
    def __init__(self, provider: ProviderName, table: object) -> None: ...

    @abstractmethod
    def cost(self, request: GenerationRequest, run_seconds: float | None) -> float | None:
        """The cost of one image that took ``run_seconds`` of execution; None when not known."""

    @abstractmethod
    def assumed_cost(self, price: float, longest_run_seconds: float) -> float:
        """The highest cost of a request at an assumed ``price``."""


PriceModel = type[ProviderPrices]


class ImagePrices(ProviderPrices):
    """A price for each image, by model and size: ``{"MODEL": 0.01, "*": {"64x64": 0.02}}``.

    A model that is named with sizes has no price in any other size unless it has ``"*"`` too.
    """

    def __init__(self, provider: ProviderName, table: object) -> None:
        prices = _object({} if table is None else table, f"the prices of {provider}")
        self._prices = {
            model: _read_sizes(f"{provider} {model!r}", price) for model, price in prices.items()
        }

    def cost(self, request: GenerationRequest, run_seconds: float | None) -> float | None:  # noqa: ARG002
        """See ``ProviderPrices.cost``."""
        sizes = self._prices.get(request.model, self._prices.get(OTHER, {}))
        return sizes.get(request.size, sizes.get(OTHER))

    def assumed_cost(self, price: float, longest_run_seconds: float) -> float:  # noqa: ARG002
        """See ``ProviderPrices.assumed_cost``: the price of an image."""
        return price


class SecondPrices(ProviderPrices):
    """A price for each second of execution: ``{"per_second": 0.0003}``.

    With more than one GPU it is ``{"gpu": NAME, "per_second": {NAME: price, …}}``, where ``gpu``
    is the endpoint's. Responses do not report a worker's start and idle time, so the cost does not
    include them.
    """

    def __init__(self, provider: ProviderName, table: object) -> None:
        self._rate = _read_rate(provider, {} if table is None else table)

    def cost(self, request: GenerationRequest, run_seconds: float | None) -> float | None:  # noqa: ARG002
        """See ``ProviderPrices.cost``."""
        if self._rate is None or run_seconds is None or not 0 <= run_seconds < math.inf:
            return None
        return self._rate * run_seconds

    def assumed_cost(self, price: float, longest_run_seconds: float) -> float:
        """See ``ProviderPrices.assumed_cost``: the longest run at the price of a second."""
        return price * longest_run_seconds


class OwnMachinePrices(SecondPrices):
    """0 for each image, since the user's own machine bills nothing, unless a rate is set."""

    def cost(self, request: GenerationRequest, run_seconds: float | None) -> float | None:
        """See ``ProviderPrices.cost``."""
        return 0.0 if self._rate is None else super().cost(request, run_seconds)


class Prices:
    """A price table in one currency; raises ValueError for an invalid table.

    ```
    {PROVIDER: {"MODEL": 0.01, "OTHER": {"1024x1024": 0.01, "*": 0.02}, "*": 0.03},
     PROVIDER: {"per_second": 0.0003},
     "assumed": {PROVIDER: 0.05, PROVIDER: 0.0005}}
    ```

    ``models`` are the price models of the registered providers. ``assumed`` prices (of an image
    or a second) only reserve money under a budget; they are never a cost.
    """

    def __init__(self, table: Mapping[str, Any], models: Mapping[ProviderName, PriceModel]) -> None:
        self._table = _object(table, "the price table")
        self._models = models
        for name in self._table:
            if name not in (*models, "assumed"):
                known = ", ".join(models)
                raise ValueError(f"{name!r} is no provider; there are {known}, and 'assumed'")
        self._read: dict[ProviderName, ProviderPrices] = {}
        for name in self._table.keys() - {"assumed"}:
            self._prices_of(name)
        self._assumed = _read_assumed(self._table.get("assumed", {}), models)

    def cost(self, request: GenerationRequest, run_seconds: float | None) -> float | None:
        """The cost of one image of ``request``; None if it is unknown.

        ``run_seconds``: seconds of execution, as reported by the provider.
        """
        prices = self._prices_of(request.provider)
        return None if prices is None else prices.cost(request, run_seconds)

    def reserve(self, request: GenerationRequest, longest_run_seconds: float) -> float | None:
        """The highest cost of ``request``, to be reserved before it is sent; None if unknown.

        ``longest_run_seconds``: the deadline after which the job is ended. The assumed price is
        used if the price is unknown.
        """
        prices = self._prices_of(request.provider)
        if prices is None:
            return None
        known = prices.cost(request, longest_run_seconds)
        assumed = self._assumed.get(request.provider)
        if known is not None or assumed is None:
            return known
        return prices.assumed_cost(assumed, longest_run_seconds)

    def _prices_of(self, provider: ProviderName) -> ProviderPrices | None:
        """None for a provider that is no longer registered."""
        if provider not in self._read and provider in self._models:
            if provider in self._table:
                part: object = _object(self._table[provider], f"the prices of {provider}")
            else:
                part = None
            self._read[provider] = self._models[provider](provider, part)
        return self._read.get(provider)


def parse_prices(text: str, models: Mapping[ProviderName, PriceModel]) -> dict[str, Any]:
    """The price table in a JSON text, checked; raises ValueError."""
    try:
        table = json.loads(text, object_pairs_hook=_unique_names)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error})") from None
    except RecursionError:
        raise ValueError("it is not JSON that can be read (it is nested too deeply)") from None
    Prices(table, models)
    return dict(table)


def _unique_names(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"{name!r} appears twice in one object")
        table[name] = value
    return table


def _read_sizes(label: str, entry: object) -> dict[str, float]:
    if not isinstance(entry, Mapping):
        return {OTHER: _price(label, entry)}
    sizes: dict[str, float] = {}
    for name, price in entry.items():
        size = _size(label, name)
        if size in sizes:
            raise ValueError(f"{label} has two prices of {size}: write one of them")
        sizes[size] = _price(f"{label} {name!r}", price)
    return sizes


def _size(label: str, name: str) -> str:
    if name == OTHER:
        return OTHER
    try:
        width, height = parse_size(name)
    except RequestRefusedError:
        raise ValueError(
            f'{label} {name!r} is no size: write WIDTHxHEIGHT, such as "1024x1024", or "*" for '
            "any other"
        ) from None
    return f"{width}x{height}"


def _read_rate(provider: ProviderName, table: object) -> float | None:
    """The price of a second on the endpoint's GPU."""
    prices = _object(table, f"the prices of {provider}")
    for name in prices:
        if name not in ("gpu", "per_second"):
            raise ValueError(f"{provider} has 'gpu' and 'per_second', not {name!r}")
    gpu, rates = prices.get("gpu"), prices.get("per_second")
    if "gpu" in prices and not isinstance(gpu, str):
        raise ValueError(f"{provider} 'gpu' is {gpu!r}, not a GPU's name: write {_GPU_FORM}")
    if "per_second" not in prices:
        if gpu is None:
            return None
        raise ValueError(
            f"{provider} has no price of {gpu!r}, and none is built in: write {_GPU_FORM}"
        )
    if not isinstance(rates, Mapping):
        return _price(f"{provider} 'per_second'", rates)
    by_gpu = {
        name: _price(f"{provider} 'per_second' {name!r}", rate) for name, rate in rates.items()
    }
    known = ", ".join(map(repr, by_gpu)) or "no GPU"
    if gpu is None:
        raise ValueError(f"{provider} names no 'gpu' out of {known}: write {_GPU_FORM}")
    if gpu not in by_gpu:
        raise ValueError(f"{provider} has no price of {gpu!r}: 'per_second' has {known}")
    return by_gpu[gpu]


def _read_assumed(table: object, providers: Iterable[ProviderName]) -> dict[str, float]:
    known = tuple(providers)
    prices = _object(table, "'assumed'")
    for provider, price in prices.items():
        if provider not in known:
            raise ValueError(f"'assumed' {provider!r} is no provider; there are {', '.join(known)}")
        if _price(f"'assumed' {provider!r}", price) == 0:
            raise ValueError(f"'assumed' {provider!r} is 0, which would reserve no money")
    return dict(prices)


def _object(value: object, label: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{label}: a JSON object is wanted, such as {EXAMPLE}")  # noqa: TRY004
    return value


def _price(label: str, value: object) -> float:
    price = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if not 0 <= price <= sys.float_info.max:
        raise ValueError(f"{label} is {value!r:.60}, not a number from 0 up")
    return float(price)
