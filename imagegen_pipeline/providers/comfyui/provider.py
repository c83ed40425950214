"""ComfyUI's description: settings, limits, prices and defaults of a server of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, SecretStr

from imagegen_pipeline.domain.prices import OwnMachinePrices
from imagegen_pipeline.domain.requests import GenerationRequest, ProviderName
from imagegen_pipeline.domain.validators import Address
from imagegen_pipeline.providers.base import (
    Capabilities,
    ClientOptions,
    Provider,
    ProviderClient,
    ProviderSettings,
)
from imagegen_pipeline.providers.workflow_requests import (
    GRAPH_CAPABILITIES,
    check_graph_request,
    graph_parameters,
)

if TYPE_CHECKING:
    from imagegen_pipeline.domain.comfy.workflow import Workflow

NAME: ProviderName = "comfyui"
_SIMULATED_TOKEN = "simulated-comfyui-token"  # noqa: S105 - the simulator's own


class ComfyUISettings(ProviderSettings):
    """ComfyUI's settings; ``api_token`` is for a proxy in front of it that wants a bearer token."""

    base_url: Address = Field("http://127.0.0.1:8188", validation_alias="COMFYUI_BASE_URL")
    api_token: SecretStr | None = Field(None, validation_alias="COMFYUI_API_TOKEN")

    def token(self) -> SecretStr | None:
        """The token, None when there is none; raises SetupError for what is no token."""
        return None if self.api_token is None else self.required_key("api_token")


class ComfyUI(Provider[ComfyUISettings]):
    """A ComfyUI server of one's own, which runs the graph."""

    name = NAME
    title = "ComfyUI"
    settings_model = ComfyUISettings
    capabilities: ClassVar[Capabilities] = GRAPH_CAPABILITIES
    price_model = OwnMachinePrices
    prompt_parameters = graph_parameters(NAME)
    key_field = "api_token"
    uses_workflow = True

    def open_client(self, settings: ComfyUISettings, options: ClientOptions) -> ProviderClient:
        """See ``Provider.open_client``; raises WorkflowError too."""
        from imagegen_pipeline.providers.comfyui.client import ComfyUIClient

        return ComfyUIClient(
            base_url=settings.base_url,
            api_token=settings.token(),
            workflow=options.workflow(),
            timeouts=options.timeouts,
        )

    def check_settings(self, settings: ComfyUISettings) -> None:
        """See ``Provider.check_settings``: the token is optional."""
        settings.token()

    def check_request(self, request: GenerationRequest, workflow: Callable[[], Workflow]) -> None:
        """See ``Provider.check_request``."""
        check_graph_request(request, workflow())

    def simulated_settings(self, simulator_url: str) -> ComfyUISettings:
        """See ``Provider.simulated_settings``."""
        return ComfyUISettings(
            base_url=f"{simulator_url}/comfyui", api_token=SecretStr(_SIMULATED_TOKEN)
        )
