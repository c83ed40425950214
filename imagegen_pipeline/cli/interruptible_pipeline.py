"""A pipeline that a signal can stop, for commands that do not run a batch themselves."""

from __future__ import annotations

from collections.abc import Iterable

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.engine import Batch, BatchOptions
from imagegen_pipeline.pipeline import Pipeline


class InterruptiblePipeline(Pipeline):
    """``stop()`` stops all batches, current and later ones."""

    def __init__(self) -> None:
        super().__init__()
        self._batches: list[Batch] = []
        self.stopped = False

    def stop(self) -> None:
        """Send nothing more. The next run collects the jobs that were sent."""
        self.stopped = True
        for batch in self._batches:
            batch.stop(leave_jobs=True)

    def generate_images(
        self, prompts: Iterable[Prompt], parameters: PromptParameters, order: BatchOptions
    ) -> Batch:
        """See ``Pipeline.generate_images``."""
        return self._track(super().generate_images(prompts, parameters, order))

    def generate_base_images(
        self, actors: Iterable[Actor], order: BatchOptions, *, own: str | None = None
    ) -> Batch:
        """See ``Pipeline.generate_base_images``."""
        return self._track(super().generate_base_images(actors, order, own=own))

    def _track(self, batch: Batch) -> Batch:
        self._batches.append(batch)
        if self.stopped:
            batch.stop(leave_jobs=True)
        return batch
