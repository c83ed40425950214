"""Hypothesis runs the same histories every time and writes nothing into the repository."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "imagegen-hypothesis")
settings.register_profile("ci", derandomize=True, database=None, deadline=None)
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Disable logging: thousands of runs fail as intended, and hypothesis notes what matters."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
