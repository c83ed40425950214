"""RunPod's description: settings, limits, prices and defaults."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, SecretStr

from imagegen_pipeline.domain.errors import MissingKeyError, SetupError
from imagegen_pipeline.domain.prices import SecondPrices
from imagegen_pipeline.domain.requests import GenerationRequest, ProviderName
from imagegen_pipeline.domain.validators import Address
from imagegen_pipeline.providers.base import (
    Capabilities,
    ClientOptions,
    FailureHints,
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

NAME: ProviderName = "runpod"
_SIMULATED_KEY = "simulated-runpod-key"
_SIMULATED_ENDPOINT = "simulated-endpoint"


class RunPodSettings(ProviderSettings):
    """RunPod's settings; ``endpoint_id`` is the serverless endpoint that runs the workflow."""

    api_key: SecretStr | None = Field(None, validation_alias="RUNPOD_API_KEY")
    endpoint_id: str | None = Field(None, validation_alias="RUNPOD_SERVER_100_ID")
    base_url: Address = Field("https://api.runpod.ai/v2", validation_alias="RUNPOD_BASE_URL")

    def endpoint(self) -> str:
        """The endpoint's id; raises MissingKeyError without one, and SetupError for a bad one."""
        variable = self.variable("endpoint_id")
        if self.endpoint_id is None:
            raise MissingKeyError(variable)
        endpoint = self.endpoint_id.strip()
        if not re.fullmatch(r"[A-Za-z0-9_-]+", endpoint):
            raise SetupError(
                f"{variable} is {endpoint!r}, which is no endpoint's id.",
                remedy="The id is the last part of the endpoint's address in RunPod's console.",
            )
        return endpoint


class RunPod(Provider[RunPodSettings]):
    """RunPod Serverless, which runs a ComfyUI graph."""

    name = NAME
    title = "RunPod"
    settings_model = RunPodSettings
    capabilities: ClassVar[Capabilities] = GRAPH_CAPABILITIES
    price_model = SecondPrices
    prompt_parameters = graph_parameters(NAME)
    key_field = "api_key"
    uses_workflow = True
    failure_hints = FailureHints(
        refused="Check that RUNPOD_API_KEY is configured, that the serverless endpoint is "
        "available, and the network.",
        no_response="RunPod may be down; check RUNPOD_SERVER_100_ID.",
        failed="The prompt may be too complex or contradictory: simplify the description, and "
        "check RunPod's log of the job.",
    )

    def open_client(self, settings: RunPodSettings, options: ClientOptions) -> ProviderClient:
        """See ``Provider.open_client``; raises WorkflowError too."""
        from imagegen_pipeline.providers.runpod.client import RunPodClient

        return RunPodClient(
            api_key=settings.required_key("api_key"),
            endpoint_id=settings.endpoint(),
            workflow=options.workflow(),
            base_url=settings.base_url,
            timeouts=options.timeouts,
            queue_seconds=options.queue_seconds,
            run_seconds=options.run_seconds,
        )

    def check_settings(self, settings: RunPodSettings) -> None:
        """See ``Provider.check_settings``: key and endpoint."""
        super().check_settings(settings)
        settings.endpoint()

    def check_request(self, request: GenerationRequest, workflow: Callable[[], Workflow]) -> None:
        """See ``Provider.check_request``."""
        check_graph_request(request, workflow())

    def simulated_settings(self, simulator_url: str) -> RunPodSettings:
        """See ``Provider.simulated_settings``."""
        return RunPodSettings(
            api_key=SecretStr(_SIMULATED_KEY),
            endpoint_id=_SIMULATED_ENDPOINT,
            base_url=f"{simulator_url}/runpod/v2",
        )
