"""Attempts: every state is durable before the next, and only lawful steps are taken."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from imagegen_pipeline.domain.errors import (
    AttemptMovedError,
    JobExpiredError,
    LedgerError,
    OutcomeUnknownError,
    RequestRefusedError,
)
from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline_tests.unit.ledger.ledger_rows import (
    plan,
    prompt,
    request,
    scan,
    store,
    submitting,
)

Step = Callable[[Ledger, Attempt], Attempt]
STEPS: dict[str, Step] = {
    "submitting": submitting,
    "not_accepted": lambda ledger, attempt: ledger.attempts.not_accepted(attempt),
    "submitted": lambda ledger, attempt: ledger.attempts.submitted(
        attempt, job_id="job-1", endpoint="https://e"
    ),
    "completed": lambda ledger, attempt: ledger.attempts.completed(
        attempt, result_url="https://u", cost=0.5
    ),
    "stored": lambda ledger, attempt: ledger.attempts.stored(
        attempt, path="p.png", digest="d", warnings=["w"]
    ),
    "failed": lambda ledger, attempt: ledger.attempts.failed(attempt, RequestRefusedError("No.")),
    "unknown": lambda ledger, attempt: ledger.attempts.unknown(
        attempt, OutcomeUnknownError("Silence.")
    ),
    "held": lambda ledger, attempt: ledger.attempts.held(
        attempt, error="Silence.", remedy="Decide."
    ),
    "expired": lambda ledger, attempt: ledger.attempts.expired(
        attempt, JobExpiredError("Gone.", job_id="j")
    ),
}
LAWFUL: dict[State, tuple[list[str], list[str]]] = {
    State.PLANNED: ([], ["submitting", "stored", "failed"]),
    State.SUBMITTING: (
        ["submitting"],
        ["not_accepted", "submitted", "completed", "stored", "failed", "unknown"],
    ),
    State.SUBMITTED: (
        ["submitting", "submitted"],
        ["completed", "stored", "failed", "expired"],
    ),
    State.COMPLETED: (["submitting", "completed"], ["stored", "failed", "expired"]),
    State.STORED: (["stored"], []),
    State.FAILED: (["failed"], []),
    State.UNKNOWN: (["submitting", "unknown"], ["submitted", "completed", "stored", "held"]),
    State.HELD: (["submitting", "unknown", "held"], ["submitted", "completed", "stored"]),
    State.EXPIRED: (["submitting", "submitted", "expired"], []),
}


@pytest.fixture(autouse=True)
def items(ledger: Ledger) -> None:
    """Items to make pictures for."""
    ledger.items.record(scan(prompt("a"), prompt("b"), prompt("c")))


def walk(ledger: Ledger, steps: list[str]) -> Attempt:
    """A new attempt after these steps."""
    attempt = plan(ledger)
    for step in steps:
        attempt = STEPS[step](ledger, attempt)
    return attempt


@pytest.mark.parametrize(
    ("state", "step"), [(state, step) for state in LAWFUL for step in STEPS], ids=str
)
def test_a_step_is_taken_only_where_it_is_lawful(
    ledger: Ledger, url: str, state: State, step: str
) -> None:
    """A lawful step is seen at once by another process; another one is refused and changes
    nothing.
    """
    way, lawful = LAWFUL[state]
    attempt = walk(ledger, way)
    assert attempt.state is state
    if step in lawful:
        moved = STEPS[step](ledger, attempt)
        expected = moved
        assert moved.state is not state
    else:
        with pytest.raises(AttemptMovedError, match=str(state)):
            STEPS[step](ledger, attempt)
        expected = attempt
    with closing(Ledger(url)) as other:
        assert other.attempts.get([attempt.id]) == [expected]


def test_a_step_goes_by_the_ledger_and_not_by_memory(ledger: Ledger) -> None:
    """An attempt that another process has brought on is not brought on a second time."""
    attempt = plan(ledger)
    submitting(ledger, attempt)

    with pytest.raises(AttemptMovedError) as caught:
        submitting(ledger, attempt)
    assert not caught.value.stops_batch
    assert caught.value.remedy


def test_one_of_many_takes_the_step(ledger: Ledger) -> None:
    """Of eight threads that submit the same attempt at once, one does."""
    attempt = plan(ledger)

    def submit(_number: int) -> bool:
        try:
            submitting(ledger, attempt)
        except AttemptMovedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(submit, range(8))) == 1


def test_a_plan_is_written_down_whole(ledger: Ledger) -> None:
    """A new attempt has its name, seed and request before anything is sent."""
    asked = request(seed=-1)
    seed = 2**64 - 1
    attempt = plan(ledger, request=asked, seed=seed, intent="run-1", regenerate=True)

    assert (attempt.state, attempt.seed, attempt.intent) == (State.PLANNED, seed, "run-1")
    assert attempt.regenerate
    assert attempt.fingerprint == asked.fingerprint
    assert attempt.sent_fingerprint == asked.with_seed(seed).fingerprint
    assert attempt.sent_request == asked.with_seed(seed)
    assert (attempt.path, attempt.cost, attempt.finished_at) == (None, None, None)
    assert not attempt.reported


def test_an_attempt_of_an_unknown_item_is_refused(ledger: Ledger) -> None:
    """The ledger must know what a picture is wanted for."""
    with pytest.raises(LedgerError):
        plan(ledger, "nobody")


def test_a_taken_name_gets_a_number(ledger: Ledger) -> None:
    """A name is given once for each folder, whether the ledger or only the disk has it."""
    stems = [plan(ledger, "a").file_stem for _ in range(3)]
    assert stems == ["boat", "boat_2", "boat_3"]
    assert plan(ledger, taken=("boat_4", "boat_5")).file_stem == "boat_6"
    assert plan(ledger, folder="elsewhere").file_stem == "boat"
    assert plan(ledger, file_stem="ship", taken=("ship",)).file_stem == "ship_2"


def test_names_stay_taken_and_single_among_threads(ledger: Ledger) -> None:
    """Many planners at once get different names; an ended attempt keeps its own."""
    ledger.attempts.failed(plan(ledger), RequestRefusedError("No."))
    with ThreadPoolExecutor(8) as pool:
        stems = list(pool.map(lambda _number: plan(ledger).file_stem, range(20)))

    assert len(set(stems)) == 20
    assert "boat" not in stems
    assert ledger.attempts.is_reserved("pictures", "boat_21")
    assert not ledger.attempts.is_reserved("pictures", "boat_22")


def test_only_a_stored_picture_becomes_current(ledger: Ledger) -> None:
    """The item's current picture changes when the next one is stored, and not before."""
    first = store(ledger, plan(ledger))
    assert ledger.attempts.current("a") == first

    second = plan(ledger)
    gallery = ledger.attempts
    gallery.completed(submitting(ledger, second), result_url=None)
    assert gallery.current("a") == first
    gallery.failed(second, RequestRefusedError("No."))
    assert gallery.current("a") == first
    third = store(ledger, plan(ledger))
    assert gallery.current("a") == third
    assert gallery.current("b") is None


def test_an_end_says_what_happened_and_when(ledger: Ledger) -> None:
    """A failure keeps its kind, sentence, remedy and time."""
    attempt = ledger.attempts.failed(
        plan(ledger), RequestRefusedError("The size is wrong.", remedy="Use another.")
    )

    assert attempt.error_kind == "bad_request"
    assert (attempt.error, attempt.remedy) == ("The size is wrong.", "Use another.")
    assert attempt.seconds is not None
    assert attempt.seconds >= 0


def test_open_attempts_are_those_that_have_not_ended(ledger: Ledger) -> None:
    """Oldest first, of one item."""
    for steps in (["failed"], ["submitting", "unknown"]):
        walk(ledger, steps)
    open_ones = [
        walk(ledger, steps)
        for steps in ([], ["submitting"], ["submitting", "submitted"], ["submitting", "completed"])
    ]
    plan(ledger, "b")

    assert ledger.attempts.open("a") == open_ones
    last = ledger.attempts.last("a", open_ones[-1].fingerprint)
    assert last == open_ones[-1]


def test_an_intents_picture_is_the_newest_regenerated_one(ledger: Ledger) -> None:
    """Only stored pictures that a regenerate of this very intent made count."""
    store(ledger, plan(ledger, intent="run-1"))
    store(ledger, plan(ledger, intent="run-2", regenerate=True))
    assert ledger.attempts.of_intent("a", "run-1") is None

    plan(ledger, intent="run-1", regenerate=True)
    assert ledger.attempts.of_intent("a", "run-1") is None
    made = store(ledger, plan(ledger, intent="run-1", regenerate=True))
    assert ledger.attempts.of_intent("a", "run-1") == made
    assert ledger.attempts.of_intent("b", "run-1") is None


def test_the_same_picture_is_found_by_what_was_sent(ledger: Ledger) -> None:
    """Stored pictures of one request and seed, of any item, newest first."""
    first = store(ledger, plan(ledger, "a"))
    second = store(ledger, plan(ledger, "b"))
    store(ledger, plan(ledger, "c", seed=6))
    plan(ledger, "c")

    assert ledger.attempts.same_picture(request().fingerprint) == [second, first]
    assert ledger.attempts.history("c", request().fingerprint).identical_stored == [second, first]


def test_unreported_are_current_pictures_until_they_are_told(ledger: Ledger) -> None:
    """What Dagster has not heard of yet: only what is current, and only once."""
    store(ledger, plan(ledger, "a"))
    current = store(ledger, plan(ledger, "a"))
    other = store(ledger, plan(ledger, "b"))
    plan(ledger, "c")
    assert ledger.attempts.unreported() == [current, other]
    assert ledger.attempts.unreported(limit=1) == [current]

    ledger.attempts.reported([current.id])
    assert [attempt.id for attempt in ledger.attempts.unreported()] == [other.id]


def test_rows_are_every_attempt_with_its_item(ledger: Ledger) -> None:
    """The results are made of all attempts, oldest first, beside their items."""
    made = store(ledger, plan(ledger, "b"))
    failed = walk(ledger, ["failed"])
    rows = list(ledger.attempts.rows())

    assert [attempt for attempt, _ in rows] == [made, failed]
    assert [row.item_location for _, row in rows] == ["/prompts/b.json", "/prompts/a.json"]
    assert [row.item_current_attempt for _, row in rows] == [made.id, None]
