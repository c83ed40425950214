"""One item and one mishap: whatever the step, the next run brings the picture home."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from imagegen_pipeline_tests.properties import drawn
from imagegen_pipeline_tests.properties.history import History
from imagegen_pipeline_tests.properties.life import Mishap
from imagegen_pipeline_tests.properties.witness import Answer
from imagegen_pipeline_tests.properties.world import Terms

EXAMPLES = 50


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
)
def test_a_nap_at_any_step(
    key: str,
    again: str | None,
    script: list[Answer],
    nap: Mishap,
    other_script: list[Answer],
) -> None:
    """A process sleeps at any step, and another takes its lease over before it wakes."""
    with History.beginning(Terms()) as history:

        def meanwhile() -> None:
            history.aside([key], other_script, [], again)

        history.live("a sleeper", [key], script, [nap], again=again, meanwhile=meanwhile)
        history.end()
