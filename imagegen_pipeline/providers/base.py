"""Providers: the description that is registered, and the client protocol that the engine calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, SecretStr

from imagegen_pipeline.domain.errors import MissingKeyError, RequestRefusedError, SetupError
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.prices import PriceModel
from imagegen_pipeline.domain.requests import GenerationRequest, ProviderName
from imagegen_pipeline.domain.validators import checked_key

if TYPE_CHECKING:
    from imagegen_pipeline.domain.comfy.workflow import Workflow


class JobState(StrEnum):
    """The state of a job, in words that fit every provider."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """One image as a provider delivers it: by URL, or as the bytes themselves."""

    url: str | None = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class JobReport:
    """A provider's report of a job. A job that failed is not reported but raised.

    ``queue_seconds`` and ``run_seconds`` are the provider's own measure of its work, if it gives
    one. ``raw`` is its answer without the images' bytes, for the users' ``data`` field.
    """

    state: JobState
    images: tuple[RemoteImage, ...] = ()
    queue_seconds: float | None = None
    run_seconds: float | None = None
    seed: int | None = None
    warnings: tuple[str, ...] = ()
    raw: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """The result of a submit: a job to be polled, or the finished image at once."""

    job_id: str | None = None
    report: JobReport | None = None


class ProviderClient(Protocol):
    """A provider's API. Every call has time-outs and raises ProviderError types."""

    @property
    def name(self) -> ProviderName:
        """The provider's registered name."""

    @property
    def endpoint(self) -> str:
        """The address of its jobs: stored with every job id, for collecting later."""

    def submit(self, request: GenerationRequest) -> Submission:
        """Request one image; the request's seed is resolved. Sent once: never retried here."""

    def poll(self, job_id: str, endpoint: str) -> JobReport:
        """Read a job's state. Safe to repeat."""

    def cancel(self, job_id: str, endpoint: str) -> None:
        """Cancel a job. A job that is gone or ended already is no error."""

    def health(self) -> dict[str, Any]:
        """The provider's report of its queue and workers; empty when it has none."""

    def close(self) -> None:
        """Close all connections."""


@runtime_checkable
class FindsJobs(Protocol):
    """A client that chooses the job's id from an attempt's ``reference``, so that the job can be
    found although no answer came. It is optional for a client.
    """

    def submit_with_reference(self, request: GenerationRequest, reference: str) -> Submission:
        """See ``ProviderClient.submit``."""

    def find(self, reference: str) -> str | None:
        """The id of the job that was submitted with this reference; None when the provider does
        not know it or does not answer.
        """


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, for an answer's headers and each part of it, for a whole download."""

    connect: float = 10
    read: float = 120
    download: float = 60


class ProviderSettings(BaseModel):
    """Base of a provider's settings. ``settings.py`` reads them from the environment: a field's
    ``validation_alias`` is its variable. A secret is a ``SecretStr``, so that no text shows it.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field."""
        return str(cls.model_fields[field].validation_alias)

    def required_key(self, field: str) -> SecretStr:
        """The secret in ``field``; raises MissingKeyError, and SetupError for what is no key."""
        value = getattr(self, field)
        if value is None:
            raise MissingKeyError(self.variable(field))
        return checked_key(value, self.variable(field))

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """All secrets that are set, to be removed from texts."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value for value in values if isinstance(value, SecretStr))


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """What a client is opened with beside its provider's settings; times in seconds.

    ``queue_seconds`` and ``run_seconds`` are the deadlines after which the engine gives a job
    up. ``workflow`` reads the ComfyUI graph; raises WorkflowError.
    """

    timeouts: Timeouts
    workflow: Callable[[], Workflow]
    queue_seconds: float = 900
    run_seconds: float = 900


Range = tuple[float, float]
"""The least and the greatest value, both allowed."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider's requests may hold, and what its client supports.

    ``side`` is the range of width and height in pixels, each a multiple of ``side_step``.
    ``models`` are known to exist (empty: there is no list). ``guidance`` None: it has none.
    ``model`` False: the workflow decides. ``reported_cost``: its responses contain a job's cost.
    """

    steps: Range
    side: Range
    seed: tuple[int, int]
    guidance: Range | None = None
    side_step: int = 1
    model: bool = False
    models: tuple[str, ...] = ()
    negative_prompt: bool = False
    reference_image: bool = False
    lora: bool = False
    health: bool = False
    cancel: bool = False
    reported_cost: bool = False

    def check(self, request: GenerationRequest, title: str) -> None:
        """Raises RequestRefusedError for steps, guidance or a seed out of range."""
        values = (
            ("Steps are", request.steps, self.steps),
            ("Guidance is", request.guidance, self.guidance),
            ("Seeds are", request.seed, self.seed),
        )
        for words, value, allowed in values:
            if allowed is not None and not allowed[0] <= value <= allowed[1]:
                least, most = allowed
                raise RequestRefusedError(
                    f"{words} {_number(least)} to {_number(most)} at {title}, not {_number(value)}."
                )


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


@dataclass(frozen=True, slots=True)
class FailureHints:
    """Advice after a failed base image, beside the error's own remedy: when the provider refused,
    when it gave no answer, and when the generation failed.
    """

    refused: str = ""
    no_response: str = ""
    failed: str = ""


SettingsT = TypeVar("SettingsT", bound=ProviderSettings)


class Provider(ABC, Generic[SettingsT]):
    """The description of a provider: registered under ``name``, and all that others know of it.

    ``title`` is the name in sentences. ``prompt_parameters`` are the defaults for images of
    prompts. ``key_field`` is the field of ``settings_model`` that holds its key, if it has one.
    ``uses_workflow``: a request's fingerprint includes the digest of the ComfyUI graph.
    """

    name: ClassVar[ProviderName]
    title: ClassVar[str]
    settings_model: ClassVar[type[ProviderSettings]]
    capabilities: ClassVar[Capabilities]
    price_model: ClassVar[PriceModel]
    prompt_parameters: ClassVar[PromptParameters]
    key_field: ClassVar[str | None] = None
    uses_workflow: ClassVar[bool] = False
    failure_hints: ClassVar[FailureHints] = FailureHints()

    @abstractmethod
    def open_client(self, settings: SettingsT, options: ClientOptions) -> ProviderClient:
        """A client; raises MissingKeyError and SetupError. Nothing is sent."""

    def check_settings(self, settings: SettingsT) -> None:
        """Raises MissingKeyError when a live run has no key, and SetupError for a bad one."""
        if self.key_field is not None:
            settings.required_key(self.key_field)

    def check_request(
        self,
        request: GenerationRequest,
        workflow: Callable[[], Workflow],  # noqa: ARG002 - for providers that run a graph
    ) -> None:
        """Raises RequestRefusedError for what the provider is known to refuse. The request's
        seed is resolved; ``workflow`` as in ``ClientOptions``.
        """
        self.capabilities.check(request, self.title)

    def simulated_settings(self, simulator_url: str) -> SettingsT:  # noqa: ARG002
        """Settings for the local simulator at that address; raises SetupError without one."""
        raise SetupError(
            f"The local simulator does not simulate {self.title}.",
            remedy="Unset IMAGEGEN_SIMULATOR, or choose another provider.",
        )
