"""Building a pipeline leaves the caller's process as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import gc, os, signal

def state():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return dict(os.environ), gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), handlers

before = state()
import imagegen_pipeline
from imagegen_pipeline.pipeline import Pipeline
Pipeline().close()
assert state() == before
"""


def test_a_pipeline_changes_nothing_in_its_process(tmp_path: Path) -> None:
    """Importing the package and building a pipeline set no environment variable, no garbage
    collector setting and no signal handler.
    """
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=60, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
