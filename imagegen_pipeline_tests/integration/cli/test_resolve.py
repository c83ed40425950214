"""``imagegen resolve``: a person's word on what is held."""

from __future__ import annotations

import pytest

from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.cli.conftest import GENERATE, Invoke


@pytest.fixture
def held(project: Project, simulator: Simulator, invoke: Invoke) -> str:
    """The key of an item whose two requests got no answer."""
    simulator.fault(provider="duomi", operation="submit", fault="reset_after_work", times=2)
    project.write_json("boat", "a red boat")
    assert generate(invoke) == 1
    (line,) = invoke("resolve").stdout.splitlines()
    return line.split()[0]


def generate(invoke: Invoke, *more: str) -> int:
    """One run over the JSON files; its exit code."""
    return invoke(*GENERATE, "json", *more).exit_code


def test_what_is_held_is_listed_with_its_reason(held: str, invoke: Invoke) -> None:
    """Each line names the item, what happened, and the command that goes on."""
    page = invoke("resolve").stdout
    assert "unknown" in page
    assert f"imagegen resolve {held} --resubmit" in page
    assert invoke("resolve", held).stdout == page


def test_nothing_held_is_said(project: Project, invoke: Invoke) -> None:
    """An empty list is a sentence, and no failure."""
    result = invoke("resolve")
    assert (result.exit_code, result.stdout) == (0, "Nothing is held.\n")


def test_without_a_word_nothing_is_sent_again(
    held: str, simulator: Simulator, invoke: Invoke
) -> None:
    """However often the run is repeated, the held item stays held."""
    for _ in range(3):
        assert generate(invoke) == 1
    assert simulator.billed() == 2


def test_resubmit_lets_the_next_run_make_it(
    held: str, simulator: Simulator, invoke: Invoke
) -> None:
    """The command itself sends nothing; the run after it makes the picture, marked as a possible
    double charge.
    """
    assert invoke("resolve", held, "--resubmit").exit_code == 0
    assert simulator.billed() == 2
    assert generate(invoke) == 0
    assert simulator.billed() == 3
    assert "Nothing is held." in invoke("resolve").stdout
    table = invoke("results", "--format", "json").stdout
    assert '"possible_double_charge":true' in table.replace(" ", "")


def test_give_up_is_final_until_it_is_lifted(
    held: str, simulator: Simulator, invoke: Invoke
) -> None:
    """What was given up is not made by any run; after --allow-retry it is."""
    assert invoke("resolve", held, "--give-up").exit_code == 0
    assert generate(invoke) == 1
    assert simulator.billed() == 2
    assert "given_up" in invoke("resolve").stdout
    assert invoke("resolve", held, "--resubmit").exit_code == 2

    assert invoke("resolve", held, "--allow-retry").exit_code == 0
    assert generate(invoke) == 0
    assert simulator.billed() == 3


def test_regenerate_buys_what_was_given_up(held: str, simulator: Simulator, invoke: Invoke) -> None:
    """A person who asks for a new picture gets one."""
    invoke("resolve", held, "--give-up")
    assert generate(invoke, "--regenerate") == 0
    assert simulator.billed() == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing-of-it", "--resubmit"), "nothing-of-it is not held"),
        (("nothing-of-it", "--allow-retry"), "not given up"),
        (("--resubmit",), "KEY"),
    ],
)
def test_a_decision_on_nothing_is_refused(
    arguments: tuple[str, ...], message: str, project: Project, invoke: Invoke
) -> None:
    """Exit code 2 and one sentence that says what there is to decide on."""
    result = invoke("resolve", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_item_that_a_process_is_at_is_not_decided_on(
    held: str, project: Project, invoke: Invoke
) -> None:
    """A decision does not cut into work under way."""
    pipeline = project.pipeline()
    pipeline.ledger.leases.acquire([f"item:{held}"], "another process")
    pipeline.close()
    result = invoke("resolve", held, "--resubmit")
    assert result.exit_code == 2
    assert "Another process" in result.stderr
