"""A batch started from Python, in this process, in a scratch project of its own."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass

from benchmarks.dagster_run import first_submit
from benchmarks.scratch import scratch_project, write_prompts
from benchmarks.simulated_provider import SimulatedProvider
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.pipeline import Pipeline


@dataclass(frozen=True)
class BatchTime:
    """The time of a batch, in seconds."""

    seconds: float
    """From the call to the last outcome; the sources have been read before."""
    since_submit: float
    """From the first submit to the last outcome."""
    cpu_seconds: float
    """Of a core, by this process."""


def run_batch(
    provider: SimulatedProvider, count: int, size: tuple[int, int], *, at_once: int
) -> BatchTime:
    """Make the pictures of so many JSON prompts; RuntimeError unless every one was made, once."""
    with scratch_project() as root:
        provider.use()
        write_prompts(root, count)
        billed = provider.billed()
        with closing(Pipeline()) as pipeline:
            found = pipeline.scan_prompts(database=False)
            parameters = PromptParameters(image_size=f"{size[0]}x{size[1]}")
            order = pipeline.order(concurrency=at_once)
            began, used = time.time(), time.process_time()
            for outcome in pipeline.generate_images(found.prompts, parameters, order):
                if not outcome.ok:
                    raise RuntimeError(f"{outcome.item_key}: {outcome.reason}")
            ended, used = time.time(), time.process_time() - used
        if provider.billed() - billed != count:
            raise RuntimeError(f"{provider.billed() - billed} pictures of {count} were billed")
        return BatchTime(ended - began, ended - first_submit(count), used)
