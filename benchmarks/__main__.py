"""Every figure, or those that are named, and then the report: ``python -m benchmarks [NAME …]``.

Each script is a process of its own, one after the other, so that none measures what another has
left in memory. ``--quick`` has each do little, to see that it works, and writes nothing.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from benchmarks.report import FIGURES, RESULTS, write_report
from benchmarks.scratch import ROOT

PROGRESS_SECONDS = 15.0


def main() -> int:
    """Measure, write the report; 1 if a script failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--quick", action="store_true", help="little work; nothing is written")
    given = parser.parse_args()
    unknown = set(given.figures) - set(FIGURES)
    if unknown:
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    wanted = [name for name in FIGURES if not given.figures or name in given.figures]
    failed = [name for name in wanted if not run(name, quick=given.quick)]
    if not given.quick:
        write_report()
        log(f"The report: {RESULTS.relative_to(ROOT)}")
    if failed:
        log(f"Failed: {', '.join(failed)}. Their output is above.")
    return 1 if failed else 0


def run(name: str, *, quick: bool) -> bool:
    """Run one script; print its table, or all its output if it fails."""
    log(f"{name}: {purpose(name)}")
    began = time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if quick else [])]
    with tempfile.TemporaryFile("w+") as table, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=table, stderr=errors)  # noqa: S603
        try:
            _wait(process, name, began, errors)
        finally:
            process.kill()  # only if this one is interrupted: it has ended otherwise
            process.wait()
        shown = _read(table)
        if process.returncode:
            log(f"{name}: failed after {time.monotonic() - began:.0f} s with this:")
            log(f"{shown}\n{_read(errors)}")
            return False
    print(shown, flush=True)
    log(f"{name}: done in {time.monotonic() - began:.0f} s")
    return True


def _wait(process: subprocess.Popen[bytes], name: str, began: float, errors: IO[str]) -> None:
    """Wait for its end; log the elapsed time and its last line every 15 s."""
    while True:
        try:
            process.wait(PROGRESS_SECONDS)
            return
        except subprocess.TimeoutExpired:
            lines = _read(errors).split("\n")
            own = (line for line in reversed(lines) if line.strip() and " - dagster - " not in line)
            log(f"{name}: {time.monotonic() - began:.0f} s so far; {next(own, '')[:120]}")


def _read(file: IO[str]) -> str:
    """All that is in a file to which another process writes, whose place in it stays its own."""
    return Path(f"/proc/self/fd/{file.fileno()}").read_text("utf-8", errors="replace")


def purpose(name: str) -> str:
    """The first line of a script's docstring, without running the script."""
    path = ROOT / "benchmarks" / f"{name}.py"
    if not path.exists():
        return "there is no such script here"
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0]


def log(words: str) -> None:
    """Progress goes to stderr; stdout has the tables only."""
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
