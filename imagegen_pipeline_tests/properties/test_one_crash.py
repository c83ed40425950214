"""One mishap in a short history: whatever the step, the next run brings the picture home."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from imagegen_pipeline_tests.properties import drawn
from imagegen_pipeline_tests.properties.history import History
from imagegen_pipeline_tests.properties.life import Mishap
from imagegen_pipeline_tests.properties.witness import Answer
from imagegen_pipeline_tests.properties.world import KEYS, Terms

EXAMPLES = 45


@settings(max_examples=EXAMPLES)
@given(
    key=drawn.keys,
    again=drawn.regenerates,
    script=drawn.scripts,
    kill=drawn.kills,
    on_unknown=st.sampled_from(("resubmit", "hold")),
)
def test_a_kill_at_any_step(
    key: str, again: str | None, script: list[Answer], kill: Mishap, on_unknown: str
) -> None:
    """A process is killed before or after any step of one item's life."""
    with History.beginning(Terms(on_unknown)) as history:
        history.live("a killed run", [key], script, [kill], again=again)
        history.end()


@settings(max_examples=EXAMPLES)
@given(script=drawn.scripts, kill=drawn.kills, other_script=drawn.scripts, is_known=st.booleans())
def test_a_kill_before_an_identical_request(
    script: list[Answer], kill: Mishap, other_script: list[Answer], is_known: bool
) -> None:
    """A process is killed at one item, and the next one is asked for the same picture only."""
    with History.beginning(Terms()) as history:
        history.live("a killed run", ["left"], script, [kill], known_dead=is_known)
        history.live("a run", ["right"], other_script)
        history.end()


@settings(max_examples=EXAMPLES)
@given(
    terms=drawn.limits,
    keys=st.permutations(KEYS),
    again=drawn.regenerates,
    script=drawn.scripts,
    kill=drawn.kills,
    other_script=drawn.scripts,
)
def test_a_kill_under_limits(
    terms: Terms,
    keys: list[str],
    again: str | None,
    script: list[Answer],
    kill: Mishap,
    other_script: list[Answer],
) -> None:
    """A process is killed, and its like goes on under the same budget or limit in flight."""
    with History.beginning(terms) as history:
        history.live("a killed run", keys[:2], script, [kill], again=again)
        history.live("a run", keys[2:], other_script, again=again)
        history.end()


@settings(max_examples=EXAMPLES)
@given(key=drawn.keys, again=drawn.regenerates, script=drawn.scripts, full=drawn.full_disks)
def test_a_full_disk_at_any_step(
    key: str, again: str | None, script: list[Answer], full: Mishap
) -> None:
    """The ledger or the folder takes nothing at any step of one item's life."""
    with History.beginning(Terms()) as history:
        history.live("a run", [key], script, [full], again=again)
        history.end()


@settings(max_examples=EXAMPLES)
@given(
    key=drawn.keys,
    again=drawn.regenerates,
    script=drawn.scripts,
    nap=drawn.naps,
    other_script=drawn.scripts,
    other_kill=drawn.perhaps_kills,
)
def test_a_nap_at_any_step(
    key: str,
    again: str | None,
    script: list[Answer],
    nap: Mishap,
    other_script: list[Answer],
    other_kill: Mishap | None,
) -> None:
    """A process sleeps at any step, and another takes its lease over before it wakes."""
    with History.beginning(Terms()) as history:

        def meanwhile() -> None:
            history.aside([key], other_script, [other_kill] if other_kill else [], again)

        history.live("a sleeper", [key], script, [nap], again=again, meanwhile=meanwhile)
        history.end()
