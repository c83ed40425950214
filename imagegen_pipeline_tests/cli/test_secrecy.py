"""A key is in no output, no log, no ledger and no file, even when a service repeats it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.cli.conftest import DESCRIPTION, GENERATE
from imagegen_pipeline_tests.conftest import Project, Simulator

KEY = "sk-Zebra-7f3a9c-distinctive"
PROMPT = ("imagegen", *GENERATE, "prompt", "--prompt", "a lighthouse at dusk")


@pytest.fixture(scope="module")
def keyed() -> Iterator[Simulator]:
    """Services that accept the distinctive key and no other."""
    with running(SimulatorOptions(latency=0.01, duomi_key=KEY, runpod_key=KEY)) as url:
        yield Simulator(url)


@pytest.fixture
def keyless(live_project: Project, keyed: Simulator, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A live project at these services, whose keys are given some other way."""
    for name in ("DUOMI_API_KEY", "RUNPOD_API_KEY"):
        monkeypatch.delenv(name)
    services = {
        "DUOMI_BASE_URL": f"{keyed.url}/duomi",
        "RUNPOD_BASE_URL": f"{keyed.url}/runpod/v2",
        "RUNPOD_SERVER_100_ID": "simulated-endpoint",
        "IMAGEGEN_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
    }
    return Project(live_project.root, services)


def traces(project: Project, done: subprocess.CompletedProcess[str]) -> list[str]:
    """Where the key can be read: the outputs, and every file below the project."""
    found = [name for name in ("stdout", "stderr") if KEY in getattr(done, name)]
    files = [path for path in project.root.rglob("*") if path.is_file() and path.name != ".env"]
    assert any(path.name == "imagegen.db" for path in files)
    assert any(path.suffix == ".log" for path in files)
    return found + [str(path) for path in files if KEY.encode() in path.read_bytes()]


def echo_the_key(simulator: Simulator, service: str, status: int) -> None:
    """The service refuses, repeating the key as services do, then answers as it should."""
    body = f'{{"code": 30003, "message": "Key {KEY} may not.", "error": "Key {KEY} may not."}}'
    # A 500 leaves it unknown whether a picture was billed, so the request is sent once more.
    times = 2 if status == 500 else 1
    simulator.fault(
        service=service, operation="submit", fault="status", status=status, body=body, times=times
    )


@pytest.mark.parametrize(
    ("given_by", "status"), [("environment", 403), ("option", 500), ("file", 400)]
)
def test_duomis_key_is_nowhere(
    given_by: str, status: int, keyless: Project, keyed: Simulator
) -> None:
    """Whatever way the key was given and whatever refusal repeats it, nothing keeps it."""
    command, environment = [*PROMPT], {}
    if given_by == "environment":
        environment["DUOMI_API_KEY"] = KEY
    elif given_by == "option":
        command += ["--api-key", KEY]
    else:
        (keyless.root / ".env").write_text(f"DUOMI_API_KEY={KEY}\n")
    echo_the_key(keyed, "duomi", status)
    refused = keyless.run(*command, check=False, **environment)
    assert refused.returncode == 1
    assert f"status {status}" in refused.stderr
    assert "Key *** may not" in refused.stderr
    assert traces(keyless, refused) == []
    (log,) = (keyless.data / "logs").glob("*.json")
    assert "Key *** may not" in log.read_text()

    made = keyless.run(*command, "--seed", "7", **environment)
    assert list((keyless.data / "generated_images" / ".imagegen").glob("*.json"))
    assert traces(keyless, made) == []


def test_runpods_key_is_nowhere(keyless: Project, keyed: Simulator) -> None:
    """The base image's answer on stdout tells of the refusal without the key in it."""
    echo_the_key(keyed, "runpod", 403)
    command = ("imagegen", "base-image", "actor", DESCRIPTION, "64", "96")
    refused = keyless.run(*command, check=False, RUNPOD_API_KEY=KEY)
    assert refused.returncode == 1
    assert "Key *** may not" in refused.stdout
    assert traces(keyless, refused) == []
    made = keyless.run(*command, RUNPOD_API_KEY=KEY)
    assert traces(keyless, made) == []


def test_a_key_that_is_none_is_not_repeated(keyless: Project) -> None:
    """A mistyped key is refused without being shown."""
    wrong = f"{KEY} twice"
    by_option = keyless.run(*PROMPT, "--api-key", wrong, check=False)
    by_variable = keyless.run(*PROMPT, check=False, DUOMI_API_KEY=wrong)
    for done in (by_option, by_variable):
        assert done.returncode == 2
        assert "is not a key" in done.stderr
        assert KEY not in done.stdout + done.stderr
    assert not (keyless.data / "logs").exists()
