"""What a picture costs. A price that nobody gave is unknown (None), never 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagegen_pipeline.domain.generation import GenerationRequest


class Prices:
    """A price table: ``{"duomi": {MODEL: PRICE}, "runpod": {"per_second": PRICE}}``.

    Duomi bills by picture, RunPod by second of execution. The services publish prices that
    change and differ by account, so the table is the user's own: none is built in.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._table = table

    def cost(self, request: GenerationRequest, run_seconds: float | None) -> float | None:
        """The cost of one picture made by ``request``, or None when it is not known."""
        prices = self._table.get(request.service)
        if not isinstance(prices, Mapping):
            return None
        if request.service == "runpod":
            rate = prices.get("per_second")
            return None if rate is None or run_seconds is None else float(rate) * run_seconds
        price = prices.get(request.model)
        return None if price is None else float(price)
