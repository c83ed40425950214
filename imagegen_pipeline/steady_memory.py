"""Memory that goes back to the system, however many pictures pass through a process.

glibc keeps what threads have freed in pools of their own, and stops returning large blocks at once
after the first few: a run over 10,000 pictures held 100 MB more than one over 100, while Python
itself held the same. Three of its documented parameters (mallopt(3)) keep that from happening.
Arrow has an allocator of its own, which keeps too: its documented variable has it use the C
library's.
"""

from __future__ import annotations

import ctypes
import gc
import os
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 4 * 2**20
"""From here on a block is the system's again when it is freed. With glibc's own first threshold
(128 KiB) the pixels of every small picture were: mapping them anew took a sixth of its CPU.
"""
_KEPT_BYTES = 32 * 2**20
"""What is free at a pool's end, beyond so much, is given back."""
_POOLS = 2


@cache
def keep_memory_steady() -> None:
    """Tell this process's allocators, once; there is nothing to tell where there is no glibc."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_ARENA_MAX, _POOLS)


def give_memory_back() -> None:
    """Return what was freed, before something large is begun: what lies between blocks that are
    still in use is not returned by itself, 30 MB after 10,000 pictures.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
