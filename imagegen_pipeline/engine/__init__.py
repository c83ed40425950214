"""Generates images: ``generate`` takes tasks and gives an outcome for each as it finishes.

``batch`` bounds the concurrency, ``task_runner`` runs one item, ``submit_limiter`` decides when a
request may be sent, ``job_session`` polls and downloads, ``result_writer`` stores, and ``recovery``
continues what an earlier process left open. Nothing here imports Dagster.
"""

from imagegen_pipeline.engine.batch import Batch, generate
from imagegen_pipeline.engine.context import BatchOptions, Deadlines, EngineContext, ImageTask

__all__ = ["Batch", "BatchOptions", "Deadlines", "EngineContext", "ImageTask", "generate"]
