"""The help teaches, answers at once, and is whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from imagegen_pipeline.cli import imagegen
from imagegen_pipeline_tests.conftest import Project
from imagegen_pipeline_tests.integration.cli.conftest import Invoke

COMMANDS = sorted(imagegen.commands)
HEAVY = ("dagster", "pandas", "PIL", "requests", "pyarrow", "sqlalchemy", "pydantic", "tqdm")


def test_the_first_page_shows_every_command_in_a_whole_sentence(invoke: Invoke) -> None:
    """``imagegen --help`` names each command, cuts no sentence off, and ends on exit codes."""
    page = invoke("--help").stdout
    for name in COMMANDS:
        (line,) = [line for line in page.splitlines() if line.startswith(f"  {name} ")]
        assert line.endswith(".")
        assert not line.endswith("...")
    assert "IMAGEGEN_SIMULATOR=1 imagegen generate" in page
    assert "0 all good, 1 some items failed, 2 wrong use" in page


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str, invoke: Invoke) -> None:
    """A command says what it does, and each of its options and arguments is explained."""
    command = imagegen.commands[name]
    page = invoke(name, "--help").stdout
    assert command.help
    assert command.short_help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"
        else:
            assert page.count(str(parameter.name).upper()) >= 2, f"{name} {parameter.name}"


@pytest.mark.parametrize("name", ["generate", "results", "models", "base-image"])
def test_the_contracts_flags_are_there(name: str) -> None:
    """The command lines that others rely on keep their flags and arguments."""
    promised = {
        "generate": "source limit delay input-dir prompt api-key model image-size steps guidance "
        "seed negative-prompt concurrency regenerate dry-run",
        "results": "format",
        "models": "yes all",
        "base-image": "actor description width height steps seed",
    }[name]
    there = {opt.removeprefix("--") for p in imagegen.commands[name].params for opt in p.opts}
    assert there >= set(promised.split())


def test_the_help_imports_nothing_heavy() -> None:
    """``imagegen --help`` loads no library that it does not need, so it answers at once."""
    code = (
        "import sys\n"
        "from imagegen_pipeline.cli import imagegen\n"
        "imagegen(['--help'], standalone_mode=False)\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print('LOADED', loaded)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Usage:" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generat"], "No such command 'generat'"),
        (["generate"], "Missing option '--source'"),
        (["generate", "--source", "xml"], "'xml' is not one of"),
        (["generate", "--sauce", "json"], "No such option"),
        (["results", "--format", "xls"], "'xls' is not one of"),
        (["base-image", "actor"], "Missing argument 'DESCRIPTION'"),
    ],
)
def test_wrong_usage_is_exit_2_and_points_at_the_help(
    arguments: list[str], message: str, invoke: Invoke
) -> None:
    """What click refuses names the fault and ``--help`` on stderr, and leaves stdout empty."""
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "--help" in result.stderr
    assert result.stdout == ""


def test_a_wrong_setting_is_one_line_and_exit_2(project: Project) -> None:
    """A typed error is one sentence with its remedy on stderr, without a traceback."""
    done = project.run("imagegen", "results", check=False, IMAGEGEN_CONCURRENCY="many")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("imagegen: IMAGEGEN_CONCURRENCY has a bad value")


def test_output_that_cannot_be_written_is_said(project: Project) -> None:
    """A full disk under stdout is one line and exit 2, not a traceback."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [Path(sys.executable).parent / "imagegen", "env"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
