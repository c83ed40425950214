"""What a picture costs. A price that nobody gave is unknown (None), never 0.

The table is the user's own, and none is built in. Duomi publishes no prices. RunPod has taken
the rates by GPU out of its documentation (docs.runpod.io/serverless/pricing), and what was
published of them during 2026 does not agree (an H100: 0.00116 to 0.00133 a second), so a rate
from here could be wrong without anybody noticing.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from imagegen_pipeline.domain.errors import RequestRefusedError
from imagegen_pipeline.domain.parameters import parse_size
from imagegen_pipeline.domain.requests import GenerationRequest, ProviderName

OTHER = "*"
"""In place of a model or a size: each that is not named."""
EXAMPLE = '{"duomi": {"MODEL": 0.01}, "runpod": {"per_second": 0.0003}}'
_PROVIDERS: tuple[ProviderName, ...] = get_args(ProviderName)
_GPU_FORM = '{"gpu": "NAME", "per_second": {"NAME": 0.0003}}'


class Prices:
    """A price table, in one currency; a ValueError says what of it is wrong.

    ```
    {"duomi": {"MODEL": 0.01, "OTHER": {"1024x1024": 0.01, "*": 0.02}, "*": 0.03},
     "runpod": {"per_second": 0.0003},
     "assumed": {"duomi": 0.05, "runpod": 0.0005}}
    ```

    Duomi's prices are of a picture, by model and size. RunPod's is of a second of execution;
    with more than one GPU it is ``{"gpu": NAME, "per_second": {NAME: price, …}}``, where
    ``gpu`` is the one that the endpoint runs on. A model that is named with sizes has no
    price in any other size unless it has ``"*"`` too. ``assumed`` prices (of a picture, of a
    second) only reserve money under a budget; a cost is never made of them.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        table = _object(table, "the price table")
        for name in table:
            if name not in (*_PROVIDERS, "assumed"):
                raise ValueError(
                    f"{name!r} is no service; there are duomi and runpod, and 'assumed'"
                )
        self._pictures = _read_pictures(table.get("duomi", {}))
        self._per_second = _read_rate(table.get("runpod", {}))
        self._assumed = _read_assumed(table.get("assumed", {}))

    def cost(self, request: GenerationRequest, run_seconds: float | None) -> float | None:
        """The cost of one picture made by ``request``, or None when it is not known.

        RunPod: ``run_seconds`` of execution, as the service measured them. What it bills for
        the start of a worker and its idle time is in no answer, and so not in the cost.
        """
        if request.provider == "duomi":
            return self._picture(request)
        if run_seconds is None or not 0 <= run_seconds < math.inf:
            return None
        return None if self._per_second is None else self._per_second * run_seconds

    def reserve(self, request: GenerationRequest, longest_run_seconds: float) -> float | None:
        """The most that ``request`` is to cost, to set aside before it is sent.

        RunPod: ``longest_run_seconds``, after which the platform ends the job, at its rate.
        The assumed price where none is known; None when there is none of these.
        """
        known = self.cost(request, longest_run_seconds)
        assumed = self._assumed.get(request.provider)
        if known is not None or assumed is None:
            return known
        return assumed if request.provider == "duomi" else assumed * longest_run_seconds

    def _picture(self, request: GenerationRequest) -> float | None:
        sizes = self._pictures.get(request.model, self._pictures.get(OTHER, {}))
        return sizes.get(request.size, sizes.get(OTHER))


def parse_prices(text: str) -> dict[str, Any]:
    """The price table in a JSON text, checked; raises ValueError."""
    try:
        table = json.loads(text, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error})") from None
    except RecursionError:
        raise ValueError("it is not JSON that can be read (it is nested too deeply)") from None
    Prices(table)
    return dict(table)


def _without_doubles(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"{name!r} stands twice in one object")
        table[name] = value
    return table


def _read_pictures(table: object) -> dict[str, dict[str, float]]:
    prices = _object(table, "the prices of duomi")
    return {model: _read_sizes(f"duomi {model!r}", price) for model, price in prices.items()}


def _read_sizes(place: str, entry: object) -> dict[str, float]:
    if not isinstance(entry, Mapping):
        return {OTHER: _price(place, entry)}
    sizes: dict[str, float] = {}
    for name, price in entry.items():
        size = _size(place, name)
        if size in sizes:
            raise ValueError(f"{place} has two prices of {size}: write one of them")
        sizes[size] = _price(f"{place} {name!r}", price)
    return sizes


def _size(place: str, name: str) -> str:
    if name == OTHER:
        return OTHER
    try:
        width, height = parse_size(name)
    except RequestRefusedError:
        raise ValueError(
            f'{place} {name!r} is no size: write WIDTHxHEIGHT, such as "1024x1024", or "*" for '
            "any other"
        ) from None
    return f"{width}x{height}"


def _read_rate(table: object) -> float | None:
    """The price of a second on the endpoint's GPU."""
    prices = _object(table, "the prices of runpod")
    for name in prices:
        if name not in ("gpu", "per_second"):
            raise ValueError(f"runpod has 'gpu' and 'per_second', not {name!r}")
    gpu, rates = prices.get("gpu"), prices.get("per_second")
    if "gpu" in prices and not isinstance(gpu, str):
        raise ValueError(f"runpod 'gpu' is {gpu!r}, not a GPU's name: write {_GPU_FORM}")
    if "per_second" not in prices:
        if gpu is None:
            return None
        raise ValueError(f"runpod has no price of {gpu!r}, and none is built in: write {_GPU_FORM}")
    if not isinstance(rates, Mapping):
        return _price("runpod 'per_second'", rates)
    by_gpu = {name: _price(f"runpod 'per_second' {name!r}", rate) for name, rate in rates.items()}
    known = ", ".join(map(repr, by_gpu)) or "no GPU"
    if gpu is None:
        raise ValueError(f"runpod names no 'gpu' out of {known}: write {_GPU_FORM}")
    if gpu not in by_gpu:
        raise ValueError(f"runpod has no price of {gpu!r}: 'per_second' has {known}")
    return by_gpu[gpu]


def _read_assumed(table: object) -> dict[str, float]:
    prices = _object(table, "'assumed'")
    for provider, price in prices.items():
        if provider not in _PROVIDERS:
            raise ValueError(f"'assumed' {provider!r} is no service; there are duomi and runpod")
        if _price(f"'assumed' {provider!r}", price) == 0:
            raise ValueError(f"'assumed' {provider!r} is 0, and so would hold no budget")
    return dict(prices)


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what}: a JSON object is wanted, such as {EXAMPLE}")  # noqa: TRY004
    return value


def _price(place: str, value: object) -> float:
    price = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if not 0 <= price <= sys.float_info.max:
        raise ValueError(f"{place} is {value!r:.60}, not a number from 0 up")
    return float(price)
