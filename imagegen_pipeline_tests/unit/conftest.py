"""Unit tests start no process and open no socket."""

from __future__ import annotations

import socket
import subprocess
from typing import Any, NoReturn

import pytest


@pytest.fixture(autouse=True)
def no_process_and_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a unit test that starts a process or opens a connection."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a unit test starts no process and opens no socket")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
