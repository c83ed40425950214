"""Builds the image task of a prompt or an actor: its request, folder and file name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.comfy.workflow import Workflow
from imagegen_pipeline.domain.parameters import (
    FLUX_GUIDANCE,
    PromptParameters,
    base_image_request,
    file_prefix,
)
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import Attempt, GenerationRequest, ProviderName
from imagegen_pipeline.engine import ImageTask
from imagegen_pipeline.providers.registry import registry
from imagegen_pipeline.settings import Settings
from imagegen_pipeline.storage.pictures import LocalStore


@dataclass(frozen=True, slots=True)
class RequestBuilder:
    """Turns source items into image tasks; ``graph`` gives the current workflow."""

    settings: Settings
    store: LocalStore
    graph: Callable[[], Workflow]

    def by_default(self, source_item: Prompt | Actor) -> ImageTask:
        """The task of the item's own source, with the default parameters."""
        if isinstance(source_item, Actor):
            return self.base_image(source_item)
        provider = registry().get(self.settings.prompt_provider)
        return self.image(source_item, provider.prompt_parameters)

    def image(self, prompt: Prompt, parameters: PromptParameters) -> ImageTask:
        """A prompt's image; raises RequestRefusedError for a malformed size, and WorkflowError."""
        digest = self._workflow_digest(parameters.provider)
        return self.of(prompt, parameters.request(prompt, workflow_digest=digest))

    def _workflow_digest(self, provider: ProviderName) -> str:
        return self.graph().digest if registry().get(provider).uses_workflow else ""

    def base_image(self, actor: Actor, own: str | None = None) -> ImageTask:
        """The task of an actor, with the current workflow; ``own`` as in ``ImageTask``."""
        return self.of(actor, self.base_image_request(actor), own)

    def base_image_request(self, actor: Actor) -> GenerationRequest:
        """The request for an actor's base image; raises WorkflowError."""
        name = self.settings.actor_provider
        provider = registry().get(name)
        if not provider.uses_workflow:
            usual = provider.prompt_parameters
            return base_image_request(
                actor, provider=name, model=usual.model, guidance=usual.guidance
            )
        graph = self.graph()
        guidance = FLUX_GUIDANCE if graph.guidance is None else graph.guidance
        return base_image_request(
            actor, provider=name, workflow_digest=graph.digest, guidance=guidance
        )

    def of(
        self, source_item: Prompt | Actor, request: GenerationRequest, own: str | None = None
    ) -> ImageTask:
        """The task of an item with this request; ``own`` as in ``ImageTask``."""
        if isinstance(source_item, Actor):
            return self._base_image_by(source_item, request, own)
        return ImageTask(
            key=source_item.key,
            kind="prompt",
            request=request,
            folder=self.store.relative(self.settings.output_dir),
            file_prefix=file_prefix(source_item),
            own=own,
            about={"source": source_item.source, "location": source_item.location},
        )

    def _base_image_by(
        self, actor: Actor, request: GenerationRequest, own: str | None
    ) -> ImageTask:
        folder = self.settings.base_images_dir / actor.name / "base_image"
        return ImageTask(
            key=actor.key,
            kind="actor",
            request=request,
            folder=self.store.relative(folder / "history"),
            file_prefix=f"{actor.name}_base",
            publish=self.store.relative(folder / f"{actor.name}_base.png"),
            own=own,
            about={"source": "actor", "location": actor.location},
        )

    def made_from(self, attempt: Attempt, source_item: Prompt | Actor) -> str | None:
        """The digest of the item if its image was made from its present version, else None. An
        image that was edited in the gallery counts for its item.
        """
        default = self.by_default(source_item).request
        counts = {default.fingerprint}
        if isinstance(source_item, Prompt):  # only its text counts: model and size are the run's
            asked = GenerationRequest(**{**attempt.request, "prompt": default.prompt})
            counts.add(asked.fingerprint)
        return source_item.digest if attempt.fingerprint in counts else None

    def as_sent(self, attempt: Attempt, source_item: Prompt | Actor) -> ImageTask:
        """The task as ``attempt`` was sent for it."""
        return self.of(source_item, GenerationRequest(**attempt.request), attempt.fingerprint)
