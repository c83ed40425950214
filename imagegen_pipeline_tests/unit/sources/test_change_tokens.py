"""Change tokens differ for what has changed, and are trusted only when they are stable."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from imagegen_pipeline.sources.change_tokens import (
    NO_TOKEN,
    STABLE_SECONDS,
    change_token,
    content_token,
    is_stable,
    joint_change_token,
)
from imagegen_pipeline.sources.sqlite import PromptDatabase
from imagegen_pipeline_tests.conftest import until


def put_back(path: Path) -> None:
    """Another content of the same size, with the time that the file had before."""
    before = path.stat()
    clock = path.with_name("clock")

    def has_ticked() -> bool:
        clock.write_text("")
        return clock.stat().st_ctime_ns > before.st_ctime_ns

    until(has_ticked)
    path.write_text("other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    """Another file of the same size and time took the name."""
    other = path.with_name("b")
    other.write_text("other")
    shutil.copystat(path, other)
    other.replace(path)


def longer(path: Path) -> None:
    """More text."""
    path.write_text("longer than before")


@pytest.mark.parametrize("change", [put_back, replaced, longer])
def test_a_changed_file_has_another_token(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Also when its size and time are restored: the file system has a time of its own."""
    path = tmp_path / "a"
    path.write_text("first")
    os.utime(path, (1, 1))
    before = change_token(path.stat())
    change(path)
    assert change_token(path.stat()) != before


def test_reading_a_file_keeps_its_token(tmp_path: Path) -> None:
    """Opening and reading leave no trace in a token."""
    path = tmp_path / "a"
    path.write_text("first")
    before = change_token(path.stat())
    path.read_text()
    assert change_token(path.stat()) == before


def test_a_token_is_stable_when_the_last_change_is_old_enough() -> None:
    """A file that was written just now, or in the future, has no stable token."""
    token = f"{1_000 * 10**9:x}.any"
    assert is_stable(token, 1_000 + STABLE_SECONDS)
    assert not is_stable(token, 1_000 + STABLE_SECONDS - 0.5)
    assert not is_stable(token, 900)
    younger = joint_change_token(token, f"{1_001 * 10**9:x}.any", NO_TOKEN)
    assert is_stable(younger, 1_001 + STABLE_SECONDS)
    assert not is_stable(younger, 1_000 + STABLE_SECONDS)
    assert not is_stable(NO_TOKEN, 10_000)


def test_contents_of_another_type_have_another_token() -> None:
    """A number is not the text that spells it, and nothing is not an empty text."""
    contents = [(1, "a"), ("1", "a"), (1, b"a"), (1, None), (1, ""), (1,)]
    assert len({content_token(one) for one in contents}) == len(contents)
    assert is_stable(content_token("a"), 1_000)


def test_every_commit_changes_a_databases_token(tmp_path: Path) -> None:
    """With a rollback journal and with a write-ahead log, with the writer connected or gone."""
    path = tmp_path / "p.db"
    tokens = []
    for mode in ("DELETE", "WAL"):
        with closing(sqlite3.connect(path)) as writer:
            writer.execute(f"PRAGMA journal_mode = {mode}")
            writer.execute("CREATE TABLE IF NOT EXISTS t (a)")
            for number in range(3):
                writer.execute("INSERT INTO t VALUES (?)", (number,))
                writer.commit()
                tokens.append(PromptDatabase(path).change_token())
                assert PromptDatabase(path).change_token() == tokens[-1]
    assert len(set(tokens)) == len(tokens)
