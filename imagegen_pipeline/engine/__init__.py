"""The one verb, ``generate``: requests in, an outcome for each as it finishes.

``batch`` bounds the concurrency, ``item`` is one item's life from reuse to a stored picture,
``sending`` is the conversation with a service. Nothing here knows Dagster.
"""

from imagegen_pipeline.engine.batch import Batch, generate
from imagegen_pipeline.engine.context import BatchOptions, Deadlines, EngineContext, ImageTask

__all__ = ["Batch", "BatchOptions", "Deadlines", "EngineContext", "ImageTask", "generate"]
