"""What must hold when a batch has come to its end, however often it was killed.

Each rule is a function from the books to the sentences that say where they break it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from imagegen_pipeline_tests.chaos.books import Books
from imagegen_pipeline_tests.chaos.ledger_reading import Item, Row, read_items, read_rows
from imagegen_pipeline_tests.chaos.scratch import Scratch, Thing

OPEN = ("planned", "submitting", "submitted", "completed")


def unsettled(scratch: Scratch, source_items: Iterable[Thing]) -> list[str]:
    """Things that have no picture yet and are not held, as the ledger has it now."""
    items = {item.location: item for item in read_items(scratch.ledger)}
    rows = read_rows(scratch.ledger)
    return [
        source_item.mark
        for source_item in source_items
        if not _is_settled(items.get(source_item.location), rows)
    ]


def _is_settled(item: Item | None, rows: Iterable[Row]) -> bool:
    if item is None:
        return False
    states = [row.state for row in rows if row.item_key == item.key]
    return item.current_attempt is not None or states[-1:] == ["held"]


def every_item_is_settled(books: Books) -> Iterator[str]:
    """Every item ends with a whole picture, or is held for a person."""
    for source_item in books.finish.source_items:
        item = books.items.get(source_item.location)
        if not _is_settled(item, books.rows):
            rows = [str(row) for row in books.rows_of(item)] if item else []
            yield f"{source_item.location} has no picture and is not held: {rows}"


def nothing_is_lost(books: Books) -> Iterator[str]:
    """What the service named a job for is stored, and nothing is left open or given up."""
    for row in books.rows:
        if row.job_id is not None and row.state != "stored":
            yield f"{row} has job {row.job_id} and is not stored"
        elif row.state in OPEN:
            yield f"{row} is left open"
        elif row.state == "expired" or (row.state == "failed" and row.error_kind != "stopped"):
            yield f"{row} was given up"
    known = {row.path for row in books.rows}
    for path in books.files:
        is_original = ".imagegen" not in path and not path.endswith("_base.png")
        if is_original and path not in known:
            yield f"{path} is a picture that no attempt calls stored"


def nothing_is_corrupt(books: Books) -> Iterator[str]:
    """Every file decodes whole, after each kill and at the end, and every stored picture has
    the bytes that the ledger knows.
    """
    yield from books.finish.torn
    for path, file in books.files.items():
        if file.fault is not None:
            yield f"{path} is not whole: {file.fault}"
    for row in books.rows:
        if row.state != "stored":
            continue
        file = books.files.get(row.path or "")
        if file is None:
            yield f"{row} is stored as {row.path}, which is not there"
        elif file.digest != row.digest:
            yield f"{row} is stored as {row.path}, whose bytes are others"
    yield from _fixed_paths(books)


def _fixed_paths(books: Books) -> Iterator[str]:
    digests = {path: file.digest for path, file in books.files.items()}
    for item in books.items.values():
        current, path = books.current(item), f"actors/{item.key}/base_image/{item.key}_base.png"
        is_actor = item.location.endswith("actor.json")
        if is_actor and current is not None and digests.get(path) != current.digest:
            yield f"{path} is not the current picture, which is {current.path}"


def dagster_knows_every_picture(books: Books) -> Iterator[str]:
    """Each current picture has an event of its partition with its digest, and is noted as told."""
    if books.dagster_fault is not None:
        yield f"Dagster's records cannot be opened: {books.dagster_fault}"
    for item in books.items.values():
        row = books.current(item)
        if row is None:
            continue
        if (item.key, row.digest, row.id) not in books.events:
            yield f"{row} has no event in Dagster"
        if not row.reported:
            yield f"{row} is not noted as reported"


def nothing_is_billed_twice(books: Books) -> Iterator[str]:
    """Every charge is a stored picture's, or an unknown attempt's that says so."""
    groups = _groups(books)
    for mark in set(books.accepted) - set(groups):
        yield f"{mark!r} was sent, and nothing of it is in the ledger"
    for mark, rows in groups.items():
        billed = books.billed[mark]
        unknown = sum(row.is_unknown for row in rows)
        made = sum(row.state == "stored" and row.shared_from is None for row in rows)
        doubled = sum(row.possible_double_charge for row in rows)
        if not made <= billed <= made + unknown or billed > 1 + max(unknown, doubled):
            yield f"{mark!r} was billed {billed} times: {[str(row) for row in rows]}"
    made = sum(row.state == "stored" and row.shared_from is None for row in books.rows)
    extra = books.billed.total() - made
    if not 0 <= extra <= len(books.unknown_rows):
        yield f"{extra} charges are no picture's; unknown attempts: {len(books.unknown_rows)}"


def _groups(books: Books) -> dict[str, list[Row]]:
    """The attempts at what was sent under each mark."""
    by_key: dict[str, list[Row]] = defaultdict(list)
    for row in books.rows:
        by_key[row.item_key].append(row)
    groups: dict[str, list[Row]] = defaultdict(list)
    for source_item in books.finish.source_items:
        item = books.items.get(source_item.location)
        groups[source_item.mark] += by_key[item.key] if item else []
    return groups


def nothing_is_sent_a_third_time(books: Books) -> Iterator[str]:
    """An unknown attempt is sent again at most once, and the second attempt says so."""
    sent: Counter[str] = Counter()
    unknown: set[str] = set()
    for row in books.rows:
        if row.submitted_at is None:
            continue
        sent[row.item_key] += 1
        if sent[row.item_key] > 2:
            yield f"{row} is number {sent[row.item_key]} that was sent"
        if row.item_key in unknown and not row.possible_double_charge:
            yield f"{row} follows an unknown one and does not say so"
        if row.is_unknown:
            unknown.add(row.item_key)


def only_a_kill_makes_unknown(books: Books) -> Iterator[str]:
    """Each unknown attempt was being sent at the moment of a kill."""
    for row in books.unknown_rows:
        if row.id not in books.finish.in_flight:
            yield f"{row} was not in flight at any kill"


def no_life_falls(books: Books) -> Iterator[str]:
    """A worker that nobody killed comes to its end without an error of its own."""
    yield from books.finish.falls


RULES: dict[str, Callable[[Books], Iterable[str]]] = {
    "settled": every_item_is_settled,
    "lost": nothing_is_lost,
    "corrupt": nothing_is_corrupt,
    "events": dagster_knows_every_picture,
    "billed twice": nothing_is_billed_twice,
    "sent again": nothing_is_sent_a_third_time,
    "unknown": only_a_kill_makes_unknown,
    "lives": no_life_falls,
}


def violations(books: Books) -> dict[str, list[str]]:
    """What each rule has to say."""
    return {name: list(rule(books)) for name, rule in RULES.items()}
