"""No order of events and crashes bills a request twice or loses an image."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from imagegen_pipeline_tests.fuzz.properties.state_machine import Histories

EXAMPLES = 40
STEPS = 6


def test_any_history_comes_to_a_good_end() -> None:
    """After every process and at the end, every rule of ``rules`` holds."""
    run_state_machine_as_test(
        Histories, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
    )


@pytest.mark.long
def test_any_long_history_comes_to_a_good_end() -> None:
    """The same for ten times as many and longer histories."""
    run_state_machine_as_test(
        Histories, settings=settings(max_examples=10 * EXAMPLES, stateful_step_count=2 * STEPS)
    )
