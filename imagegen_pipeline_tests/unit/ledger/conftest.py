"""A ledger in a scratch folder, and things to write in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imagegen_pipeline.ledger import Ledger


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a ledger that is not there yet."""
    return f"sqlite:///{tmp_path / 'ledger' / 'imagegen.db'}"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """A new ledger, closed after the test."""
    with closing(Ledger(url)) as opened:
        yield opened
