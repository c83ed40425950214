"""Duomi's description: settings, limits, prices and defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, SecretStr

from imagegen_pipeline.domain.errors import RequestRefusedError
from imagegen_pipeline.domain.parameters import PromptParameters, parse_size
from imagegen_pipeline.domain.prices import ImagePrices
from imagegen_pipeline.domain.requests import GenerationRequest, ProviderName
from imagegen_pipeline.domain.validators import Address
from imagegen_pipeline.providers.base import (
    Capabilities,
    ClientOptions,
    Provider,
    ProviderClient,
    ProviderSettings,
)

if TYPE_CHECKING:
    from imagegen_pipeline.domain.comfy.workflow import Workflow

NAME: ProviderName = "duomi"
KNOWN_SIZES = ("1024x1024", "512x1024", "768x512", "768x1024", "1024x576", "576x1024")
KNOWN_MODELS = (
    "stabilityai/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-xl-base-1.0",
    "stabilityai/stable-diffusion-3-medium",
    "stabilityai/stable-diffusion-3-5-large",
    "black-forest-labs/FLUX.1-schnell",
    "black-forest-labs/FLUX.1-dev",
)
_GPT_PIXELS = (655_360, 8_294_400)
_SIMULATED_KEY = "simulated-duomi-key"


class DuomiSettings(ProviderSettings):
    """Duomi's settings."""

    api_key: SecretStr | None = Field(None, validation_alias="DUOMI_API_KEY")
    base_url: Address = Field("https://duomiapi.com", validation_alias="DUOMI_BASE_URL")
    mode: Literal["auto", "sync", "async"] = Field("auto", validation_alias="IMAGEGEN_DUOMI_MODE")


class Duomi(Provider[DuomiSettings]):
    """Duomi, text to image."""

    name = NAME
    title = "Duomi"
    settings_model = DuomiSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        steps=(1, 100),
        guidance=(0, 20),
        seed=(0, 9_999_999_999),
        side=(1, 99_999),
        model=True,
        models=KNOWN_MODELS,
        negative_prompt=True,
    )
    price_model = ImagePrices
    prompt_parameters: ClassVar[PromptParameters] = PromptParameters(provider=NAME)
    key_field = "api_key"

    def open_client(self, settings: DuomiSettings, options: ClientOptions) -> ProviderClient:
        """See ``Provider.open_client``."""
        from imagegen_pipeline.providers.duomi.client import DuomiClient

        return DuomiClient(
            api_key=settings.required_key("api_key"),
            base_url=settings.base_url,
            mode=settings.mode,
            timeouts=options.timeouts,
        )

    def check_request(
        self,
        request: GenerationRequest,
        workflow: Callable[[], Workflow],  # noqa: ARG002 - Duomi runs no graph
    ) -> None:
        """See ``Provider.check_request``."""
        check_request(request)

    def simulated_settings(self, simulator_url: str) -> DuomiSettings:
        """See ``Provider.simulated_settings``."""
        return DuomiSettings(api_key=SecretStr(_SIMULATED_KEY), base_url=f"{simulator_url}/duomi")


def check_request(request: GenerationRequest) -> None:
    """Refuse what the provider is known to refuse, before anything is sent."""
    Duomi.capabilities.check(request, Duomi.title)
    parse_size(request.size)
    if request.model.startswith("gpt-image"):
        least, most = _GPT_PIXELS
        pixels = request.width * request.height
        if request.width % 16 or request.height % 16 or not least <= pixels <= most:
            raise RequestRefusedError(
                f"{request.model} makes pictures whose sides are divisible by 16, of {least:,} "
                f"to {most:,} pixels; {request.size} is not one, 1024x1536 is."
            )
