"""Names of lease owners (a batch of a process), and whether their process still runs."""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from functools import cache
from pathlib import Path


def new_owner() -> str:
    """A unique name for a batch of this process."""
    return f"{_machine()}/{os.getpid()}/{uuid.uuid4().hex[:16]}"


def is_dead(owner: str) -> bool:
    """Whether ``owner`` is a process of this machine that has ended.

    An owner of another machine, or a process number in use again, counts as alive: its lease
    expires.
    """
    machine, _, rest = owner.partition("/")
    number, _, _ = rest.partition("/")
    if machine != _machine() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)  # asks only; unlike /proc it shows other users' processes too
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    import psutil

    try:
        return bool(psutil.Process(int(number)).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


@cache
def _machine() -> str:
    """This boot of this machine and its container, if any: the scope of process numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8")
        container = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:  # not Linux
        boot, container = f"{uuid.getnode():x}", ""
    facts = "\n".join((platform.node(), boot, container))
    return hashlib.sha256(facts.encode()).hexdigest()[:12]
