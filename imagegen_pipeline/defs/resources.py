"""The two services as Dagster resources: thin, over clients that know nothing of Dagster.

Keys are named by ``dg.EnvVar``, so that no value enters a snapshot that the UI shows, and
only when the variable is set, so that the location loads without any key.
"""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr, SecretStr

from imagegen_pipeline.settings import variable_is_set

if TYPE_CHECKING:
    from imagegen_pipeline.pipeline import Pipeline
    from imagegen_pipeline.providers.duomi.client import DuomiClient
    from imagegen_pipeline.providers.runpod.client import RunPodClient

    _OfPipeline = dg.ConfigurableResource[Pipeline]
    _OfDuomi = dg.ConfigurableResource[DuomiClient]
    _OfRunPod = dg.ConfigurableResource[RunPodClient]
else:  # what they are resources of is for the type checker alone
    _OfPipeline = _OfDuomi = _OfRunPod = dg.ConfigurableResource

_KEY = "Named by an environment variable; empty means that the settings are asked."


def key_variable(name: str) -> str:
    """The key's variable for a resource, by name; empty when it is not set here."""
    return dg.EnvVar(name) if variable_is_set(name) else ""


class PipelineResource(_OfPipeline):
    """Sources, ledger and store, from the environment's settings."""

    _opened: "Pipeline | None" = PrivateAttr(default=None)

    def get(self) -> "Pipeline":
        """The pipeline of this process, opened when first asked for."""
        if self._opened is None:
            from imagegen_pipeline.pipeline import Pipeline

            self._opened = Pipeline()
        return self._opened

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """Close what was opened, when the run or tick ends."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


class DuomiResource(_OfDuomi):
    """Duomi, text to image."""

    api_key: str = Field("", description=f"Duomi's key. {_KEY}", repr=False)
    base_url: str = Field("https://duomiapi.com", description="Without the path of the API.")

    def client(self, pipeline: "Pipeline") -> "DuomiClient":
        """A client, the simulator's when that is on; raises MissingKeyError."""
        key = SecretStr(self.api_key) if self.api_key else pipeline.settings.key_for("duomi")
        return pipeline.duomi_client(key, base_url=self.base_url)

    def __repr__(self) -> str:
        return f"DuomiResource(base_url={self.base_url!r})"

    __str__ = __repr__


class RunPodResource(_OfRunPod):
    """RunPod Serverless, base images with FLUX in ComfyUI."""

    api_key: str = Field("", description=f"RunPod's key. {_KEY}", repr=False)
    endpoint_id: str = Field("", description="The serverless endpoint; empty: the settings'.")
    base_url: str = Field("https://api.runpod.ai/v2", description="Without the endpoint.")

    def client(self, pipeline: "Pipeline") -> "RunPodClient":
        """A client, the simulator's when that is on; raises MissingKeyError."""
        key = SecretStr(self.api_key) if self.api_key else pipeline.settings.key_for("runpod")
        endpoint = self.endpoint_id or None
        return pipeline.runpod_client(key, endpoint_id=endpoint, base_url=self.base_url)

    def __repr__(self) -> str:
        return f"RunPodResource(base_url={self.base_url!r})"

    __str__ = __repr__
