"""Limits and budgets are asked in the transaction that says that a request leaves."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from imagegen_pipeline.domain.errors import (
    BudgetReachedError,
    DayLimitError,
    LeaseLostError,
    RequestRefusedError,
    UnknownPriceError,
)
from imagegen_pipeline.domain.limits import Budget, Limits
from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.ledger.admission import AdmissionRules, Deferred
from imagegen_pipeline_tests.unit.ledger.ledger_rows import (
    nothing_on_disk,
    plan,
    prompt,
    read_whole,
    request,
    scan,
    store,
    submitting,
)

MINUTE, DAY = 60.0, 86_400.0


@pytest.fixture(autouse=True)
def items(ledger: Ledger) -> None:
    """Items to make pictures for."""
    ledger.items.record(scan(*(prompt(key) for key in "abcdefgh")))


def age(url: str, seconds: float) -> None:
    """As if everything had been sent so much earlier."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE attempts SET submitted_at = submitted_at - ?", (seconds,))


def ask(ledger: Ledger, attempt: Attempt, **terms: object) -> Attempt | Deferred:
    """Ask once whether ``attempt`` may leave, with a lease of its own."""
    lease = ledger.leases.acquire([f"item:{attempt.item_key}"], "asker")
    assert lease is not None
    try:
        return ledger.attempts.start(
            attempt, AdmissionRules(lease, **terms), on_disk=nothing_on_disk
        )
    finally:
        ledger.leases.release("asker")


def test_a_lease_that_ended_admits_nothing(ledger: Ledger, url: str) -> None:
    """A process that slept through the end of its lease, and whoever took it over: only the
    second may send.
    """
    attempt = plan(ledger, "a")
    mine = ledger.leases.acquire(["item:a", "request:x"], "sleeper")
    assert mine is not None
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE leases SET until = 0")
    with pytest.raises(LeaseLostError):
        ledger.attempts.start(attempt, AdmissionRules(mine), on_disk=nothing_on_disk)
    theirs = ledger.leases.acquire(["item:a", "request:x"], "the next")
    assert theirs is not None
    assert theirs.epoch > mine.epoch
    with pytest.raises(LeaseLostError) as caught:
        ledger.attempts.start(attempt, AdmissionRules(mine), on_disk=nothing_on_disk)
    assert not caught.value.stops_batch
    assert ledger.attempts.start(attempt, AdmissionRules(theirs), on_disk=nothing_on_disk)


def test_half_a_lease_admits_nothing(ledger: Ledger) -> None:
    """The item is still held and the shared request is another's: nothing leaves."""
    mine = ledger.leases.acquire(["item:a", "request:x"], "one")
    assert mine is not None
    ledger.leases.release("one")
    ledger.leases.acquire(["request:x"], "two")
    ledger.leases.acquire(["item:a"], "one")
    with pytest.raises(LeaseLostError):
        ledger.attempts.start(plan(ledger, "a"), AdmissionRules(mine), on_disk=nothing_on_disk)


def test_epochs_grow_for_ever(ledger: Ledger) -> None:
    """A lease that was given back does not bring its number back."""
    epochs = []
    for _ in range(3):
        lease = ledger.leases.acquire(["item:a"], "one")
        assert lease is not None
        epochs.append(lease.epoch)
        ledger.leases.release("one")
    assert epochs == sorted(set(epochs))


def test_in_flight_counts_what_is_not_made_yet(ledger: Ledger) -> None:
    """Two may be in flight: a third waits until one is made, and is counted by service."""
    limits = Limits(in_flight=2)
    first = submitting(ledger, plan(ledger, "a"), limits=limits)
    second = submitting(ledger, plan(ledger, "b"), limits=limits)
    ledger.attempts.submitted(second, job_id="j", endpoint="e")
    third = plan(ledger, "c")

    waiting = ask(ledger, third, limits=limits)
    assert isinstance(waiting, Deferred)
    assert waiting.seconds > 0
    assert "2 in flight" in waiting.reason
    assert ledger.attempts.get([third.id])[0].state is State.PLANNED

    ledger.attempts.completed(first, result_url=None)
    assert isinstance(ask(ledger, third, limits=limits), Attempt)


def test_what_a_dead_process_left_counts_for_a_while_only(ledger: Ledger, url: str) -> None:
    """A request without an answer holds a place as long as an answer may take, a job as long as
    a job may, and then no longer.
    """
    limits = Limits(in_flight=1)
    left = submitting(ledger, plan(ledger, "a"))
    times = {"limits": limits, "answer_seconds": 100.0, "job_seconds": 1000.0}
    age(url, 90)
    assert isinstance(ask(ledger, plan(ledger, "b"), **times), Deferred)
    ledger.attempts.submitted(left, job_id="j", endpoint="e")
    age(url, 900)
    assert isinstance(ask(ledger, plan(ledger, "c"), **times), Deferred)
    age(url, 20)
    assert isinstance(ask(ledger, plan(ledger, "d"), **times), Attempt)


def test_a_minute_holds_its_number(ledger: Ledger, url: str) -> None:
    """Of three a minute the fourth waits until the first is a minute old, and not longer."""
    limits = Limits(per_minute=3)
    submitting(ledger, plan(ledger, "a"), limits=limits)
    age(url, 50)
    for key in "bc":
        submitting(ledger, plan(ledger, key), limits=limits)
    waiting = ask(ledger, plan(ledger, "d"), limits=limits)
    assert isinstance(waiting, Deferred)
    assert waiting.seconds == pytest.approx(10, abs=5)
    age(url, waiting.seconds)
    assert isinstance(ask(ledger, plan(ledger, "e"), limits=limits), Attempt)


def test_a_refused_request_uses_nothing_up(ledger: Ledger) -> None:
    """What the service did not accept counts neither as a picture nor as money."""
    limits, budget = Limits(per_day=1), Budget(day=1.0)
    attempt = submitting(ledger, plan(ledger, "a"), limits=limits, budget=budget, reserve=1.0)
    attempt = ledger.attempts.not_accepted(attempt)
    assert (attempt.submitted_at, attempt.reserved) == (None, None)
    assert isinstance(ask(ledger, attempt, limits=limits, budget=budget, reserve=1.0), Attempt)


def test_the_days_number_stops(ledger: Ledger, url: str) -> None:
    """When the day's pictures are made, waiting would take hours: it is an error that says so;
    the next day (UTC) begins anew, and each service has its own count.
    """
    limits = Limits(per_day=2)
    for key in "ab":
        submitting(ledger, plan(ledger, key), limits=limits)
    with pytest.raises(DayLimitError) as caught:
        ask(ledger, plan(ledger, "c"), limits=limits)
    assert caught.value.stops_batch
    assert "IMAGEGEN_RATE_PER_DAY" in caught.value.remedy
    age(url, DAY)
    assert isinstance(ask(ledger, plan(ledger, "d"), limits=limits), Attempt)


def test_a_budget_stops_before_it_is_crossed(ledger: Ledger) -> None:
    """Three pictures of 0.30 fit into 1.00, a fourth does not; nothing is written for it."""
    terms = {"budget": Budget(run=1.0), "reserve": 0.3}
    for key in "abc":
        store(ledger, plan(ledger, key))  # what it cost before counts for no run of now
    for key in "abc":
        made = submitting(ledger, plan(ledger, key, intent="run"), **terms)
        ledger.attempts.completed(made, result_url=None, cost=0.3)
    fourth = plan(ledger, "d", intent="run")
    with pytest.raises(BudgetReachedError, match=r"of the run is 1: 0\.9") as caught:
        ask(ledger, fourth, **terms)
    assert caught.value.stops_batch
    assert ledger.attempts.get([fourth.id])[0].state is State.PLANNED
    other_run = plan(ledger, "d", intent="another run")
    assert isinstance(ask(ledger, other_run, **terms), Attempt)


def test_a_budget_is_met_to_the_last_cent(ledger: Ledger) -> None:
    """Ten times 0.1 are 1.0, whatever binary fractions say."""
    terms = {"budget": Budget(day=0.8), "reserve": 0.1}
    for key in "abcdefgh":
        made = submitting(ledger, plan(ledger, key), **terms)
        ledger.attempts.completed(made, result_url=None, cost=0.1)
    with pytest.raises(BudgetReachedError):
        ask(ledger, plan(ledger, "a"), **terms)


def test_money_that_is_set_aside_is_waited_for(ledger: Ledger) -> None:
    """A job that may cost 0.6 keeps the next one waiting; it cost 0.1, and the next one goes."""
    terms = {"budget": Budget(day=1.0), "reserve": 0.6}
    first = submitting(ledger, plan(ledger, "a"), **terms)
    second = plan(ledger, "b")
    waiting = ask(ledger, second, **terms)
    assert isinstance(waiting, Deferred)
    assert "0.6" in waiting.reason
    ledger.attempts.completed(first, result_url=None, cost=0.1)
    assert isinstance(ask(ledger, second, **terms), Attempt)


def test_no_limit_reads_the_whole_ledger(ledger: Ledger) -> None:
    """It is asked for every picture: what a day, a minute and a run have had stands in indexes."""
    limits, budget = Limits(in_flight=9, per_minute=9, per_day=9), Budget(run=9.0, day=9.0)
    attempt = plan(ledger, "a")
    sending = {"limits": limits, "budget": budget, "reserve": 0.1}
    assert read_whole(lambda: ask(ledger, attempt, **sending)) == []
    assert ledger.attempts.open("a")[0].state is State.SUBMITTING


def test_what_is_unknown_counts_as_spent(ledger: Ledger) -> None:
    """A request without an answer may have been billed: its money is not given out again."""
    terms = {"budget": Budget(day=1.0), "reserve": 0.6}
    lost = submitting(ledger, plan(ledger, "a"), **terms)
    ledger.attempts.unknown(lost, RequestRefusedError("Silence."))
    with pytest.raises(BudgetReachedError):
        ask(ledger, plan(ledger, "b"), **terms)


def test_a_budget_needs_a_price(ledger: Ledger) -> None:
    """With a budget, what may cost anything is not sent; without one it is."""
    attempt = plan(ledger, "a")
    with pytest.raises(UnknownPriceError, match="sdxl") as caught:
        ask(ledger, attempt, budget=Budget(day=100.0))
    assert "IMAGEGEN_PRICES" in caught.value.remedy
    assert isinstance(ask(ledger, attempt), Attempt)


def test_a_budget_of_nothing_buys_nothing(ledger: Ledger) -> None:
    """0 is a budget; what costs nothing may still be sent."""
    with pytest.raises(BudgetReachedError):
        ask(ledger, plan(ledger, "a"), budget=Budget(run=0.0), reserve=0.01)
    assert isinstance(ask(ledger, plan(ledger, "b"), budget=Budget(run=0.0), reserve=0.0), Attempt)


def test_limits_hold_across_processes(ledger: Ledger, url: str) -> None:
    """Sixteen threads on two connections ask at once for three places: three get one."""
    limits = Limits(in_flight=3)
    plans = [plan(ledger, "a", request=request(f"boat {n}")) for n in range(16)]
    with closing(Ledger(url)) as other, ThreadPoolExecutor(16) as pool:
        books = (ledger, other)

        def one(n: int) -> Attempt | Deferred:
            lease = books[n % 2].leases.acquire([f"request:{n}"], f"owner {n}")
            assert lease is not None
            return books[n % 2].attempts.start(
                plans[n], AdmissionRules(lease, limits=limits), on_disk=nothing_on_disk
            )

        answers = list(pool.map(one, range(16)))
    assert sum(isinstance(answer, Attempt) for answer in answers) == 3
