"""Prices: costs, reserved amounts, and invalid tables."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from imagegen_pipeline.domain.prices import ImagePrices, OwnMachinePrices, PriceModel, SecondPrices
from imagegen_pipeline.domain.prices import Prices as PriceTable
from imagegen_pipeline.domain.prices import parse_prices as parse_table
from imagegen_pipeline.domain.requests import GenerationRequest, ProviderName
from imagegen_pipeline.providers.registry import price_models
from imagegen_pipeline_tests.conftest import ROOT

MODELS: dict[ProviderName, PriceModel] = {
    "duomi": ImagePrices,
    "runpod": SecondPrices,
    "own": OwnMachinePrices,
}
BY_GPU = {"gpu": "4090", "per_second": {"4090": 0.001, "A100": 0.002}}


def Prices(table: Any) -> PriceTable:  # noqa: N802 - the class with the providers of these tests
    """A table for the providers of these tests."""
    return PriceTable(table, MODELS)


def parse_prices(text: str) -> dict[str, Any]:
    """The table in a text, for the providers of these tests."""
    return parse_table(text, MODELS)


def request(
    provider: ProviderName = "duomi", *, model: str = "sdxl", size: tuple[int, int] = (1024, 1024)
) -> GenerationRequest:
    """One picture as asked for."""
    return GenerationRequest(provider, model, "a boat", *size, 20, 7.5, 5)


@pytest.mark.parametrize(
    ("prices", "cost"),
    [
        ({"sdxl": 0.01}, 0.01),
        ({"sdxl": 0}, 0.0),
        ({"sdxl": 0.01, "*": 0.03}, 0.01),
        ({"flux": 0.01, "*": 0.03}, 0.03),
        ({"sdxl": {"1024x1024": 0.01, "*": 0.02}}, 0.01),
        ({"sdxl": {"1024 X 1024": 0.01}}, 0.01),
        ({"sdxl": {"512x512": 0.01, "*": 0.02}}, 0.02),
        ({"*": {"1024x1024": 0.04}}, 0.04),
        ({"flux": 0.01}, None),
        ({"sdxl": {"512x512": 0.01}}, None),
        ({"sdxl": {"512x512": 0.01}, "*": 0.03}, None),
        ({"sdxl": {}}, None),
        ({}, None),
    ],
)
def test_duomis_price_depends_on_model_and_size(prices: dict[str, Any], cost: float | None) -> None:
    """A model's own price takes precedence over ``*``; an unnamed size has no price."""
    assert Prices({"duomi": prices}).cost(request(), None) == cost


@pytest.mark.parametrize(
    ("prices", "rate"),
    [
        ({"per_second": 0.001}, 0.001),
        ({"gpu": "A100", "per_second": 0.001}, 0.001),
        (BY_GPU, 0.001),
        ({**BY_GPU, "gpu": "A100"}, 0.002),
    ],
)
def test_runpods_price_is_per_second_on_the_endpoints_gpu(
    prices: dict[str, Any], rate: float
) -> None:
    """The cost is the execution time at the rate of the named GPU."""
    cost = Prices({"runpod": prices}).cost(request("runpod"), 3.391)
    assert cost == pytest.approx(3.391 * rate)


@pytest.mark.parametrize("seconds", [None, -1.0, float("nan"), float("inf")])
def test_without_a_valid_run_time_the_cost_is_unknown(seconds: float | None) -> None:
    """A missing or invalid execution time gives an unknown cost."""
    assert Prices({"runpod": {"per_second": 0.001}}).cost(request("runpod"), seconds) is None


@pytest.mark.parametrize("table", [{}, {"runpod": {}}, {"duomi": {"sdxl": 1}}])
def test_a_price_that_is_not_configured_is_unknown(table: dict[str, Any]) -> None:
    """An unknown cost and an unknown reserve are None, never 0."""
    assert Prices(table).cost(request("runpod"), 2.0) is None
    assert Prices(table).reserve(request("runpod"), 900.0) is None
    assert Prices({}).reserve(request(), 900.0) is None


def test_ones_own_machine_costs_nothing_unless_a_rate_is_set() -> None:
    """Without an entry the cost is 0 and reserves 0; a rate by second counts like RunPod's."""
    free = Prices({})
    assert free.cost(request("own"), None) == 0.0
    assert free.reserve(request("own"), 900.0) == 0.0
    assert Prices({"own": {"per_second": 0.01}}).cost(request("own"), 2.0) == 0.02


def test_the_reserve_is_the_highest_cost() -> None:
    """Duomi: the image's price. RunPod: the longest run at the rate."""
    prices = Prices({"duomi": {"sdxl": 0.01}, "runpod": BY_GPU})
    assert prices.reserve(request(), 900.0) == 0.01
    assert prices.reserve(request("runpod"), 900.0) == pytest.approx(0.9)


def test_an_assumed_price_is_reserved_and_never_a_cost() -> None:
    """An assumed price is reserved if the price is unknown; the cost stays unknown."""
    prices = Prices({"assumed": {"duomi": 0.05, "runpod": 0.0005}})
    assert prices.reserve(request(), 900.0) == 0.05
    assert prices.reserve(request("runpod"), 900.0) == pytest.approx(0.45)
    assert prices.cost(request(), None) is None
    assert prices.cost(request("runpod"), 3.0) is None


def test_a_known_price_takes_precedence_over_an_assumed_one() -> None:
    """A free model reserves nothing even if a price is assumed."""
    prices = Prices({"duomi": {"sdxl": 0, "flux": 0.02}, "assumed": {"duomi": 0.05}})
    assert prices.reserve(request(), 900.0) == 0.0
    assert prices.reserve(request(model="flux"), 900.0) == 0.02
    assert prices.reserve(request(model="sd3"), 900.0) == 0.05


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{'duomi': 1}", "it is not JSON"),
        ('{"duomi": ' * 100_000, "it is not JSON"),
        ("[]", "the price table: a JSON object is wanted"),
        ('{"doumi": {}}', "'doumi' is no provider; there are duomi, runpod, own, and 'assumed'"),
        ('{"duomi": 1}', "the prices of duomi: a JSON object is wanted"),
        ('{"duomi": null}', "the prices of duomi: a JSON object is wanted"),
        ('{"duomi": {"m": -0.01}}', "duomi 'm' is -0.01, not a number from 0 up"),
        ('{"duomi": {"m": "0.01"}}', "duomi 'm' is '0.01', not a number from 0 up"),
        ('{"duomi": {"m": true}}', "not a number from 0 up"),
        ('{"duomi": {"m": null}}', "not a number from 0 up"),
        ('{"duomi": {"m": NaN}}', "not a number from 0 up"),
        ('{"duomi": {"m": 1e999}}', "not a number from 0 up"),
        ('{"duomi": {"m": 1' + "0" * 400 + "}}", "not a number from 0 up"),
        ('{"duomi": {"m": {"64x64": -1}}}', "duomi 'm' '64x64' is -1, not a number from 0 up"),
        ('{"duomi": {"m": {"64": 1}}}', "duomi 'm' '64' is no size: write WIDTHxHEIGHT"),
        ('{"duomi": {"m": {"0x64": 1}}}', "duomi 'm' '0x64' is no size"),
        ('{"duomi": {"m": {"64x64": 1, "64X64": 2}}}', "duomi 'm' has two prices of 64x64"),
        ('{"duomi": {"m": 1, "m": 2}}', "'m' appears twice"),
        ('{"runpod": 0.0003}', "the prices of runpod: a JSON object is wanted"),
        ('{"runpod": {"per_minute": 1}}', "'per_second', not 'per_minute'"),
        ('{"runpod": {"per_second": -1}}', "runpod 'per_second' is -1, not a number"),
        ('{"runpod": {"gpu": "4090"}}', "no price of '4090', and none is built in: write {"),
        ('{"runpod": {"gpu": 4090, "per_second": 1}}', "runpod 'gpu' is 4090, not a GPU's name"),
        ('{"runpod": {"per_second": {"A100": 1}}}', "names no 'gpu' out of 'A100': write {"),
        (
            '{"runpod": {"gpu": "409O", "per_second": {"4090": 1, "A100": 2}}}',
            "no price of '409O': 'per_second' has '4090', 'A100'",
        ),
        (
            '{"runpod": {"gpu": "4090", "per_second": {"4090": 1, "A100": "x"}}}',
            "runpod 'per_second' 'A100' is 'x', not a number",
        ),
        ('{"assumed": 1}', "'assumed': a JSON object is wanted"),
        ('{"assumed": {"sdxl": 1}}', "'assumed' 'sdxl' is no provider"),
        ('{"assumed": {"duomi": -1}}', "'assumed' 'duomi' is -1, not a number from 0 up"),
        ('{"assumed": {"duomi": 0}}', "'assumed' 'duomi' is 0, which would reserve no money"),
    ],
)
def test_an_invalid_table_is_refused(text: str, message: str) -> None:
    """The message names the entry and the fault."""
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_prices(text)


def test_the_readmes_table_is_valid() -> None:
    """The README's price table is accepted with the prices of the registered providers."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    assert parse_table(text, price_models()) == json.loads(text)
