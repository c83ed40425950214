"""The ledger knows what is wanted: what is new, changed, gone, back again, or unreadable."""

from __future__ import annotations

from contextlib import closing

from imagegen_pipeline.domain.actors import Actor, ActorScan
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.ledger import Ledger, ScanChange, ScanPart, SourceChange, SourceState
from imagegen_pipeline_tests.ledger.ledger_rows import FOLDER, problem, prompt, scan


def news(ledger: Ledger, kind: ItemKind, *, after: int, limit: int = 10) -> list[tuple[int, str]]:
    """The changes of what is there, by their numbers."""
    changes = ledger.items.changes(kind, after=after, until=99, limit=limit)
    return [(change.sequence, change.key) for change in changes if not change.gone]


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
    assert found["db-7"].source_item == given
    assert found["0100_sailor"].source_item == actor


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
    assert item.source_item == prompt("a", "a ship")
    assert ledger.items.keys("prompt") == ["a", "b"]
    assert news(ledger, "prompt", after=2, limit=10) == [(3, "a")]


def test_what_was_only_moved_or_renamed_is_no_news(ledger: Ledger) -> None:
    """The same text at another place is written down there, and nothing is requested for it."""
    ledger.items.record(scan(prompt("a")))
    moved = prompt("a", container="/elsewhere", location="/elsewhere/a.json", pic_name="new")
    change = ledger.items.record(scan(moved, container="/elsewhere"))

    assert change == ScanChange(unchanged=1)
    assert ledger.items.get(["a"])["a"].source_item == moved
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
    assert news(ledger, "prompt", after=0, limit=10) == [(2, "b")]


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

    assert news(ledger, "prompt", after=0, limit=2) == [(2, "b"), (3, "c")]
    rest = news(ledger, "prompt", after=3, limit=10)
    assert sorted(key for _, key in rest) == ["a", "d"]
    assert [sequence for sequence, _ in rest] == [4, 5]
    assert ledger.items.last_sequence() == 5
    assert news(ledger, "prompt", after=5, limit=10) == []


def test_actors_and_prompts_are_kept_apart(ledger: Ledger) -> None:
    """Keys and news are of one kind each, in one sequence."""
    ledger.items.record(scan(prompt("a")))
    ledger.items.record(ActorScan("/actors", (Actor("sailor", "a sailor", "/actors"),)))

    assert ledger.items.keys("actor") == ["sailor"]
    assert news(ledger, "actor", after=0, limit=10) == [(2, "sailor")]


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


def test_what_leaves_and_comes_back_is_a_change_each_time(ledger: Ledger) -> None:
    """Who follows the changes hears of an item that is gone, and of its return, in that order."""
    ledger.items.record(scan(prompt("a"), prompt("b")))
    ledger.items.record(scan(prompt("b")))
    assert ledger.items.changes("prompt", after=2, until=9, limit=9) == [SourceChange(3, "a", True)]
    ledger.items.record(scan(prompt("a"), prompt("b")))
    (change,) = ledger.items.changes("prompt", after=3, until=9, limit=9)
    assert change == SourceChange(4, "a", False)
    assert ledger.items.changes("prompt", after=0, until=3, limit=9) == [
        SourceChange(2, "b", False)
    ]
    assert ledger.items.count_changes("prompt", after=2) == 1
    assert (ledger.items.last_sequence("prompt"), ledger.items.last_sequence("actor")) == (4, 0)


def test_a_part_says_nothing_of_what_it_does_not_name(ledger: Ledger) -> None:
    """A part of a source brings new and changed items and those that left; the rest stays."""
    ledger.items.record(scan(prompt("a"), prompt("b"), prompt("c"), problems=(problem("/x"),)))
    source_items = [(prompt("a", "a ship"), "s1"), (prompt("d"), "s2")]
    change = ledger.items.record_part(ScanPart("prompt", FOLDER, source_items, gone=["b"]))

    assert change == ScanChange(new=("d",), changed=("a",), gone=("b",))
    assert ledger.items.keys("prompt") == ["a", "c", "d"]
    assert ledger.items.problems() == [problem("/x")]


def test_a_part_changes_only_its_own_problems(ledger: Ledger) -> None:
    """What is readable again is no problem any more, what is not is one; others stay."""
    ledger.items.record(scan(problems=(problem("/x"), problem("/y"), problem("/z"))))
    worse = problem("/y", "It is worse.")
    ledger.items.record_part(ScanPart("prompt", FOLDER, problems=[worse], readable=["/x"]))

    assert ledger.items.problems() == [worse, problem("/z")]


def test_another_stamp_of_the_same_text_is_no_change(ledger: Ledger) -> None:
    """A file that was only touched has its new stamp written down, and nothing else."""
    ledger.items.record_part(ScanPart("prompt", FOLDER, [(prompt("a"), "s1")]))
    before = ledger.items.get(["a"])["a"]
    change = ledger.items.record_part(ScanPart("prompt", FOLDER, [(prompt("a"), "s2")]))

    assert change == ScanChange(unchanged=1)
    assert ledger.items.get(["a"])["a"] == before
    assert ledger.items.last_sequence() == 1
    assert ledger.reads.files("prompt", FOLDER) == {f"{FOLDER}/a.json": ("a", "s2")}


def test_who_reads_without_stamps_leaves_those_of_what_is_the_same(ledger: Ledger) -> None:
    """What has another text than its stamp was taken of has none any more; nor has what is gone."""
    source_items = [(prompt(key), f"s-{key}") for key in "abc"]
    ledger.items.record_part(ScanPart("prompt", FOLDER, source_items))
    ledger.items.record(scan(prompt("a"), prompt("b", "a ship")))
    ledger.items.record(scan(prompt("a"), prompt("b", "a ship"), prompt("c")))

    stamps = dict(ledger.reads.files("prompt", FOLDER).values())
    assert stamps == {"a": "s-a", "b": None, "c": None}


def test_how_far_a_source_was_read_is_doubted_when_another_was_at_it(ledger: Ledger) -> None:
    """Two processes that read a source at once: the stamp of the later one does not count."""
    first = SourceState("stamp 1", 10.0, {"after": "i5"})
    ledger.items.record_part(ScanPart("prompt", FOLDER), first)
    assert ledger.reads.get(FOLDER) == first
    second = SourceState("stamp 2", 20.0)
    ledger.reads.put(FOLDER, second, instead_of=first)
    assert ledger.reads.get(FOLDER) == second
    ledger.reads.put(FOLDER, SourceState("stamp 3", 30.0), instead_of=first)
    assert ledger.reads.get(FOLDER) == SourceState("", 30.0)


def test_a_source_whose_item_another_one_took_is_looked_through_again(ledger: Ledger) -> None:
    """An item has one place; the source that had it before has to say so again."""
    read = SourceState("stamp", 10.0)
    ledger.items.record_part(ScanPart("prompt", FOLDER, [(prompt("a"), "s")]), read)
    elsewhere = prompt("a", container="/other", location="/other/a.json")
    ledger.items.record(scan(elsewhere, container="/other"))

    assert ledger.reads.get(FOLDER) == SourceState("", 10.0)


def test_what_is_forgotten_is_read_again(ledger: Ledger) -> None:
    """No stamp of the source is believed any more; those of others are."""
    for folder in (FOLDER, "/other"):
        place = {"container": folder, "location": f"{folder}/a.json"}
        part = ScanPart("prompt", folder, [(prompt(f"in {folder}", **place), "s")])
        ledger.items.record_part(part, SourceState("stamp", 10.0))
    ledger.reads.forget("prompt", FOLDER)

    assert ledger.reads.get(FOLDER) is None
    assert ledger.reads.get("/other") is not None
    assert ledger.reads.files("prompt", FOLDER) == {f"{FOLDER}/a.json": (f"in {FOLDER}", None)}
    assert ledger.reads.files("prompt", "/other") == {"/other/a.json": ("in /other", "s")}
