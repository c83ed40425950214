"""One fault in a short history: whatever the step, the next run gets the image."""

from __future__ import annotations

from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from imagegen_pipeline_tests.fuzz.properties import strategies
from imagegen_pipeline_tests.fuzz.properties.environment import KEYS, UserLimits
from imagegen_pipeline_tests.fuzz.properties.history import History
from imagegen_pipeline_tests.fuzz.properties.simulated_process import Fault
from imagegen_pipeline_tests.fuzz.properties.simulated_provider import Answer

EXAMPLES = 45
OnUnknown = Literal["resubmit", "hold"]


@settings(max_examples=EXAMPLES)
@given(
    key=strategies.keys,
    intent=strategies.regenerates,
    script=strategies.scripts,
    kill=strategies.kills,
    on_unknown=st.sampled_from(("resubmit", "hold")),
)
def test_a_kill_at_any_step(
    key: str, intent: str | None, script: list[Answer], kill: Fault, on_unknown: OnUnknown
) -> None:
    """A process is killed before or after any step of one item."""
    with History.created(UserLimits(on_unknown)) as history:
        history.run_process("a killed run", [key], script, [kill], intent=intent)
        history.end()


@settings(max_examples=EXAMPLES)
@given(
    script=strategies.scripts,
    kill=strategies.kills,
    other_script=strategies.scripts,
    is_known=st.booleans(),
)
def test_a_kill_before_an_identical_request(
    script: list[Answer], kill: Fault, other_script: list[Answer], is_known: bool
) -> None:
    """A process is killed at one item; only an item with the same request is requested next."""
    with History.created(UserLimits()) as history:
        history.run_process("a killed run", ["left"], script, [kill], known_dead=is_known)
        history.run_process("a run", ["right"], other_script)
        history.end()


@settings(max_examples=EXAMPLES)
@given(
    user_limits=strategies.limits,
    keys=st.permutations(KEYS),
    intent=strategies.regenerates,
    script=strategies.scripts,
    kill=strategies.kills,
    other_script=strategies.scripts,
)
def test_a_kill_under_limits(
    user_limits: UserLimits,
    keys: list[str],
    intent: str | None,
    script: list[Answer],
    kill: Fault,
    other_script: list[Answer],
) -> None:
    """A process is killed, and another continues under the same budget or in-flight limit."""
    with History.created(user_limits) as history:
        history.run_process("a killed run", keys[:2], script, [kill], intent=intent)
        history.run_process("a run", keys[2:], other_script, intent=intent)
        history.end()


@settings(max_examples=EXAMPLES)
@given(
    key=strategies.keys,
    intent=strategies.regenerates,
    script=strategies.scripts,
    full=strategies.full_disks,
)
def test_a_full_disk_at_any_step(
    key: str, intent: str | None, script: list[Answer], full: Fault
) -> None:
    """The ledger or the image folder is full at any step of one item."""
    with History.created(UserLimits()) as history:
        history.run_process("a run", [key], script, [full], intent=intent)
        history.end()


@settings(max_examples=EXAMPLES)
@given(
    key=strategies.keys,
    intent=strategies.regenerates,
    script=strategies.scripts,
    sleep=strategies.sleeps,
    other_script=strategies.scripts,
    other_kill=strategies.perhaps_kills,
)
def test_a_nap_at_any_step(
    key: str,
    intent: str | None,
    script: list[Answer],
    sleep: Fault,
    other_script: list[Answer],
    other_kill: Fault | None,
) -> None:
    """A process sleeps at any step, and another takes over its lease before it resumes."""
    with History.created(UserLimits()) as history:

        def meanwhile() -> None:
            history.run_meanwhile([key], other_script, [other_kill] if other_kill else [], intent)

        history.run_process("a sleeper", [key], script, [sleep], intent=intent, meanwhile=meanwhile)
        history.end()
