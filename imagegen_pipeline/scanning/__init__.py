"""Looking at the sources and writing down what they have: all of it, or what has changed.

A look opens only what has another stamp than in the ledger (``sources.stamps`` says what that
rests on), in parts that are written down one by one, for as long as it may take.
"""

from imagegen_pipeline.scanning.looks import Budget, Found, Look
from imagegen_pipeline.scanning.sources import Sources

__all__ = ["Budget", "Found", "Look", "Sources"]
