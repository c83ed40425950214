"""Strategies of hypothesis: simple cases are likely, so that a failure shrinks to few faults."""

from __future__ import annotations

from hypothesis import strategies as st

from imagegen_pipeline.domain.limits import Budget
from imagegen_pipeline_tests.fuzz.properties.environment import KEYS, UserLimits
from imagegen_pipeline_tests.fuzz.properties.history import INTENTS
from imagegen_pipeline_tests.fuzz.properties.simulated_process import (
    DISK_STEPS,
    LEDGER_STEPS,
    PROVIDER_STEPS,
    Fault,
)
from imagegen_pipeline_tests.fuzz.properties.simulated_provider import (
    REFUSALS,
    SILENCES,
    STUCK,
    UNREADABLE,
    Answer,
)

_TROUBLES = ("busy", "limited", "unreachable", "unreadable", "no credit", "refuses")
_OFTEN = ("provider.submit", *LEDGER_STEPS[:4], "disk.link")
"""Steps at which most can be lost."""

answers = st.builds(
    Answer,
    submit=st.sampled_from(
        ("job", "job", "picture", "job", "picture", "job", *SILENCES, *REFUSALS, UNREADABLE)
    ),
    by_url=st.booleans().map(lambda inside: not inside),
    whole=st.sampled_from((True, True, True, True, False)),
    runs=st.sampled_from((0, 0, 1, 3, STUCK)),
    polls=st.one_of(
        st.just(()),
        st.lists(st.sampled_from(_TROUBLES), max_size=2).map(tuple),
        st.just(("busy",) * 12),
    ),
    ends=st.sampled_from(("done", "done", "done", "fails")),
    can_cancel=st.booleans(),
    downloads=st.sampled_from(
        ((), (), ("fails",), ("fails",) * 5, ("broken",), ("fails", "broken"), ("gone",))
    ),
)
deliveries = st.builds(
    Answer,
    submit=st.sampled_from(("job", "picture")),
    by_url=st.booleans().map(lambda inside: not inside),
    runs=st.sampled_from((0, 1)),
)
"""Answers that deliver an image."""
scripts = st.lists(st.one_of(deliveries, answers), max_size=4)
keys = st.sampled_from(KEYS)
items = st.lists(keys, min_size=1, max_size=3, unique=True)
regenerates = st.sampled_from((None, None, None, *INTENTS))
user_limits = st.builds(
    UserLimits,
    on_unknown=st.sampled_from(("resubmit", "resubmit", "hold")),
    budget=st.builds(
        Budget,
        run=st.sampled_from((None, None, None, 1.0, 2.0)),
        day=st.sampled_from((None, None, None, 3.0)),
    ),
    in_flight=st.sampled_from((None, None, 1, 2)),
)
limits = st.one_of(
    st.builds(UserLimits, budget=st.builds(Budget, run=st.sampled_from((1.0, 2.0)))),
    st.builds(UserLimits, budget=st.builds(Budget, day=st.sampled_from((1.0, 2.0)))),
    st.builds(UserLimits, in_flight=st.just(1)),
)
"""Limits that are too low for all requested items."""
_times = st.sampled_from((1, 1, 1, 2, 3))
_full = st.sampled_from((*LEDGER_STEPS, *DISK_STEPS[:-1]))
_steps = st.sampled_from((*_OFTEN, *PROVIDER_STEPS, *LEDGER_STEPS, *DISK_STEPS))

kills = st.builds(Fault, st.just("killed"), _steps, _times, st.booleans())
stops = st.builds(Fault, st.sampled_from(("stopped", "terminated")), _steps, _times)
full_disks = st.builds(Fault, st.just("full"), _full, _times, lasting=st.booleans())
perhaps_kills = st.one_of(st.none(), kills, st.just(Fault("killed", "leases.acquire", after=True)))
sleeps = st.one_of(
    st.just(Fault("asleep", "attempts.start")),
    st.builds(Fault, st.just("asleep"), _steps, _times, st.booleans()),
)
