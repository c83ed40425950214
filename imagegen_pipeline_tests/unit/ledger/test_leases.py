"""Leases: who is at work on what."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.ledger.leases import LEASE_SECONDS

Ages = Callable[[float], None]


@pytest.fixture
def grow_old(ledger: Ledger, url: str) -> Ages:
    """Let so many seconds pass for all leases."""

    def pass_seconds(seconds: float) -> None:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute("UPDATE leases SET until = until - ?", (seconds,))

    return pass_seconds


def test_a_lease_is_exclusive_until_it_is_given_back(ledger: Ledger, url: str) -> None:
    """A second owner, also in another process, gets it only after the release."""
    with closing(Ledger(url)) as other:
        assert ledger.leases.acquire(["item:a"], "one")
        assert not other.leases.acquire(["item:a"], "two")
        assert other.leases.acquire(["item:b"], "two")
        ledger.leases.release("one")
        assert other.leases.acquire(["item:a"], "two")


def test_all_names_or_none(ledger: Ledger) -> None:
    """Who cannot have every name gets none of them."""
    ledger.leases.acquire(["request:x"], "one")

    assert not ledger.leases.acquire(["item:a", "request:x"], "two")
    assert ledger.leases.acquire(["item:a"], "three")


def test_an_owner_may_take_its_own_again(ledger: Ledger) -> None:
    """Asking again for what one has is no refusal."""
    assert ledger.leases.acquire(["item:a"], "one")
    assert ledger.leases.acquire(["item:a", "request:x"], "one")


def test_a_lease_runs_out(ledger: Ledger, grow_old: Ages) -> None:
    """Who has not said for a minute that it lives has lost its leases; until then it has them."""
    ledger.leases.acquire(["item:a"], "one")
    grow_old(LEASE_SECONDS - 5)
    assert not ledger.leases.acquire(["item:a"], "two")

    grow_old(5)
    assert ledger.leases.acquire(["item:a"], "two")


def test_a_renewed_lease_does_not_run_out(ledger: Ledger, grow_old: Ages) -> None:
    """A sign of life counts for all of a batch's leases, and for nobody else's."""
    ledger.leases.acquire(["item:a"], "batch/1")
    ledger.leases.acquire(["item:b"], "batch/2")
    ledger.leases.acquire(["item:c"], "other/1")
    grow_old(LEASE_SECONDS - 5)
    ledger.leases.renew("batch")
    grow_old(5)

    assert not ledger.leases.acquire(["item:a"], "two")
    assert not ledger.leases.acquire(["item:b"], "two")
    assert ledger.leases.acquire(["item:c"], "two")


def test_release_gives_back_only_ones_own(ledger: Ledger) -> None:
    """The end of one item's work leaves the batch's others alone."""
    ledger.leases.acquire(["item:a", "request:x"], "batch/1")
    ledger.leases.acquire(["item:b"], "batch/2")
    ledger.leases.release("batch/1")

    assert ledger.leases.acquire(["item:a", "request:x"], "two")
    assert not ledger.leases.acquire(["item:b"], "two")


def test_one_of_many_gets_the_lease(ledger: Ledger, url: str) -> None:
    """Of eight owners on two connections that ask at once, one gets it."""
    with closing(Ledger(url)) as other, ThreadPoolExecutor(8) as pool:
        books = [ledger.leases, other.leases]
        got = pool.map(lambda n: books[n % 2].acquire(["item:a"], f"owner-{n}"), range(8))
        assert sum(lease is not None for lease in got) == 1
