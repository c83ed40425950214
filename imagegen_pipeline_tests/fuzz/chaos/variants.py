"""What is killed: each provider and mode, with one worker and with two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from imagegen_pipeline_tests.conftest import SMALL


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of the table. ``latency`` is the provider's seconds for one image."""

    name: str
    title: str
    provider: Literal["duomi", "runpod"]
    workers: int
    mode: Literal["sync", "async"] = "async"
    answer: Literal["images:url", "images:b64_json"] = "images:url"
    concurrency: int = 3
    latency: float = 0.1

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of ``imagegen generate``: the smallest size of the model."""
        if self.mode == "sync":
            return ("--image-size", SMALL)
        return ("--model", "gpt-image-2", "--image-size", "640x1024")

    @property
    def asset(self) -> str:
        """The Dagster asset of the images."""
        return "actor_base_images" if self.provider == "runpod" else "generated_images"

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings of its workers."""
        return {"IMAGEGEN_DUOMI_MODE": self.mode, "IMAGEGEN_CONCURRENCY": str(self.concurrency)}


_ALL = (
    Variant("runpod", "RunPod", "runpod", 1),
    Variant("duomi-async", "Duomi asynchronous", "duomi", 1),
    Variant("duomi-sync", "Duomi synchronous, URLs", "duomi", 1, "sync"),
    Variant("duomi-sync-b64", "Duomi synchronous, base64", "duomi", 1, "sync", "images:b64_json"),
    Variant("runpod-two", "RunPod, two workers", "runpod", 2),
    Variant("duomi-async-two", "Duomi asynchronous, two workers", "duomi", 2),
    Variant("duomi-sync-two", "Duomi synchronous, URLs, two workers", "duomi", 2, "sync"),
)
VARIANTS = {variant.name: variant for variant in _ALL}
