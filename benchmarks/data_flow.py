"""The code that one prompt passes through, from the ``generated_images`` asset to its image.

One partition is materialized in this process, with the simulator in another one, after a first
partition that counts for nothing: imports, the opened ledger and compiled statements belong to the
process. All threads are traced. Counted are the calls of functions that this package defines (a
generator's resumption is none), the files that these functions lie in, the calls that lead from one
file of the package into another, and the ledger's transactions and statements.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.scratch import ROOT, scratch_project, write_prompts

PACKAGE = str(ROOT / "imagegen_pipeline") + "/"
MOST_CALLS, MOST_FILE_CHANGES, MOST_READS, MOST_WRITES = 700, 250, 8, 5
"""The goals."""
_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE
_SHOWN = 25


@dataclass
class DataFlow:
    """What was counted while one prompt passed."""

    functions: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    """Calls from a file into another one, by ``from -> to``."""
    reads: Counter[str] = field(default_factory=Counter)
    """The ledger's reading transactions, by the function that asked for them."""
    writes: Counter[str] = field(default_factory=Counter)
    statements: int = 0


class CallCounter:
    """Counts calls in all threads that begin while it is installed, and in the present one."""

    def __init__(self, flow: DataFlow) -> None:
        self._flow = flow
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """The profile function."""
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGE) or _is_resumed(frame):
            return
        path = code.co_filename[len(PACKAGE) :]
        caller = _package_frame(frame.f_back)
        origin = caller and caller.f_code.co_filename[len(PACKAGE) :]
        with self._lock:
            self._flow.functions[f"{path}: {code.co_qualname}"] += 1
            self._flow.files[path] += 1
            if origin is not None and origin != path:
                self._flow.changes[f"{origin} -> {path}"] += 1


def _is_resumed(frame: FrameType) -> bool:
    """Whether a generator goes on: its first call begins before its first line."""
    return bool(frame.f_code.co_flags & _GENERATORS) and frame.f_lasti > 4


def _package_frame(frame: FrameType | None) -> FrameType | None:
    """The nearest frame of this package, from here on outwards."""
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return frame


@contextmanager
def count_calls(flow: DataFlow) -> Iterator[None]:
    """Count calls within the ``with``."""
    counter = CallCounter(flow)
    threading.setprofile(counter)
    sys.setprofile(counter)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@contextmanager
def count_ledger(flow: DataFlow) -> Iterator[None]:
    """Count the ledger's transactions and statements within the ``with``."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    from imagegen_pipeline.ledger.database import Database

    lock = threading.Lock()
    own = {"read": Database.read, "write": Database.write}

    def counted(name: str, found: Counter[str]) -> Any:  # noqa: ANN401 - a method
        def transaction(database: Database) -> Any:  # noqa: ANN401 - as the method
            with lock:
                found[_asker()] += 1
            return own[name](database)

        return transaction

    def statement(connection: Any, _cursor: Any, text: str, *_rest: object) -> None:  # noqa: ANN401
        if "imagegen.db" in str(connection.engine.url) and "SAVEPOINT" not in text:
            with lock:
                flow.statements += 1

    setattr(Database, "read", counted("read", flow.reads))  # noqa: B010 - a method is replaced
    setattr(Database, "write", counted("write", flow.writes))  # noqa: B010
    event.listen(Engine, "before_cursor_execute", statement)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", statement)
        for name, method in own.items():
            setattr(Database, name, method)


def _asker() -> str:
    """The ledger's public method that began a transaction."""
    frame = _package_frame(sys._getframe(2))
    while frame is not None and frame.f_code.co_name.startswith("_"):
        frame = _package_frame(frame.f_back)
    return "" if frame is None else frame.f_code.co_qualname


def measure() -> DataFlow:
    """One prompt's way, counted in a scratch project."""
    from benchmarks.range_run import IMAGES, SMALL, ours, register, run

    with scratch_project() as root:
        write_prompts(root, 2)
        first, second = register()
        from imagegen_pipeline.definitions import defs

        flow = DataFlow()
        with ours() as instance:
            run(instance, defs, IMAGES, [first], SMALL)
            with count_ledger(flow), count_calls(flow):
                run(instance, defs, IMAGES, [second], SMALL)
        return flow


def print_flow(flow: DataFlow) -> None:
    """The totals beside their goals, and what there is most of."""
    totals = (
        ("calls", flow.functions.total(), MOST_CALLS),
        ("files", len(flow.files), None),
        ("file changes", flow.changes.total(), MOST_FILE_CHANGES),
        ("ledger reads", flow.reads.total(), MOST_READS),
        ("ledger writes", flow.writes.total(), MOST_WRITES),
        ("ledger statements", flow.statements, None),
    )
    for name, count, most in totals:
        goal = "" if most is None else f"   goal: at most {most}"
        print(f"{name:<18}{count:>6}{goal}")
    details = {
        "Calls by file": flow.files,
        "Calls by function": flow.functions,
        "File changes": flow.changes,
        "Ledger reads": flow.reads,
        "Ledger writes": flow.writes,
    }
    for title, found in details.items():
        print(f"\n{title}")
        for name, count in found.most_common(_SHOWN):
            print(f"{count:>6}  {name}")


if __name__ == "__main__":
    if not Path(PACKAGE).is_dir():
        sys.exit(f"{PACKAGE} is not there.")
    print_flow(measure())
