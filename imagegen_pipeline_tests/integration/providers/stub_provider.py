"""A fourth provider as a stub: what one folder has to hold."""

from __future__ import annotations

from pydantic import Field

from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.prices import SecondPrices
from imagegen_pipeline.providers.base import (
    Capabilities,
    ClientOptions,
    Provider,
    ProviderClient,
    ProviderSettings,
)


class StubSettings(ProviderSettings):
    """One setting."""

    address: str = Field("http://stub", validation_alias="STUB_ADDRESS")


class Stub(Provider[StubSettings]):
    """Makes nothing."""

    name = "stub"
    title = "Stub"
    settings_model = StubSettings
    capabilities = Capabilities(steps=(1, 2), side=(16, 64), seed=(0, 9), models=("one",))
    price_model = SecondPrices
    prompt_parameters = PromptParameters(provider="stub", image_size="64x64", steps=1, seed=5)

    def open_client(self, settings: StubSettings, options: ClientOptions) -> ProviderClient:
        """There is no client."""
        raise NotImplementedError
