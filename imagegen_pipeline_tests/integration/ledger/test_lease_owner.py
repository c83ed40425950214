"""Leases of the dead: free at once where the death is certain, and only there."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing

import pytest

from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.ledger.lease_owner import is_dead, new_owner
from imagegen_pipeline_tests.conftest import until

HOLD = """
import sys, time
from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.ledger.lease_owner import new_owner
Ledger(sys.argv[1]).leases.acquire(["item:a"], new_owner())
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(ledger: Ledger, url: str) -> subprocess.Popen[str]:
    """Another process that holds the lease on ``a``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_a_killed_processs_lease_is_free_at_once(
    ledger: Ledger, holder: subprocess.Popen[str], reaped: bool
) -> None:
    """After SIGKILL nobody waits for the lease to run out; while it lives everybody does."""
    assert holder.stdout is not None
    with closing(holder.stdout):
        assert ledger.leases.acquire(["item:a"], new_owner()) is None
        holder.kill()
        if reaped:
            holder.wait(timeout=30)
            assert ledger.leases.acquire(["item:a"], new_owner()) is not None
        else:
            until(lambda: ledger.leases.acquire(["item:a"], new_owner()))
            holder.wait(timeout=30)


def test_a_sleeping_process_keeps_its_lease(ledger: Ledger, holder: subprocess.Popen[str]) -> None:
    """A stopped process is not dead: it may wake."""
    assert holder.stdout is not None
    with closing(holder.stdout):
        holder.send_signal(signal.SIGSTOP)
        assert ledger.leases.acquire(["item:a"], new_owner()) is None
        holder.kill()
        holder.wait(timeout=30)


@pytest.mark.parametrize(
    "owner",
    [
        "another machine/1/abc",
        "",
        "something else",
        f"{new_owner().partition('/')[0]}/not a number/abc",
        new_owner(),
    ],
    ids=["elsewhere", "nobody", "a stranger", "no process", "this process"],
)
def test_an_owner_whose_end_is_not_certain_counts_as_alive(owner: str) -> None:
    """Owners of other machines, of no known form, and processes that run are not dead."""
    assert not is_dead(owner)


def test_no_two_owners_are_alike() -> None:
    """Two batches of one process are two owners."""
    assert new_owner() != new_owner()
