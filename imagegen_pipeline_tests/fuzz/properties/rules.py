"""Rules that hold after every process, and rules that hold at the end.

Each rule is a function from the environment and the ledger's rows to sentences that name its
violations.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from imagegen_pipeline.domain.errors import JobFailedError, JobTimeoutError, NotAPictureError
from imagegen_pipeline.domain.requests import OPEN_STATES, Attempt, State
from imagegen_pipeline_tests.fuzz.properties.environment import (
    KEYS,
    PUBLISHED,
    Environment,
    image_task,
)
from imagegen_pipeline_tests.fuzz.properties.simulated_provider import PRICE, Request

_JOB_ENDED = (JobFailedError.kind, JobTimeoutError.kind)
Rows = Sequence[Attempt]


def no_attempt_is_billed_twice(environment: Environment, rows: Rows) -> Iterator[str]:
    """The request of an attempt is sent again only after a refusal: it is billed once at most."""
    for attempt, times in Counter(
        bill.attempt for bill in environment.simulated_provider.bills
    ).items():
        if times > 1:
            yield f"{_row(rows, attempt)} was billed {times} times"


def every_second_bill_is_explained(environment: Environment, rows: Rows) -> Iterator[str]:
    """A request is bought again only when its earlier image cannot be had.

    A request here is an item's request, or one regenerate intent of it; items that request the
    same image with a fixed seed count as one.
    """
    sent = _sent(environment)
    for params in _wishes(rows).values():
        for before, after in _pairs([row for row in params if row.id in sent]):
            tick, is_twin = sent[after.id].tick, before.item_key != after.item_key
            if is_twin and environment.is_given_up(before.id, tick):
                continue
            if environment.is_in_doubt(before.id, tick) or environment.may_be_made_again(
                before.id, tick
            ):
                if not is_twin and not after.possible_double_charge:
                    yield f"{_shown(after)} has no mark of a double charge with {_shown(before)}"
            elif not _ended_without_picture(before, sent[before.id]):
                yield f"{_shown(after)} was sent although {_shown(before)} was: {sent[before.id]}"


def nothing_is_sent_a_third_time(environment: Environment, rows: Rows) -> Iterator[str]:
    """A request without an answer is sent again once, or never (``hold``); then a user decides
    before anything else is sent.
    """
    sent = _sent(environment)
    for params in _wishes(rows).values():
        for before, after in _pairs(params):
            if before.item_key != after.item_key or after.id not in sent:
                continue
            tick = sent[after.id].tick
            is_last = before.possible_double_charge or environment.user_limits.on_unknown == "hold"
            if not is_last or not environment.is_in_doubt(before.id, tick):
                continue
            if not environment.may_be_made_again(before.id, tick):
                yield f"{_shown(after)} was sent after {_shown(before)}, and nobody had decided so"


def no_bill_is_without_a_reason(environment: Environment, rows: Rows) -> Iterator[str]:
    """Every bill belongs to an attempt that has its image, may still get it, or records why not."""
    for bill in environment.simulated_provider.bills:
        row = _row(rows, bill.attempt)
        if row is None:
            yield f"{bill} has no attempt"
        elif _ended_without_picture(row, bill) or environment.decisions[row.id]:
            continue
        elif _learnt(environment, row):
            if row.state not in (State.STORED, *OPEN_STATES):
                yield f"{_shown(row)} dropped what was paid for: {bill}"
        elif row.id not in environment.called_unknown and row.state is not State.SUBMITTING:
            yield f"{_shown(row)} is not recorded as possibly billed: {bill}"


def stored_pictures_are_whole(environment: Environment, rows: Rows) -> Iterator[str]:
    """A stored image is on disk with the recorded bytes, which are those that were paid for."""
    bills = {bill.attempt: bill for bill in environment.simulated_provider.bills}
    for row in rows:
        if row.state is not State.STORED:
            continue
        file = environment.store.absolute(row.path or "")
        if not file.is_file() or _digest(file) != row.digest:
            yield f"{_shown(row)} is stored as {row.path}, which is not there as recorded"
        bill = bills.get(row.shared_from or row.id)
        if bill is None or bill.digest != row.digest:
            yield f"{_shown(row)} holds another picture than {bill}"


def quarantine_keeps_what_does_not_decode(environment: Environment, rows: Rows) -> Iterator[str]:
    """Paid bytes that do not decode are kept in quarantine."""
    kept = {_digest(file) for file in (environment.root / "quarantine").glob("*.bin")}
    for bill in environment.simulated_provider.bills:
        row = _row(rows, bill.attempt)
        if row is None or (row.state, row.error_kind) != (State.FAILED, NotAPictureError.kind):
            continue
        if bill.digest not in kept:
            yield f"the bytes of {_shown(row)} are not kept"


def every_item_keeps_a_picture(environment: Environment, rows: Rows) -> Iterator[str]:
    """An item that ever had an image has one, also at its fixed path."""
    for key in KEYS:
        stored = {row.id for row in rows if (row.item_key, row.state) == (key, State.STORED)}
        current = environment.ledger.attempts.current(key)
        if stored and (current is None or current.id not in stored):
            yield f"{key} has pictures, and none of them is current"
        fixed = image_task(key).publish
        if fixed and stored and not environment.store.absolute(fixed).is_file():
            yield f"{fixed} is not there"


def nothing_is_overwritten(environment: Environment, rows: Rows) -> Iterator[str]:
    """Images on disk stay there, with the same bytes."""
    now = {file: _digest(file) for file in _pictures(environment.root)}
    for file, digest in environment.files.items():
        if now.get(file) != digest:
            yield f"{file.name} was {'overwritten' if file in now else 'deleted'}"
    environment.files = now


def limits_and_leases_hold(environment: Environment, rows: Rows) -> Iterator[str]:
    """Budget, requests in flight and leases hold at every submit."""
    yield from environment.broken_rules


def recorded_costs_are_billed(environment: Environment, rows: Rows) -> Iterator[str]:
    """The ledger has the price of each stored image that was bought, and of no other."""
    for row in rows:
        if row.state is State.STORED and row.cost != (0.0 if row.shared_from else PRICE):
            # What is adopted from the disk alone has no report; its cost is unknown, never 0.
            if row.cost is None and row.shared_from is None:
                continue
            yield f"{_shown(row)} costs {row.cost}"


ALWAYS: tuple[Callable[[Environment, Rows], Iterator[str]], ...] = (
    limits_and_leases_hold,
    no_attempt_is_billed_twice,
    every_second_bill_is_explained,
    nothing_is_sent_a_third_time,
    no_bill_is_without_a_reason,
    stored_pictures_are_whole,
    quarantine_keeps_what_does_not_decode,
    every_item_keeps_a_picture,
    nothing_is_overwritten,
    recorded_costs_are_billed,
)


def nothing_is_left_open(environment: Environment, rows: Rows) -> Iterator[str]:
    """Every attempt has ended."""
    for row in rows:
        if row.state in OPEN_STATES:
            yield f"{_shown(row)} is left open"


def every_picture_is_recorded(environment: Environment, rows: Rows) -> Iterator[str]:
    """Each image on disk is recorded as stored, or was given up by a user."""
    known = {environment.store.absolute(row.path) for row in rows if row.path}
    given_up = {row.file_stem for row in rows if environment.decisions[row.id]}
    for file in _pictures(environment.root):
        if file not in known and file.stem not in given_up:
            yield f"{file.name} is a picture that no attempt calls stored"


def the_fixed_path_is_current(environment: Environment, rows: Rows) -> Iterator[str]:
    """The fixed path has the item's current image."""
    for key in KEYS:
        current, fixed = environment.ledger.attempts.current(key), image_task(key).publish
        if fixed and current and _digest(environment.store.absolute(fixed)) != current.digest:
            yield f"{fixed} is not the current picture, {current.path}"


IN_THE_END = (*ALWAYS, nothing_is_left_open, every_picture_is_recorded, the_fixed_path_is_current)


def check(
    environment: Environment, rules: Sequence[Callable[[Environment, Rows], Iterator[str]]] = ALWAYS
) -> None:
    """Fail with all violations."""
    rows = [attempt for attempt, _ in environment.ledger.attempts.rows()]
    decision = [
        f"{rule.__name__}: {sentence}" for rule in rules for sentence in rule(environment, rows)
    ]
    assert not decision, "\n".join([*decision, "", *map(_shown, rows)])


def _sent(environment: Environment) -> dict[int, Request]:
    """The request of each attempt that reached the provider and was not refused."""
    return {
        one.attempt: one for one in environment.simulated_provider.requests if one.may_be_billed
    }


def _wishes(rows: Rows) -> dict[tuple[str, ...], list[Attempt]]:
    """The attempts of each request, in the order in which they were planned."""
    requested: dict[tuple[str, ...], list[Attempt]] = defaultdict(list)
    for row in rows:
        if row.shared_from is not None:
            continue
        if row.regenerate:
            requested[row.item_key, row.intent].append(row)
        elif image_task(row.item_key).request.seed_is_fixed:
            requested[(row.fingerprint,)].append(row)
        else:
            requested[row.item_key, row.fingerprint, "random"].append(row)
    return requested


def _pairs(rows: Rows) -> Iterator[tuple[Attempt, Attempt]]:
    for number, after in enumerate(rows):
        for before in rows[:number]:
            yield before, after


def _ended_without_picture(row: Attempt, request: Request) -> bool:
    """Whether the recorded end of the attempt is true: its image cannot be had."""
    if row.state is State.EXPIRED:
        return request.cannot_be_had
    if row.state is not State.FAILED:
        return False
    if row.error_kind == NotAPictureError.kind:
        return not request.answer.whole
    return row.error_kind in _JOB_ENDED and request.has_failed


def _learnt(environment: Environment, row: Attempt) -> bool:
    """Whether anything that outlives a process has a record of the image."""
    known = row.job_id or row.result_url or environment.store.noted_job(row)
    return bool(known) or environment.store.is_taken(row.folder, row.file_stem)


def _pictures(root: Path) -> list[Path]:
    """The images that are never deleted."""
    fixed = root / PUBLISHED
    return [
        file
        for file in sorted(root.rglob("*.png"))
        if file != fixed and not any(part.startswith(".") for part in file.relative_to(root).parts)
    ]


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _row(rows: Rows, attempt: int) -> Attempt | None:
    return next((row for row in rows if row.id == attempt), None)


def _shown(row: Attempt) -> str:
    facts = [f"attempt {row.id} of {row.item_key}", str(row.state), f"by {row.intent}"]
    facts += ["regenerate"] * row.regenerate + ["doubled"] * row.possible_double_charge
    facts += [str(part) for part in (row.error_kind, row.job_id, row.path) if part]
    return f"<{' | '.join(facts)}>"
