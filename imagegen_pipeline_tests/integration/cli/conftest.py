"""Ways to give a command: within this process, and on a terminal of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from imagegen_pipeline.cli import imagegen
from imagegen_pipeline_tests.conftest import SMALL

Invoke = Callable[..., Result]
GENERATE = ("generate", "--image-size", SMALL, "--source")
DESCRIPTION = "european 25 year old male with short brown hair"


@pytest.fixture
def invoke() -> Invoke:
    """A command within this process; what is no error of this package is raised."""

    def run(*arguments: str, answer: str | None = None) -> Result:
        result = CliRunner().invoke(imagegen, arguments, input=answer)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def on_a_terminal(*command: str, columns: int = 100) -> tuple[int, str]:
    """The exit code of a command on a terminal, and everything that appears there."""
    screen, keyboard = pty.openpty()
    fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
        start_new_session=True,
    ) as process:
        os.close(keyboard)
        shown = b""
        with os.fdopen(screen, "rb", buffering=0) as reader, contextlib.suppress(OSError):
            while part := reader.read(65536):  # Linux ends it with an OSError
                shown += part
    return process.returncode, shown.decode()
