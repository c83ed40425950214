"""Who is asked for at once: all jobs together keep to the settings, and single ones get through."""

from __future__ import annotations

import pytest

from imagegen_pipeline.web.jobs.slot_pool import Reservation, SlotPool


class Queue:
    """Places, and what each ticket has got so far."""

    def __init__(self, count: int) -> None:
        self.places = SlotPool(count)
        self.got: dict[str, int] = {}
        self.tickets: dict[str, Reservation] = {}

    def ask(self, name: str, items: int = 1) -> None:
        """A ticket of so many items."""
        ticket = Reservation(items, lambda places: self.got.__setitem__(name, places))
        self.tickets[name] = ticket
        self.places.reserve(ticket)

    def end(self, name: str) -> None:
        """The work of a ticket is done."""
        del self.got[name]
        self.places.release(self.tickets[name])


def test_single_pictures_take_one_place_each_and_then_wait() -> None:
    """As many as there are places; the next gets the first that comes free."""
    queue = Queue(8)
    for number in range(10):
        queue.ask(f"s{number}")
    assert queue.got == {f"s{number}": 1 for number in range(8)}
    assert queue.places.waiting_items == 2
    queue.end("s3")
    assert "s8" in queue.got
    assert "s9" not in queue.got


def test_a_large_job_leaves_two_places_to_single_pictures() -> None:
    """A thousand pictures take six of eight places; two single ones begin at once."""
    queue = Queue(8)
    queue.ask("large", 1000)
    assert queue.got == {"large": 6}
    queue.ask("a")
    queue.ask("b")
    queue.ask("c")
    assert queue.got == {"large": 6, "a": 1, "b": 1}


def test_a_job_of_few_takes_no_more_than_it_needs() -> None:
    """Three pictures take three places, and the next job the rest."""
    queue = Queue(8)
    queue.ask("few", 3)
    queue.ask("more", 50)
    assert queue.got == {"few": 3, "more": 3}


def test_large_jobs_come_one_after_another() -> None:
    """First come, first served; a single picture passes them in the places that are kept."""
    queue = Queue(8)
    for name in ("first", "second", "third"):
        queue.ask(name, 100)
    queue.ask("single")
    assert queue.got == {"first": 6, "single": 1}
    queue.end("first")
    assert queue.got == {"second": 6, "single": 1}


def test_single_pictures_do_not_starve_a_large_job() -> None:
    """While a large one waits, single ones have the kept places only."""
    queue = Queue(4)
    for number in range(4):
        queue.ask(f"s{number}")
    queue.ask("large", 100)
    for number in range(4, 20):
        queue.ask(f"s{number}")
    for number in range(3):
        queue.end(f"s{number}")
    assert queue.got["large"] >= 1
    assert sum(queue.got.values()) <= 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_places_serve_everybody(count: int) -> None:
    """With one to three places large and single jobs all come to their turn, in bounds."""
    queue = Queue(count)
    names = ["large", "single", "large2", "single2"]
    for name in names:
        queue.ask(name, 9 if "large" in name else 1)
    served = []
    while queue.got:
        assert sum(queue.got.values()) <= count
        served += list(queue.got)
        for name in list(queue.got):
            queue.end(name)
    assert sorted(served) == sorted(names)


def test_who_leaves_the_queue_makes_room() -> None:
    """A stopped job that waits is withdrawn, and does not hold others up."""
    queue = Queue(1)
    for name, items in (("running", 1), ("waiting", 9), ("next", 1)):
        queue.ask(name, items)
    assert queue.places.withdraw(queue.tickets["waiting"])
    assert not queue.places.withdraw(queue.tickets["running"])
    queue.end("running")
    assert queue.got == {"next": 1}
