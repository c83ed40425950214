"""A scratch project in a temporary folder, with the simulator as the services."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def scratch_project() -> Iterator[Path]:
    """The folder of a project of its own, which is the current one meanwhile."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as name:
        root = Path(name)
        for file in ("dagster.yaml", "workspace.yaml", "pyproject.toml"):
            shutil.copy(ROOT / file, root / file)
        shutil.copytree(ROOT / "workflows", root / "workflows")
        (root / "data" / "prompt_json").mkdir(parents=True)
        os.chdir(root)
        os.environ["IMAGEGEN_SIMULATOR"] = "1"
        try:
            yield root
        finally:
            os.chdir(here)


def write_prompts(root: Path, count: int) -> None:
    """So many prompts in JSON files, each with a text of its own."""
    for number in range(count):
        text = json.dumps({"image_prompt": f"a lighthouse by night, number {number}"})
        (root / "data" / "prompt_json" / f"prompt {number:06}.json").write_text(text, "utf-8")


def machine() -> str:
    """What the figures were measured on, in a few words."""
    import platform

    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
