"""Stamps tell what has changed from what has not, and when they are not to be believed."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from imagegen_pipeline.sources.change_tokens import (
    NO_STAMP,
    SETTLED_SECONDS,
    change_token,
    content_token,
    is_stable,
    joint_change_token,
)
from imagegen_pipeline.sources.sqlite_file import database_stamp
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
def test_what_was_changed_has_another_stamp(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Also what puts its size and time back: the file system keeps a time of its own."""
    path = tmp_path / "a"
    path.write_text("first")
    os.utime(path, (1, 1))
    before = change_token(path.stat())
    change(path)
    assert change_token(path.stat()) != before


def test_what_was_read_only_has_the_same_stamp(tmp_path: Path) -> None:
    """Opening, reading and looking leave no trace in a stamp."""
    path = tmp_path / "a"
    path.write_text("first")
    before = change_token(path.stat())
    path.read_text()
    assert change_token(path.stat()) == before


def test_a_stamp_is_settled_when_the_file_was_left_alone_for_a_while() -> None:
    """One that was written just now, or later than the clock says, is not believed."""
    stamp = f"{1_000 * 10**9:x}.any"
    assert is_stable(stamp, 1_000 + SETTLED_SECONDS)
    assert not is_stable(stamp, 1_000 + SETTLED_SECONDS - 0.5)
    assert not is_stable(stamp, 900)
    younger = joint_change_token(stamp, f"{1_001 * 10**9:x}.any", NO_STAMP)
    assert is_stable(younger, 1_001 + SETTLED_SECONDS)
    assert not is_stable(younger, 1_000 + SETTLED_SECONDS)
    assert not is_stable(NO_STAMP, 10_000)


def test_contents_of_another_kind_have_another_stamp() -> None:
    """A number is not the text that spells it, and nothing is not an empty text."""
    contents = [(1, "a"), ("1", "a"), (1, b"a"), (1, None), (1, ""), (1,)]
    assert len({content_token(one) for one in contents}) == len(contents)


def test_every_commit_changes_a_databases_stamp(tmp_path: Path) -> None:
    """With a rollback journal and with a write-ahead log, the writer still at it or gone."""
    path = tmp_path / "p.db"
    stamps = []
    for mode in ("DELETE", "WAL"):
        with closing(sqlite3.connect(path)) as writer:
            writer.execute(f"PRAGMA journal_mode = {mode}")
            writer.execute("CREATE TABLE IF NOT EXISTS t (a)")
            for number in range(3):
                writer.execute("INSERT INTO t VALUES (?)", (number,))
                writer.commit()
                stamps.append(database_stamp(path))
                assert database_stamp(path) == stamps[-1]
    assert len(set(stamps)) == len(stamps)
