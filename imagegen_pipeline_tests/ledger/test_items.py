"""The ledger knows what is wanted: what is new, changed, gone, back again, or unreadable."""

from __future__ import annotations

from contextlib import closing

from imagegen_pipeline.domain.actors import Actor, ActorScan
from imagegen_pipeline.ledger import Ledger, ScanChange
from imagegen_pipeline_tests.ledger.things import FOLDER, problem, prompt, scan


def test_a_first_scan_is_all_news(ledger: Ledger) -> None:
    """Everything is new, present in the source's order, and first seen now."""
    change = ledger.items.record(scan(prompt("b"), prompt("a"), prompt("c")))

    assert change == ScanChange(new=("b", "a", "c"))
    assert ledger.items.keys("prompt") == ["b", "a", "c"]
    item = ledger.items.get(["a"])["a"]
    assert (item.revision, item.gone) == (1, False)
    assert item.first_seen == item.last_seen > 0


def test_an_item_comes_back_from_the_ledger_as_it_was(ledger: Ledger) -> None:
    """A key is turned back into its whole prompt, or actor, also by another process."""
    given = prompt(
        "db-7",
        "a boat, ein Böötchen \N{SAILBOAT}",
        row_id=7,
        image_id="img-7",
        descriptive_name="boat",
        pic_name="p",
        image_url="https://x.example/7.png",
        original_filename="boat.png",
    )
    actor = Actor("0100_sailor", "an old sailor", "/actors", "/actors/0100/actor.json", 64, 96, 9)
    ledger.items.record(scan(given))
    ledger.items.record(ActorScan("/actors", (actor,)))
    found = ledger.items.get(["0100_sailor", "nobody", "db-7"])

    assert list(found) == ["0100_sailor", "db-7"], "in the order asked for, without unknown ones"
    assert found["db-7"].thing == given
    assert found["0100_sailor"].thing == actor


def test_the_same_text_again_is_unchanged(ledger: Ledger) -> None:
    """A second look at the same source changes only when it was last seen."""
    ledger.items.record(scan(prompt("a"), prompt("b")))
    before = ledger.items.get(["a"])["a"]
    change = ledger.items.record(scan(prompt("a"), prompt("b")))
    after = ledger.items.get(["a"])["a"]

    assert change == ScanChange(unchanged=2)
    assert (after.first_seen, after.revision) == (before.first_seen, 1)
    assert after.last_seen > before.last_seen
    assert ledger.items.last_sequence() == 2


def test_another_text_is_a_change(ledger: Ledger) -> None:
    """A changed text counts its revisions, keeps its place and is news."""
    ledger.items.record(scan(prompt("a"), prompt("b")))
    change = ledger.items.record(scan(prompt("a", "a ship"), prompt("b")))

    assert change == ScanChange(changed=("a",), unchanged=1)
    item = ledger.items.get(["a"])["a"]
    assert item.revision == 2
    assert item.thing == prompt("a", "a ship")
    assert ledger.items.keys("prompt") == ["a", "b"]
    assert ledger.items.news("prompt", after=2, limit=10) == [(3, "a")]


def test_what_was_only_moved_or_renamed_is_no_news(ledger: Ledger) -> None:
    """The same text at another place is written down there, and nothing is requested for it."""
    ledger.items.record(scan(prompt("a")))
    moved = prompt("a", container="/elsewhere", location="/elsewhere/a.json", pic_name="new")
    change = ledger.items.record(scan(moved, container="/elsewhere"))

    assert change == ScanChange(unchanged=1)
    assert ledger.items.get(["a"])["a"].thing == moved
    assert ledger.items.last_sequence() == 1
    assert ledger.items.record(scan()).gone == (), "its old folder has nothing to say of it"


def test_what_a_scan_no_longer_has_is_gone(ledger: Ledger) -> None:
    """Gone once, in the source's order; it stays known, and is no longer present."""
    ledger.items.record(scan(prompt("a"), prompt("b"), prompt("c")))
    change = ledger.items.record(scan(prompt("b")))

    assert change == ScanChange(gone=("a", "c"), unchanged=1)
    assert ledger.items.keys("prompt") == ["b"]
    assert ledger.items.get(["a"])["a"].gone
    assert ledger.items.record(scan(prompt("b"))).gone == ()
    assert ledger.items.news("prompt", after=0, limit=10) == [(2, "b")]


def test_what_comes_back_is_present_again(ledger: Ledger) -> None:
    """The same text back is what it was; a new text back is a change."""
    ledger.items.record(scan(prompt("a"), prompt("b")))
    ledger.items.record(scan())
    change = ledger.items.record(scan(prompt("a"), prompt("b", "a ship")))

    assert change == ScanChange(changed=("b",), unchanged=1)
    assert ledger.items.keys("prompt") == ["a", "b"]
    assert not ledger.items.get(["a"])["a"].gone
    assert ledger.items.get(["a"])["a"].revision == 1


def test_a_source_that_could_not_be_read_makes_nothing_gone(ledger: Ledger) -> None:
    """A missing database or folder is a problem, not an empty source."""
    ledger.items.record(scan(prompt("a")))
    change = ledger.items.record(scan(problems=(problem(FOLDER),), complete=False))

    assert change == ScanChange()
    assert ledger.items.keys("prompt") == ["a"]
    assert [found.location for found in ledger.items.problems()] == [FOLDER]


def test_an_item_that_cannot_be_read_now_is_not_gone(ledger: Ledger) -> None:
    """A file that is half written, or a row that is broken, has not left its source."""
    ledger.items.record(scan(prompt("a"), prompt("b")))
    change = ledger.items.record(scan(problems=(problem(f"{FOLDER}/a.json"),)))

    assert change.gone == ("b",)
    assert ledger.items.keys("prompt") == ["a"]


def test_only_ones_own_source_can_make_an_item_gone(ledger: Ledger) -> None:
    """An empty scan of another folder, or of actors, says nothing of these prompts."""
    ledger.items.record(scan(prompt("a")))
    ledger.items.record(scan(container="/other"))
    ledger.items.record(ActorScan(FOLDER))

    assert ledger.items.keys("prompt") == ["a"]


def test_problems_are_those_of_the_last_scan(ledger: Ledger) -> None:
    """A repaired file's problem goes away; those of other sources stay."""
    other = problem("/db#1", container="/db")
    ledger.items.record(scan(problems=(problem("/a"), problem("/b"))))
    ledger.items.record(scan(container="/db", problems=(other,)))
    ledger.items.record(scan(problems=(problem("/b", "It is worse."),)))

    assert ledger.items.problems() == [other, problem("/b", "It is worse.")]


def test_news_come_in_the_order_in_which_they_happened(ledger: Ledger) -> None:
    """New and changed items count on in one sequence; a cursor reads them in portions."""
    ledger.items.record(scan(prompt("a"), prompt("b"), prompt("c")))
    ledger.items.record(scan(prompt("a", "a ship"), prompt("b"), prompt("c"), prompt("d")))

    assert ledger.items.news("prompt", after=0, limit=2) == [(2, "b"), (3, "c")]
    rest = ledger.items.news("prompt", after=3, limit=10)
    assert sorted(key for _, key in rest) == ["a", "d"]
    assert [sequence for sequence, _ in rest] == [4, 5]
    assert ledger.items.last_sequence() == 5
    assert ledger.items.news("prompt", after=5, limit=10) == []


def test_actors_and_prompts_are_kept_apart(ledger: Ledger) -> None:
    """Keys and news are of one kind each, in one sequence."""
    ledger.items.record(scan(prompt("a")))
    ledger.items.record(ActorScan("/actors", (Actor("sailor", "a sailor", "/actors"),)))

    assert ledger.items.keys("actor") == ["sailor"]
    assert ledger.items.news("actor", after=0, limit=10) == [(2, "sailor")]


def test_an_actors_size_is_part_of_it(ledger: Ledger) -> None:
    """An actor whose size or seed changes has changed, like one with another description."""
    ledger.items.record(ActorScan("/actors", (Actor("sailor", "a sailor", "/actors"),)))
    wider = Actor("sailor", "a sailor", "/actors", width=1360)

    assert ledger.items.record(ActorScan("/actors", (wider,))).changed == ("sailor",)


def test_many_items_are_one_scan(ledger: Ledger) -> None:
    """More items than a database takes in one statement are recorded, found and missed."""
    prompts = [prompt(f"p{number:04}") for number in range(1203)]
    assert len(ledger.items.record(scan(*prompts)).new) == 1203
    assert ledger.items.record(scan(*prompts)).unchanged == 1203
    assert len(ledger.items.get(one.key for one in prompts)) == 1203
    assert len(ledger.items.record(scan()).gone) == 1203


def test_the_items_are_there_for_the_next_process(ledger: Ledger, url: str) -> None:
    """What one ledger wrote, another on the same file reads."""
    ledger.items.record(scan(prompt("a")))
    with closing(Ledger(url)) as other:
        assert other.items.keys("prompt") == ["a"]
        assert other.items.record(scan(prompt("a"))) == ScanChange(unchanged=1)
