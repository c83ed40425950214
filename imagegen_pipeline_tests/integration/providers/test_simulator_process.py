"""The simulator that starts by itself: one for each data folder, and no more."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.providers import simulator_process
from imagegen_pipeline.providers.simulator_process import ensure_simulator
from imagegen_pipeline_tests.conftest import Project, make_project, until
from imagegen_pipeline_tests.integration.cli.conftest import GENERATE


def facts(folder: Path) -> dict[str, Any]:
    """What the folder's simulator wrote of itself."""
    return json.loads((folder / "simulator.json").read_text())


def end(folder: Path) -> None:
    """End the folder's simulator, if one runs, and wait until it has."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        pid = facts(folder)["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: _has_ended(pid))


def _has_ended(pid: int) -> bool:
    for process in simulator_process._started:
        process.poll()
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose simulator ends with the test."""
    yield tmp_path / "data"
    end(tmp_path / "data")


def answers(address: str) -> bool:
    """Whether a simulator answers there."""
    return requests.get(f"{address}/_sim/stats", timeout=10).ok


def test_it_starts_once_and_is_reused(folder: Path) -> None:
    """The first call starts it, in a folder that is made; the second finds it."""
    first = ensure_simulator(folder)
    assert answers(first)
    assert ensure_simulator(folder) == first
    assert first == f"http://127.0.0.1:{facts(folder)['port']}"


def test_each_folder_has_its_own(folder: Path, tmp_path: Path) -> None:
    """Two projects never share bills."""
    other = tmp_path / "other"
    try:
        assert ensure_simulator(folder) != ensure_simulator(other)
    finally:
        end(other)


def test_two_processes_at_once_start_one(folder: Path) -> None:
    """Both get the same address, whoever comes first."""
    code = (
        "import sys; from pathlib import Path; "
        "from imagegen_pipeline.providers.simulator_process import ensure_simulator; "
        "print(ensure_simulator(Path(sys.argv[1])))"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=60)[0] for process in both)
    assert first == second
    assert answers(first.strip())
    assert (folder / "simulator.log").read_text().count("# Simulating") == 1


def test_it_starts_anew_after_it_died(folder: Path) -> None:
    """A simulator that was killed is replaced by the next call."""
    ensure_simulator(folder)
    before = facts(folder)
    end(folder)
    assert answers(ensure_simulator(folder))
    assert facts(folder)["pid"] != before["pid"]


@pytest.mark.parametrize(
    "left_behind",
    ["", "{", "[]", '{"port": 1}', '{"port": "x", "pid": 1}', '{"port": 1, "pid": -9e99}'],
)
def test_a_stale_file_does_no_harm(left_behind: str, folder: Path) -> None:
    """Whatever an earlier one left in its file, a new one starts."""
    folder.mkdir()
    (folder / "simulator.json").write_text(left_behind)
    assert answers(ensure_simulator(folder))


def test_a_port_that_another_took_over_is_not_trusted(folder: Path, tmp_path: Path) -> None:
    """A file whose process has ended is stale, even when something answers at its port."""
    other = tmp_path / "other"
    try:
        taken = ensure_simulator(other)
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait(timeout=60)
        folder.mkdir()
        left = {"port": facts(other)["port"], "pid": ended.pid}
        (folder / "simulator.json").write_text(json.dumps(left))
        assert ensure_simulator(folder) != taken
    finally:
        end(other)


def test_a_proxy_does_not_come_between(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment knows nothing of this machine's own ports."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    address = ensure_simulator(folder)
    assert ensure_simulator(folder) == address


def test_a_folder_that_takes_no_files_is_a_setup_error(tmp_path: Path) -> None:
    """A file where the folder belongs is named, with a remedy."""
    place = tmp_path / "data"
    place.touch()
    with pytest.raises(SetupError, match=f"cannot use {place}: ") as raised:
        ensure_simulator(place)
    assert "IMAGEGEN_DATA_DIR" in raised.value.remedy


def test_one_that_does_not_start_names_its_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the process ends at once, the sentence says where its own words are."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SetupError, match=f"did not start: see {folder}/simulator.log"):
        ensure_simulator(folder)


def test_one_that_never_answers_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time allowed it is ended, so that none is left behind."""
    monkeypatch.setattr(simulator_process, "START_SECONDS", 0)
    with pytest.raises(SetupError, match="did not start"):
        ensure_simulator(folder)
    (process,) = simulator_process._started[-1:]
    assert process.wait(timeout=60) != 0


def test_the_setting_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``IMAGEGEN_SIMULATOR=1`` starts one, and the next command uses the same."""
    project: Project = make_project(tmp_path, {"IMAGEGEN_SIMULATOR": "1"})
    monkeypatch.chdir(tmp_path)
    try:
        command = ("imagegen", *GENERATE, "prompt", "--prompt", "a mill")
        project.run(*command)
        first = facts(project.results)
        assert "1 reused" in project.run(*command).stdout
        assert facts(project.results) == first
        stats = requests.get(f"http://127.0.0.1:{first['port']}/_sim/stats", timeout=10).json()
        assert stats["duomi"]["billed"] == 1
    finally:
        end(project.results)
