"""The slot pool: jobs share the concurrency limit, and single images are not delayed."""

from __future__ import annotations

import pytest

from imagegen_pipeline.web.jobs.slot_pool import Reservation, SlotPool


class PoolUser:
    """A pool with named reservations, and the slots that each has."""

    def __init__(self, count: int) -> None:
        self.pool = SlotPool(count)
        self.slots: dict[str, int] = {}
        self.reservations: dict[str, Reservation] = {}

    def ask(self, name: str, items: int = 1) -> None:
        """Reserve slots for this number of items."""
        reservation = Reservation(items, lambda slots: self.slots.__setitem__(name, slots))
        self.reservations[name] = reservation
        self.pool.reserve(reservation)

    def end(self, name: str) -> None:
        """Release the slots of a reservation."""
        del self.slots[name]
        self.pool.release(self.reservations[name])


def test_single_images_take_one_slot_each() -> None:
    """The next one gets the first slot that is released."""
    user = PoolUser(8)
    for number in range(10):
        user.ask(f"s{number}")
    assert user.slots == {f"s{number}": 1 for number in range(8)}
    assert user.pool.waiting_items == 2
    user.end("s3")
    assert "s8" in user.slots
    assert "s9" not in user.slots


def test_a_large_job_leaves_two_slots_for_single_images() -> None:
    """A thousand images take six of eight slots; two single ones start at once."""
    user = PoolUser(8)
    user.ask("large", 1000)
    assert user.slots == {"large": 6}
    user.ask("a")
    user.ask("b")
    user.ask("c")
    assert user.slots == {"large": 6, "a": 1, "b": 1}


def test_a_small_job_takes_only_the_slots_it_needs() -> None:
    """Three images take three slots, and the next job the rest."""
    user = PoolUser(8)
    user.ask("few", 3)
    user.ask("more", 50)
    assert user.slots == {"few": 3, "more": 3}


def test_large_jobs_run_one_after_another() -> None:
    """First come, first served; a single image overtakes them in the reserved slots."""
    user = PoolUser(8)
    for name in ("first", "second", "third"):
        user.ask(name, 100)
    user.ask("single")
    assert user.slots == {"first": 6, "single": 1}
    user.end("first")
    assert user.slots == {"second": 6, "single": 1}


def test_single_images_do_not_starve_a_large_job() -> None:
    """While a large job waits, single images get the reserved slots only."""
    user = PoolUser(4)
    for number in range(4):
        user.ask(f"s{number}")
    user.ask("large", 100)
    for number in range(4, 20):
        user.ask(f"s{number}")
    for number in range(3):
        user.end(f"s{number}")
    assert user.slots["large"] >= 1
    assert sum(user.slots.values()) <= 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_slots_serve_all_jobs(count: int) -> None:
    """With one to three slots, large and single jobs all run within the limit."""
    user = PoolUser(count)
    names = ["large", "single", "large2", "single2"]
    for name in names:
        user.ask(name, 9 if "large" in name else 1)
    served = []
    while user.slots:
        assert sum(user.slots.values()) <= count
        served += list(user.slots)
        for name in list(user.slots):
            user.end(name)
    assert sorted(served) == sorted(names)


def test_a_withdrawn_reservation_delays_no_others() -> None:
    """A waiting job that is stopped leaves the queue."""
    user = PoolUser(1)
    for name, items in (("running", 1), ("waiting", 9), ("next", 1)):
        user.ask(name, items)
    assert user.pool.withdraw(user.reservations["waiting"])
    assert not user.pool.withdraw(user.reservations["running"])
    user.end("running")
    assert user.slots == {"next": 1}
