"""Runs a function as an ordinary user, since root may read everything."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import TypeVar

NOBODY = 65534
_T = TypeVar("_T")


def run_as_user(function: Callable[[], _T]) -> _T:
    """The function's result. If this process is root, a forked child runs it as ``NOBODY``."""
    if os.geteuid() != 0:
        return function()
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with os.fdopen(writable, "wb") as pipe:
                pickle.dump(function(), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, "the child process failed"
    result: _T = pickle.loads(content)  # noqa: S301 - of our own child
    return result
