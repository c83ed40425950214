"""Ten thousand images and two hundred concurrent clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagegen_pipeline_tests.integration.web.figures import measure

MAX_MEMORY_MB = 256.0


@pytest.mark.long
def test_two_hundred_clients_get_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 clients for a minute on 10,000 images: no error, and bounded memory."""
    monkeypatch.setenv("IMAGEGEN_SIMULATOR", "1")
    monkeypatch.chdir(tmp_path)
    figures = measure(tmp_path)
    assert figures.tally.errors == {}
    assert figures.tally.requests > 1000
    assert figures.most_memory < MAX_MEMORY_MB
    assert figures.most_memory < figures.half_way_memory * 1.25
    assert figures.memory_after_reading < figures.memory_before + 20
