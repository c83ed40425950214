"""Memory that goes back to the system, each in a process of its own."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

SPREAD = """
from pathlib import Path
from imagegen_pipeline.steady_memory import give_memory_back, keep_memory_steady

def held() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 1_000_000

keep_memory_steady()
large, small = [], []
for number in range(1000):
    large.append(bytes(60_000))
    small.append(bytes(1000))
del large
before = held()
give_memory_back()
print(before - held())
"""
ARROW = """
from imagegen_pipeline.steady_memory import keep_memory_steady

keep_memory_steady()
import pyarrow

print(pyarrow.default_memory_pool().backend_name)
"""


def printed(code: str) -> str:
    """What a process of its own prints that runs this code."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="there is no glibc to tell"
)
def test_what_lies_between_blocks_in_use_is_given_back() -> None:
    """60 MB that were freed, each block of them between two that are still in use."""
    assert int(printed(SPREAD)) > 40


def test_arrow_keeps_nothing_of_its_own() -> None:
    """It takes its memory from the C library, which is told to give it back."""
    assert printed(ARROW) == "system"
