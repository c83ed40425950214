"""The ledger records new, changed, gone, returned and unreadable items of each source."""

from __future__ import annotations

from contextlib import closing

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.ledger import Ledger, ScanChange, SourceChange, SourceRecord, SourceState
from imagegen_pipeline_tests.unit.ledger.ledger_rows import FOLDER, problem, prompt, scan


def present_changes(
    ledger: Ledger, kind: ItemKind, *, after: int, limit: int = 10
) -> list[tuple[int, str]]:
    """The changes of present items, with their sequence numbers."""
    changes = ledger.items.changes(kind, after=after, until=99, limit=limit)
    return [(change.sequence, change.key) for change in changes if not change.gone]


def actors(*given: Actor) -> SourceRecord:
    """A record of these actors."""
    return SourceRecord("actor", "/actors", [(actor, None) for actor in given])


def test_everything_in_a_first_scan_is_new(ledger: Ledger) -> None:
    """New items are present in the source's order, and first seen now."""
    change = ledger.items.record(scan(prompt("b"), prompt("a"), prompt("c")))

    assert change == ScanChange(new=("b", "a", "c"))
    assert ledger.items.keys("prompt") == ["b", "a", "c"]
    item = ledger.items.get(["a"])["a"]
    assert (item.revision, item.gone) == (1, False)
    assert item.first_seen == item.last_seen > 0


def test_an_item_comes_back_from_the_ledger_as_it_was(ledger: Ledger) -> None:
    """The ledger returns the whole prompt or actor of a key."""
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
    ledger.items.record(actors(actor))
    found = ledger.items.get(["0100_sailor", "nobody", "db-7"])

    assert list(found) == ["0100_sailor", "db-7"], "in the requested order, without unknown ones"
    assert found["db-7"].source_item == given
    assert found["0100_sailor"].source_item == actor


def test_the_same_text_again_is_unchanged(ledger: Ledger) -> None:
    """A second record of the same content changes nothing."""
    ledger.items.record(scan(prompt("a"), prompt("b")))
    before = ledger.items.get(["a"])["a"]
    change = ledger.items.record(scan(prompt("a"), prompt("b")))
    after = ledger.items.get(["a"])["a"]

    assert change == ScanChange(unchanged=2)
    assert after == before
    assert ledger.items.last_sequence() == 2


def test_another_text_is_a_change(ledger: Ledger) -> None:
    """A changed text counts its revisions, keeps its position and is a change."""
    ledger.items.record(scan(prompt("a"), prompt("b")))
    change = ledger.items.record(scan(prompt("a", "a ship"), prompt("b")))

    assert change == ScanChange(changed=("a",), unchanged=1)
    item = ledger.items.get(["a"])["a"]
    assert item.revision == 2
    assert item.source_item == prompt("a", "a ship")
    assert ledger.items.keys("prompt") == ["a", "b"]
    assert present_changes(ledger, "prompt", after=2, limit=10) == [(3, "a")]


def test_a_moved_or_renamed_item_is_no_change(ledger: Ledger) -> None:
    """The same text at another location is recorded there, and requests nothing."""
    ledger.items.record(scan(prompt("a")))
    moved = prompt("a", container="/elsewhere", location="/elsewhere/a.json", pic_name="new")
    change = ledger.items.record(scan(moved, container="/elsewhere"))

    assert change == ScanChange(unchanged=1)
    assert ledger.items.get(["a"])["a"].source_item == moved
    assert ledger.items.last_sequence() == 1
    assert ledger.source_state.known_tokens("prompt", FOLDER) == {}


def test_a_gone_item_stays_known(ledger: Ledger) -> None:
    """It is no longer present, and can be looked up."""
    ledger.items.record(scan(prompt("a"), prompt("b"), prompt("c")))
    change = ledger.items.record(scan(prompt("b"), gone=["a", "c"]))

    assert change == ScanChange(gone=("a", "c"), unchanged=1)
    assert ledger.items.keys("prompt") == ["b"]
    assert ledger.items.get(["a"])["a"].gone
    assert present_changes(ledger, "prompt", after=0, limit=10) == [(2, "b")]


def test_a_returned_item_is_present_again(ledger: Ledger) -> None:
    """With the same text it has its old revision; with a new text it has changed."""
    ledger.items.record(scan(prompt("a"), prompt("b")))
    ledger.items.record(scan(gone=["a", "b"]))
    change = ledger.items.record(scan(prompt("a"), prompt("b", "a ship")))

    assert change == ScanChange(changed=("b",), unchanged=1)
    assert ledger.items.keys("prompt") == ["a", "b"]
    assert not ledger.items.get(["a"])["a"].gone
    assert ledger.items.get(["a"])["a"].revision == 1


def test_problems_are_those_of_the_last_scan(ledger: Ledger) -> None:
    """The problem of a repaired file is dropped; those of other sources stay."""
    other = problem("/db#1", container="/db")
    ledger.items.record(scan(problems=(problem("/a"), problem("/b"))))
    ledger.items.record(scan(container="/db", problems=(other,)))
    ledger.items.record(scan(problems=(problem("/b", "It is worse."),)))
    ledger.items.record(scan(prompt("a")))

    assert ledger.items.problems() == [other, problem("/b", "It is worse.")]


def test_changes_are_listed_in_their_order(ledger: Ledger) -> None:
    """New and changed items have one sequence, which is read in pages."""
    ledger.items.record(scan(prompt("a"), prompt("b"), prompt("c")))
    ledger.items.record(scan(prompt("a", "a ship"), prompt("b"), prompt("c"), prompt("d")))

    assert present_changes(ledger, "prompt", after=0, limit=2) == [(2, "b"), (3, "c")]
    rest = present_changes(ledger, "prompt", after=3, limit=10)
    assert sorted(key for _, key in rest) == ["a", "d"]
    assert [sequence for sequence, _ in rest] == [4, 5]
    assert ledger.items.last_sequence() == 5
    assert present_changes(ledger, "prompt", after=5, limit=10) == []


def test_actors_and_prompts_are_separate(ledger: Ledger) -> None:
    """Keys and changes are listed by kind, with one sequence."""
    ledger.items.record(scan(prompt("a")))
    ledger.items.record(actors(Actor("sailor", "a sailor", "/actors")))

    assert ledger.items.keys("actor") == ["sailor"]
    assert present_changes(ledger, "actor", after=0, limit=10) == [(2, "sailor")]


def test_an_actors_size_is_part_of_it(ledger: Ledger) -> None:
    """An actor with another size or seed has changed, like one with another description."""
    ledger.items.record(actors(Actor("sailor", "a sailor", "/actors")))
    wider = Actor("sailor", "a sailor", "/actors", width=1360)

    assert ledger.items.record(actors(wider)).changed == ("sailor",)


def test_many_items_are_one_scan(ledger: Ledger) -> None:
    """More items than a database takes in one statement are recorded, returned and gone."""
    prompts = [prompt(f"p{number:04}") for number in range(1203)]
    assert len(ledger.items.record(scan(*prompts)).new) == 1203
    assert ledger.items.record(scan(*prompts)).unchanged == 1203
    assert len(ledger.items.get(one.key for one in prompts)) == 1203
    keys = [one.key for one in prompts]
    assert len(ledger.items.record(scan(gone=keys)).gone) == 1203
    assert ledger.items.keys("prompt") == []


def test_another_process_reads_the_items(ledger: Ledger, url: str) -> None:
    """Another ledger on the same file has them."""
    ledger.items.record(scan(prompt("a")))
    with closing(Ledger(url)) as other:
        assert other.items.keys("prompt") == ["a"]
        assert other.items.record(scan(prompt("a"))) == ScanChange(unchanged=1)


def test_leaving_and_returning_are_changes(ledger: Ledger) -> None:
    """The changes list an item that is gone, and later its return."""
    ledger.items.record(scan(prompt("a"), prompt("b")))
    ledger.items.record(scan(gone=["a"]))
    assert ledger.items.changes("prompt", after=2, until=9, limit=9) == [SourceChange(3, "a", True)]
    ledger.items.record(scan(prompt("a"), prompt("b")))
    (change,) = ledger.items.changes("prompt", after=3, until=9, limit=9)
    assert change == SourceChange(4, "a", False)
    assert ledger.items.changes("prompt", after=0, until=3, limit=9) == [
        SourceChange(2, "b", False)
    ]
    assert ledger.items.count_changes("prompt", after=2) == 1
    assert (ledger.items.last_sequence("prompt"), ledger.items.last_sequence("actor")) == (4, 0)


def test_a_record_changes_only_what_it_names(ledger: Ledger) -> None:
    """New, changed and gone items; other items and the problems stay."""
    ledger.items.record(scan(prompt("a"), prompt("b"), prompt("c"), problems=(problem("/x"),)))
    source_items = [(prompt("a", "a ship"), "s1"), (prompt("d"), "s2")]
    change = ledger.items.record(SourceRecord("prompt", FOLDER, source_items, gone=["b"]))

    assert change == ScanChange(new=("d",), changed=("a",), gone=("b",))
    assert ledger.items.keys("prompt") == ["a", "c", "d"]
    assert ledger.items.problems() == [problem("/x")]


def test_another_token_of_the_same_text_is_no_change(ledger: Ledger) -> None:
    """A file that was only touched has its new token recorded, and nothing else."""
    ledger.items.record(SourceRecord("prompt", FOLDER, [(prompt("a"), "s1")]))
    before = ledger.items.get(["a"])["a"]
    change = ledger.items.record(SourceRecord("prompt", FOLDER, [(prompt("a"), "s2")]))

    assert change == ScanChange(unchanged=1)
    assert ledger.items.get(["a"])["a"] == before
    assert ledger.items.last_sequence() == 1
    known = {f"{FOLDER}/a.json": ("a", "s2")}
    assert ledger.source_state.known_tokens("prompt", FOLDER) == known


def test_a_record_without_token_keeps_that_of_the_same_text(ledger: Ledger) -> None:
    """An item with another text has no token any more; nor has one that was gone."""
    source_items = [(prompt(key), f"s-{key}") for key in "abc"]
    ledger.items.record(SourceRecord("prompt", FOLDER, source_items))
    ledger.items.record(scan(prompt("a"), prompt("b", "a ship"), gone=["c"]))
    ledger.items.record(scan(prompt("a"), prompt("b", "a ship"), prompt("c")))

    tokens = dict(ledger.source_state.known_tokens("prompt", FOLDER).values())
    assert tokens == {"a": "s-a", "b": None, "c": None}


def test_a_source_state_is_stale_when_another_process_has_scanned(ledger: Ledger) -> None:
    """Of two simultaneous scans the later one stores no token."""
    nothing = SourceRecord("prompt", FOLDER)
    first, second = SourceState("token 1", 10.0), SourceState("token 2", 20.0)
    ledger.items.record(nothing, first)
    assert ledger.source_state.get(FOLDER).state == first
    ledger.items.record(nothing, second, instead_of=first)
    assert ledger.source_state.get(FOLDER).state == second
    ledger.items.record(nothing, SourceState("token 3", 30.0), instead_of=first)
    assert ledger.source_state.get(FOLDER).state == SourceState("", 30.0)


def test_a_source_is_stale_when_another_one_takes_its_item(ledger: Ledger) -> None:
    """An item has one location; the source that had it before is read by the next scan."""
    state = SourceState("token", 10.0)
    ledger.items.record(SourceRecord("prompt", FOLDER, [(prompt("a"), "s")]), state)
    elsewhere = prompt("a", container="/other", location="/other/a.json")
    ledger.items.record(scan(elsewhere, container="/other"))

    assert ledger.source_state.get(FOLDER).state == SourceState("", 10.0)


def test_a_source_is_returned_with_its_items(ledger: Ledger) -> None:
    """State, problems, present items and tokens, of this source only."""
    state = SourceState("token", 10.0)
    bad = problem("/x")
    source_items = [(prompt("a"), "s"), (prompt("b"), None), (prompt("c"), "t")]
    ledger.items.record(SourceRecord("prompt", FOLDER, source_items, problems=[bad]), state)
    ledger.items.record(scan(gone=["c"]))
    other = prompt("d", container="/other", location="/other/d.json")
    ledger.items.record(scan(other, container="/other"))

    stored = ledger.items.of_source("prompt", FOLDER)
    assert (stored.state, stored.problems) == (state, (bad,))
    assert stored.items == {"a": prompt("a"), "b": prompt("b")}
    assert stored.tokens == ledger.source_state.known_tokens("prompt", FOLDER)
