"""The code location loads fast, since it imports only what says what there is."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    *("PIL", "alembic", "fastapi", "matplotlib", "numpy", "pandas", "pyarrow"),
    *("requests", "sqlalchemy", "starlette", "tenacity", "tqdm", "uvicorn"),
    *(
        f"imagegen_pipeline.{part}"
        for part in ("engine", "ledger", "pipeline", "providers.http", "web")
    ),
)


def test_the_code_location_imports_nothing_that_only_its_runs_need() -> None:
    """Importing it loads no library for pictures, tables or databases, and no service's client:
    the UI, its daemon, and each run and sensor's process do it.
    """
    code = (
        "import sys\n"
        "from imagegen_pipeline.definitions import defs\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print('LOADED', loaded)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"
