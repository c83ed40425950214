"""Rules that hold after a batch has ended, however often it was killed.

Each rule is a function from the evidence to sentences that name its violations.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from imagegen_pipeline_tests.fuzz.chaos.evidence import Evidence
from imagegen_pipeline_tests.fuzz.chaos.ledger_reading import Item, Row, read_items, read_rows
from imagegen_pipeline_tests.fuzz.chaos.scratch import Scratch, SourceItem

OPEN = ("planned", "submitting", "submitted", "completed")


def unsettled(scratch: Scratch, source_items: Iterable[SourceItem]) -> list[str]:
    """Items without an image that are not held, by the ledger."""
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


def every_item_is_settled(evidence: Evidence) -> Iterator[str]:
    """Every item ends with a complete image, or is held for a user."""
    for source_item in evidence.finish.source_items:
        item = evidence.items.get(source_item.location)
        if not _is_settled(item, evidence.rows):
            rows = [str(row) for row in evidence.rows_of(item)] if item else []
            yield f"{source_item.location} has no picture and is not held: {rows}"


def nothing_is_lost(evidence: Evidence) -> Iterator[str]:
    """Every job that the provider named is stored; no attempt is open or given up."""
    for row in evidence.rows:
        if row.job_id is not None and row.state != "stored":
            yield f"{row} has job {row.job_id} and is not stored"
        elif row.state in OPEN:
            yield f"{row} is left open"
        elif row.state == "expired" or (row.state == "failed" and row.error_kind != "stopped"):
            yield f"{row} was given up"
    known = {row.path for row in evidence.rows}
    for path in evidence.files:
        is_original = ".imagegen" not in path and not path.endswith("_base.png")
        if is_original and path not in known:
            yield f"{path} is a picture that no attempt calls stored"


def nothing_is_corrupt(evidence: Evidence) -> Iterator[str]:
    """Every file decodes, after each kill and at the end, and every stored image has the recorded
    bytes.
    """
    yield from evidence.finish.incomplete
    for path, file in evidence.files.items():
        if file.fault is not None:
            yield f"{path} is not whole: {file.fault}"
    for row in evidence.rows:
        if row.state != "stored":
            continue
        stored = evidence.files.get(row.path or "")
        if stored is None:
            yield f"{row} is stored as {row.path}, which is not there"
        elif stored.digest != row.digest:
            yield f"{row} is stored as {row.path}, whose bytes are others"
    yield from _fixed_paths(evidence)


def _fixed_paths(evidence: Evidence) -> Iterator[str]:
    digests = {path: file.digest for path, file in evidence.files.items()}
    for item in evidence.items.values():
        current, path = evidence.current(item), f"actors/{item.key}/base_image/{item.key}_base.png"
        is_actor = item.location.endswith("actor.json")
        if is_actor and current is not None and digests.get(path) != current.digest:
            yield f"{path} is not the current picture, which is {current.path}"


def dagster_knows_every_picture(evidence: Evidence) -> Iterator[str]:
    """Each current image has an event of its partition with its digest, and is marked reported."""
    if evidence.dagster_fault is not None:
        yield f"Dagster's records cannot be opened: {evidence.dagster_fault}"
    for item in evidence.items.values():
        row = evidence.current(item)
        if row is None:
            continue
        if (item.key, row.digest, row.id) not in evidence.events:
            yield f"{row} has no event in Dagster"
        if not row.reported:
            yield f"{row} is not noted as reported"


def nothing_is_billed_twice(evidence: Evidence) -> Iterator[str]:
    """Every charge belongs to a stored image, or to an attempt recorded as unknown."""
    groups = _groups(evidence)
    for mark in set(evidence.accepted) - set(groups):
        yield f"{mark!r} was sent, and nothing of it is in the ledger"
    for mark, rows in groups.items():
        billed = evidence.billed[mark]
        unknown = sum(row.is_unknown for row in rows)
        made = sum(row.state == "stored" and row.shared_from is None for row in rows)
        doubled = sum(row.possible_double_charge for row in rows)
        if not made <= billed <= made + unknown or billed > 1 + max(unknown, doubled):
            yield f"{mark!r} was billed {billed} times: {[str(row) for row in rows]}"
    made = sum(row.state == "stored" and row.shared_from is None for row in evidence.rows)
    extra = evidence.billed.total() - made
    if not 0 <= extra <= len(evidence.unknown_rows):
        yield f"{extra} charges are no picture's; unknown attempts: {len(evidence.unknown_rows)}"


def _groups(evidence: Evidence) -> dict[str, list[Row]]:
    """The attempts of each mark."""
    by_key: dict[str, list[Row]] = defaultdict(list)
    for row in evidence.rows:
        by_key[row.item_key].append(row)
    groups: dict[str, list[Row]] = defaultdict(list)
    for source_item in evidence.finish.source_items:
        item = evidence.items.get(source_item.location)
        groups[source_item.mark] += by_key[item.key] if item else []
    return groups


def nothing_is_sent_a_third_time(evidence: Evidence) -> Iterator[str]:
    """An unknown attempt is sent again at most once, and the second attempt records the possible
    double charge.
    """
    sent: Counter[str] = Counter()
    unknown: set[str] = set()
    for row in evidence.rows:
        if row.submitted_at is None:
            continue
        sent[row.item_key] += 1
        if sent[row.item_key] > 2:
            yield f"{row} is number {sent[row.item_key]} that was sent"
        if row.item_key in unknown and not row.possible_double_charge:
            yield f"{row} follows an unknown one and is not marked as a possible double charge"
        if row.is_unknown:
            unknown.add(row.item_key)


def only_a_kill_makes_unknown(evidence: Evidence) -> Iterator[str]:
    """Each unknown attempt was being sent at the moment of a kill."""
    for row in evidence.unknown_rows:
        if row.id not in evidence.finish.in_flight:
            yield f"{row} was not in flight at any kill"


def no_worker_fails(evidence: Evidence) -> Iterator[str]:
    """A worker that is not killed ends without an error."""
    yield from evidence.finish.worker_errors


RULES: dict[str, Callable[[Evidence], Iterable[str]]] = {
    "settled": every_item_is_settled,
    "lost": nothing_is_lost,
    "corrupt": nothing_is_corrupt,
    "events": dagster_knows_every_picture,
    "billed twice": nothing_is_billed_twice,
    "sent again": nothing_is_sent_a_third_time,
    "unknown": only_a_kill_makes_unknown,
    "workers": no_worker_fails,
}


def violations(evidence: Evidence) -> dict[str, list[str]]:
    """The violations of each rule."""
    return {name: list(rule(evidence)) for name, rule in RULES.items()}
