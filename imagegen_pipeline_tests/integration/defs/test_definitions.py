"""Loading the code location is fast, silent and without effect on the process that loads it."""

from __future__ import annotations

import ast
import subprocess
import sys

from imagegen_pipeline_tests.conftest import ROOT

HEAVY = (
    *("PIL", "alembic", "fastapi", "matplotlib", "numpy", "pandas", "pyarrow"),
    *("requests", "sqlalchemy", "starlette", "tenacity", "tqdm", "uvicorn"),
    *(
        f"imagegen_pipeline.{part}"
        for part in ("engine", "ledger", "pipeline", "providers.http", "web")
    ),
)
PRIVATE = ("dagster._", "dagster_shared")


def run_python(code: str) -> list[str]:
    """The lines that ``code`` prints in a new Python process."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert "Warning" not in done.stderr
    return done.stdout.splitlines()


def test_the_code_location_imports_only_what_loading_needs() -> None:
    """Loading imports no library for images, tables or databases and no provider client: the UI,
    the daemon, and each run and sensor process load it.
    """
    lines = run_python(
        "import sys\n"
        "from imagegen_pipeline.definitions import defs\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    assert lines[-1] == "[]"


def test_loading_changes_nothing_in_the_process() -> None:
    """The environment, the garbage collector and the warning filters are the same after loading
    the code location as after importing Dagster.
    """
    lines = run_python(
        "import gc, os, warnings\n"
        "import dagster\n"
        "def state():\n"
        "    return dict(os.environ), gc.isenabled(), gc.get_freeze_count(), warnings.filters[:]\n"
        "before = state()\n"
        "from imagegen_pipeline.definitions import defs\n"
        "defs.get_repository_def()\n"
        "print(state() == before)\n"
    )
    assert lines[-1] == "True"


def test_only_dagster_ext_imports_private_dagster_modules() -> None:
    """``dagster._…`` and ``dagster_shared`` are imported by modules of ``dagster_ext`` alone."""
    package = ROOT / "imagegen_pipeline"
    offenders = [
        f"{file.relative_to(package)} imports {name}"
        for file in package.rglob("*.py")
        if file.parent.name != "dagster_ext"
        for name in imported_modules(file.read_text(encoding="utf-8"))
        if name.startswith(PRIVATE)
    ]
    assert offenders == []


def imported_modules(source: str) -> list[str]:
    """The modules that a source file imports, at any depth."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names
