"""A pipeline that a signal can stop, for a command that does not hold its batch itself."""

from __future__ import annotations

from collections.abc import Iterable

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.engine import Batch, BatchOptions
from imagegen_pipeline.pipeline import Pipeline


class InterruptiblePipeline(Pipeline):
    """``stop()`` stops every batch that was begun, and those that are begun later."""

    def __init__(self) -> None:
        super().__init__()
        self._begun: list[Batch] = []
        self.stopped = False

    def stop(self) -> None:
        """Send nothing more; a job at a service is left there for the next run."""
        self.stopped = True
        for batch in self._begun:
            batch.stop(leave_jobs=True)

    def generate_images(
        self, prompts: Iterable[Prompt], parameters: PromptParameters, order: BatchOptions
    ) -> Batch:
        """See ``Pipeline.generate_images``."""
        return self._remember(super().generate_images(prompts, parameters, order))

    def generate_base_images(
        self, actors: Iterable[Actor], order: BatchOptions, *, own: str | None = None
    ) -> Batch:
        """See ``Pipeline.generate_base_images``."""
        return self._remember(super().generate_base_images(actors, order, own=own))

    def _remember(self, batch: Batch) -> Batch:
        self._begun.append(batch)
        if self.stopped:
            batch.stop(leave_jobs=True)
        return batch
