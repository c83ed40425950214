"""The list of attacks in docs/http-api.md, from the tests that hold them off.

`python -m imagegen_pipeline_tests.integration.web.attacks` prints it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parents[1]
_FILES = (
    "integration/web/test_attacks.py",
    "integration/web/test_file_routes.py",
    "e2e/browser/test_accessibility.py",
)


def table() -> str:
    """A row for each test whose first sentence begins with the name of an attack."""
    lines = ["| attack | what it meets | test |", "| --- | --- | --- |"]
    lines += [f"| {name} | {meets} | `{test}` |" for name, meets, test in _rows()]
    return "\n".join(lines)


def _rows() -> Iterator[tuple[str, str, str]]:
    for file in _FILES:
        for node in ast.parse((TESTS / file).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                sentence = " ".join((ast.get_docstring(node) or "").split())
                name, colon, meets = sentence.partition(": ")
                if colon and (file == _FILES[0] or name in ("XSS", "CSV injection")):
                    yield (
                        name,
                        meets[0].upper() + meets[1:],
                        f"{file.rsplit(chr(47))[-1]}::{node.name}",
                    )


if __name__ == "__main__":
    print(table())  # noqa: T201 - its table is what it is for
