"""A batch that is killed and restarted loses nothing and pays for nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagegen_pipeline_tests.fuzz.chaos.harness import Plan, run
from imagegen_pipeline_tests.fuzz.chaos.variants import VARIANTS

SHORT = ("runpod", "duomi-sync", "duomi-async-two")
"""Each mode once; the other variants are among the long tests."""
SEED = 1


def check(plan: Plan, folder: Path) -> None:
    """Run a plan; fail with the violations and the command that repeats it."""
    done = run(plan, folder)
    if done.report:
        pytest.fail(done.report, pytrace=False)
    assert done.kills == plan.kills
    assert done.evidence.pictures > 0


@pytest.mark.parametrize("name", SHORT)
def test_a_batch_survives_its_kills(name: str, tmp_path: Path) -> None:
    """Ten kills in batches of 24: every rule holds."""
    check(Plan(VARIANTS[name], items=24, kills=10, seed=SEED), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", VARIANTS)
def test_a_batch_survives_a_hundred_kills(name: str, tmp_path: Path) -> None:
    """A hundred kills in batches of 200, with one worker and with two: every rule holds."""
    check(Plan(VARIANTS[name], items=200, kills=100, seed=SEED), tmp_path)
