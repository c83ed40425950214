"""The sentence of a cost estimate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagegen_pipeline.app.cost_estimate import CostEstimate
from imagegen_pipeline.web.gallery.cost_text import cost_sentence

NONE = CostEstimate(
    make=0,
    by_time=0,
    unpriced=0,
    reuse=0,
    refused=0,
    reasons=(),
    cost=0.0,
    reserve=0.0,
    spent_today=0.0,
    budget_day=None,
    budget_run=None,
)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"make": 1, "cost": 0.02}, "1 image will be generated, for about 0.02."),
        (
            {"make": 18, "by_time": 3, "cost": 0.45, "reserve": 0.75},
            "18 images will be generated, for about 0.45 (15 of them), billed by the second (3 "
            "of them). At most 0.75 is reserved in total.",
        ),
        (
            {"make": 2, "unpriced": 2, "cost": None, "reserve": None},
            "2 images will be generated, at an unknown price (set IMAGEGEN_PRICES).",
        ),
        (
            {"make": 4, "cost": 2.0, "reserve": 2.0, "budget_day": 5.0, "spent_today": 4.5},
            "4 images will be generated, for about 2. 0.5 is left of today's budget of 5. It stops "
            "before the budget is exceeded.",
        ),
        (
            {"refused": 2, "reasons": ("They have not failed.",)},
            "Nothing will be generated. 2 items cannot be requested: They have not failed.",
        ),
        ({"reuse": 3}, "Nothing will be generated. 3 existing images will be reused at no cost."),
    ],
)
def test_cost_sentence(facts: dict[str, object], message: str) -> None:
    """The number of images, their cost, the budget left, and the reasons for refused items."""
    assert cost_sentence(replace(NONE, **facts)).startswith(message)
