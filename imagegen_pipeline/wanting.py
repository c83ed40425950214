"""What is asked of the engine for a prompt or an actor: the request, the folder, the name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.generation import Attempt, GenerationRequest
from imagegen_pipeline.domain.parameters import (
    FLUX_GUIDANCE,
    PromptParameters,
    base_image_request,
    file_prefix,
)
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.workflow import Workflow
from imagegen_pipeline.engine import Wanted
from imagegen_pipeline.settings import Settings
from imagegen_pipeline.store import LocalStore


@dataclass(frozen=True, slots=True)
class Wanting:
    """Turns items into what the engine makes; ``graph`` gives the workflow as it is now."""

    settings: Settings
    store: LocalStore
    graph: Callable[[], Workflow]

    def by_default(self, thing: Prompt | Actor) -> Wanted:
        """What the item's own source asks for, in the users' defaults."""
        if isinstance(thing, Actor):
            return self.base_image(thing)
        return self.image(thing, PromptParameters())

    def image(self, prompt: Prompt, parameters: PromptParameters) -> Wanted:
        """A prompt's picture; raises RequestRefusedError for a size that is none."""
        return self.of(prompt, parameters.request(prompt))

    def base_image(self, actor: Actor, own: str | None = None) -> Wanted:
        """An actor's base image, with the workflow as it is now; ``own`` as in ``Wanted``."""
        return self.of(actor, self.base_image_request(actor), own)

    def base_image_request(self, actor: Actor) -> GenerationRequest:
        """The request for an actor's base image; raises WorkflowError."""
        graph = self.graph()
        guidance = FLUX_GUIDANCE if graph.guidance is None else graph.guidance
        return base_image_request(actor, workflow_digest=graph.digest, guidance=guidance)

    def of(
        self, thing: Prompt | Actor, request: GenerationRequest, own: str | None = None
    ) -> Wanted:
        """An item's picture by this very request."""
        if isinstance(thing, Actor):
            return self._base_image_by(thing, request, own)
        return Wanted(
            key=thing.key,
            request=request,
            folder=self.store.relative(self.settings.output_dir),
            file_prefix=file_prefix(thing),
            own=own,
            about={"source": thing.source, "location": thing.location},
        )

    def _base_image_by(self, actor: Actor, request: GenerationRequest, own: str | None) -> Wanted:
        folder = self.settings.base_images_dir / actor.name / "base_image"
        return Wanted(
            key=actor.key,
            request=request,
            folder=self.store.relative(folder / "history"),
            file_prefix=f"{actor.name}_base",
            publish=self.store.relative(folder / f"{actor.name}_base.png"),
            own=own,
            about={"source": "actor", "location": actor.location},
        )

    def made_from(self, attempt: Attempt, thing: Prompt | Actor) -> str | None:
        """The version of the item that its picture was made from: the present one, or None when
        the item has changed since. One that was edited in the gallery counts for its item.
        """
        default = self.by_default(thing).request
        counts = {default.fingerprint}
        if isinstance(thing, Prompt):  # its text is all of it: model and size are the run's
            asked = GenerationRequest(**{**attempt.request, "prompt": default.prompt})
            counts.add(asked.fingerprint)
        return thing.digest if attempt.fingerprint in counts else None

    def as_sent(self, attempt: Attempt, thing: Prompt | Actor) -> Wanted:
        """An item as it was when ``attempt`` was sent for it."""
        return self.of(thing, GenerationRequest(**attempt.request), attempt.fingerprint)
