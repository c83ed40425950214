"""An example provider: an image of one colour, which the seed decides. Nothing is sent."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image
from pydantic import Field, SecretStr

from imagegen_pipeline.domain.errors import JobExpiredError
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.prices import ImagePrices
from imagegen_pipeline.domain.requests import GenerationRequest
from imagegen_pipeline.providers.base import (
    Capabilities,
    ClientOptions,
    JobReport,
    JobState,
    Provider,
    RemoteImage,
    Submission,
)
from imagegen_pipeline.providers.base import ProviderSettings as Settings


class SwatchSettings(Settings):
    """The example's settings."""

    api_key: SecretStr | None = Field(None, validation_alias="SWATCH_API_KEY")


class SwatchClient:
    """Answers each submit with the image at once."""

    name = "swatch"
    endpoint = "here"

    def submit(self, request: GenerationRequest) -> Submission:
        """Draw the image."""
        colour = (request.seed % 251, request.seed % 241, request.seed % 239)
        image = Image.effect_noise((request.width, request.height), 40).convert("RGB")
        image = Image.blend(image, Image.new("RGB", image.size, colour), 0.5)
        file = io.BytesIO()
        image.save(file, "PNG")
        picture = RemoteImage(data=file.getvalue())
        return Submission(report=JobReport(JobState.COMPLETED, images=(picture,)))

    def poll(self, job_id: str, endpoint: str) -> JobReport:  # noqa: ARG002 - the protocol's
        """There are no jobs."""
        raise JobExpiredError(f"There is no job {job_id}.", job_id=job_id)

    def cancel(self, job_id: str, endpoint: str) -> None:
        """There is nothing to cancel."""

    def health(self) -> dict[str, Any]:
        """There is nothing to tell."""
        return {}

    def close(self) -> None:
        """There is nothing to close."""


class Swatch(Provider[SwatchSettings]):
    """The description that the entry point registers."""

    name = "swatch"
    title = "Swatch"
    settings_model = SwatchSettings
    capabilities = Capabilities(steps=(1, 9), side=(16, 512), seed=(0, 999))
    price_model = ImagePrices
    prompt_parameters = PromptParameters(
        provider="swatch", model="noise", image_size="64x64", steps=1, seed=7
    )
    key_field = "api_key"

    def open_client(self, settings: SwatchSettings, options: ClientOptions) -> SwatchClient:  # noqa: ARG002
        """A client; the key is checked and not used."""
        settings.required_key("api_key")
        return SwatchClient()
