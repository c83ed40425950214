"""Faults of the submit: refusals, gateways, broken connections, malformed answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from imagegen_pipeline_tests.integration.fault_matrix.rows import (
    ALL,
    DUOMI,
    FOREVER,
    IMPATIENT,
    Fate,
    Row,
    held,
    made,
    rows,
    sent_again,
    written_off,
)

Fault = dict[str, Any]
PRIVATE = "https://10.0.0.1/"


def submit_rows() -> list[Row]:
    """All rows of this module."""
    return [
        *_not_accepted(),
        *_gateways(),
        *_broken_off(),
        *_unreadable(),
        *_refused_for_all(),
        *_refused_for_one(),
    ]


def _status(number: int, **more: Any) -> Fault:
    return {"fault": "status", "status": number, **more}


def _not_accepted() -> list[Row]:
    found: list[Row] = []
    for number, kind in ((429, "rate_limited"), (503, "busy")):
        fault, gone = _status(number), written_off(kind)
        soon = {**fault, "headers": {"Retry-After": "17"}}
        tomorrow = {**fault, "headers": {"Retry-After": "86400"}, "times": FOREVER}
        ever = {**fault, "times": FOREVER}
        found += [
            *rows(ALL, "submit", f"{number} without Retry-After comes once.", fault, made()),
            *rows(ALL, "submit", f"{number} asks to wait 17 s, once.", soon, made(), waits=17),
            *rows(ALL, "submit", f"{number} comes every time.", ever, gone),
            *rows(ALL, "submit", f"{number} asks to come back tomorrow.", tomorrow, gone),
        ]
    return found


def _gateways() -> list[Row]:
    found: list[Row] = []
    for number, what in ((500, "500"), (502, "502 with HTML"), (504, "504"), (524, "524")):
        fault = _status(number, work=True)
        name = f"{what} comes once, after the work."
        found += rows(ALL, "submit", name, fault, sent_again(bill=2))
    ever = _status(504, work=True, times=FOREVER)
    twice, name = held("unknown", bill=2), "504 comes every time, after the work."
    before, once = sent_again(bill=1), "502 with HTML comes once, before any work."
    return [
        *found,
        *rows(ALL, "submit", once, _status(502), before),
        *rows(ALL, "submit", name, ever, twice),
    ]


def _broken_off() -> list[Row]:
    drip = {"fault": "slow_drip", "seconds_per_byte": 0.05, "chunk": 2}
    hang, lost = {"fault": "hang", "seconds": 30}, {"fault": "reset_after_work"}
    again, twice = sent_again(bill=1), sent_again(bill=2)
    ever = held("unknown", bill=2)
    found: list[Row] = []
    for name, fault, fate in (
        ("The connection is reset before the work.", {"fault": "reset_before"}, again),
        ("The connection is reset after the work.", lost, twice),
        ("The connection ends in the middle of the body.", {"fault": "reset_midbody"}, twice),
        ("The connection is reset after the work, every time.", {**lost, "times": FOREVER}, ever),
        ("The answer drips more slowly than the read time-out.", drip, twice),
        ("The service hangs before the work.", hang, again),
        ("The service hangs after the work.", {**hang, "work": True}, twice),
    ):
        settings = IMPATIENT if fault["fault"] in ("slow_drip", "hang") else {}
        found += rows(ALL, "submit", name, fault, fate, settings=settings)
    return found


def _unreadable() -> list[Row]:
    found: list[Row] = []
    for name, what in (("html_200", "HTML comes with 200"), ("broken_json", "Broken JSON comes")):
        fault, worked = {"fault": name}, {"fault": name, "work": True}
        unbilled, billed = held(bill=0, kind="bad_answer"), held(bill=1, kind="bad_answer")
        found += rows(ALL, "submit", f"{what}, before any work.", fault, unbilled)
        found += rows(ALL, "submit", f"{what}, after the work.", worked, billed)
    # Only a synchronous answer may hold a picture: what came in its place is kept.
    return [replace(row, quarantined=row.provider in ("duomi", "duomi-b64")) for row in found]


def _refused_for_all() -> list[Row]:
    """Refusals that would hit every other item too: the batch stops."""
    balance: Fault = {"code": 30011, "message": "Insufficient balance."}
    nowhere: Fault = {"body": {"detail": "endpoint not found"}}
    found: list[Row] = []
    for providers, number, what, more, text in (
        (ALL, 401, "the key is wrong", {}, "API_KEY"),
        (DUOMI, 403, "the model is disabled", {}, "imagegen models"),
        (DUOMI, 403, "the balance is used up", balance, "add credits"),
        (ALL, 403, "it says nothing more", {"body": ""}, "API_KEY"),
        (["runpod"], 402, "there are no credits", {}, "credits"),
        (["runpod"], 404, "there is no such endpoint", nowhere, "RUNPOD_SERVER_100_ID"),
    ):
        fault = _status(number, times=FOREVER, **more)
        name, fate = f"{number}: {what}.", written_off("account")
        found += rows(providers, "submit", name, fault, fate, text=text, batch="stops")
    return found


def _refused_for_one() -> list[Row]:
    size = _status(400, code=20026, message="The image size is not supported.")
    too_large = _status(400, body="request body: exceeded max body size of 10485760 bytes")
    code, error = {"fault": "code_in_200"}, {"fault": "code_in_200", "form": "error"}
    moved = {"fault": "redirect", "location": PRIVATE}
    wrong, elsewhere = written_off("bad_request"), written_off("bad_answer")

    def refused(
        providers: Iterable[str], name: str, fault: Fault, text: str, fate: Fate
    ) -> list[Row]:
        return rows(providers, "submit", name, {**fault, "times": FOREVER}, fate, text=text)

    return [
        *refused(["duomi"], "400: the size is bad.", size, "1024x1024", wrong),
        *refused(["duomi-async"], "400: the size is bad.", size, "20026", wrong),
        *refused(["runpod"], "400: the body is too large.", too_large, "exceeded", wrong),
        *refused(DUOMI, "A 200 holds an error code.", code, "fail_to_submit_task", wrong),
        *refused(DUOMI, "A 200 holds an error object.", error, "invalid_request", wrong),
        *refused(ALL, "The submit is redirected to a private address.", moved, "302", elsewhere),
    ]
