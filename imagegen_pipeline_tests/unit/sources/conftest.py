"""Scans of scratch sources on a clock that can be advanced, with the files that they opened."""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.settings import load_settings
from imagegen_pipeline.sources.scanner import ScanResult, SourceScanner
from imagegen_pipeline_tests.conftest import make_project

HOUR = 3600.0
_watched: list[set[str]] = []
"""Where opened files are noted. An audit hook cannot be removed, so it checks this list."""


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched and event in ("open", "sqlite3.connect"):
        _watched[-1].add(f"{event} {arguments[0]}")


sys.addaudithook(_note)


@dataclass
class AdvancedClock:
    """The machine's clock, ``ahead`` seconds in the future."""

    ahead: float = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.ahead

    def monotonic(self) -> float:
        """Not used by scans."""
        raise NotImplementedError

    def wait(self, *_: object) -> bool:
        """Not used by scans."""
        raise NotImplementedError


@dataclass
class ScratchSources:
    """A scratch project's sources and its ledger."""

    root: Path
    ledger: Ledger
    clock: AdvancedClock = field(default_factory=AdvancedClock)

    @property
    def scanner(self) -> SourceScanner:
        """The scanner that a new process would create."""
        return SourceScanner(load_settings(), lambda: self.ledger, self.clock)

    def scan(self, *, force: bool = False) -> ScanResult:
        """Scan all sources; returns the result for prompts."""
        return self.scanner.scan(force=force)["prompt"]

    def opened(self) -> list[str]:
        """The names of the files that one scan opens; ``read`` for the database."""
        notes: set[str] = set()
        _watched.append(notes)
        try:
            self.scan()
        finally:
            _watched.pop()
        data = self.root / "data"
        files = [n.removeprefix("open ") for n in notes if n.startswith(f"open {data}")]
        read = ["read" for n in notes if n.startswith(f"sqlite3.connect {data.as_uri()}/llm")]
        of_sources = [
            f for f in files if "/imagegen.db" not in f and not f.endswith("video_batch.db")
        ]
        return sorted(Path(file).name for file in of_sources) + read

    def settle(self) -> None:
        """Advance the clock, so that the present files' change tokens are stable."""
        self.clock.ahead += 60

    def texts(self) -> dict[str, str]:
        """The present prompts of the ledger, by key."""
        items = self.ledger.items.get(self.ledger.items.keys("prompt"))
        return {key: item.source_item.text for key, item in items.items()}

    def gone(self, *keys: str) -> set[str]:
        """Which of these keys are gone."""
        return {key for key, item in self.ledger.items.get(keys).items() if item.gone}

    def problems(self) -> list[str]:
        """The problems of existing sources: names in the folder, or rows."""
        problems = self.ledger.items.problems()
        return [
            p.location.rpartition("/")[2] for p in problems if "does not exist" not in p.message
        ]

    def write(self, name: str, text: str, **fields: object) -> Path:
        """A prompt file."""
        path = self.root / "data" / "prompt_json" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"image_prompt": text, **fields}), encoding="utf-8")
        return path

    @property
    def database(self) -> Path:
        """The path of the prompts' database."""
        return self.root / "data" / "llm_video_batch.db"

    def execute(self, *statements: str) -> None:
        """Change the database, as the users' program would."""
        with closing(sqlite3.connect(self.database)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def fill(
        self, count: int, columns: str = "id INTEGER PRIMARY KEY, image_id, image_prompt"
    ) -> None:
        """A database of prompts with the ids 1 to ``count``."""
        images = "(id INTEGER PRIMARY KEY, original_filename, descriptive_name)"
        self.execute(f"CREATE TABLE images {images}", f"CREATE TABLE prompts ({columns})")
        with closing(sqlite3.connect(self.database)) as connection:
            rows = [(number, f"prompt {number}") for number in range(1, count + 1)]
            insert = "INSERT INTO prompts (id, image_prompt) VALUES (?, ?)"
            connection.executemany(insert, rows)
            connection.commit()


def counts(result: ScanResult) -> tuple[int, int, int]:
    """How many items of a scan are new, changed and gone."""
    change = result.change
    return len(change.new), len(change.changed), len(change.gone)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchSources]:
    """A scratch project without any source yet."""
    make_project(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    with closing(Ledger(f"sqlite:///{tmp_path / 'data' / 'imagegen.db'}")) as ledger:
        yield ScratchSources(tmp_path, ledger)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user may enter, unlike ``tmp_path``."""
    with tempfile.TemporaryDirectory(prefix="imagegen-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
