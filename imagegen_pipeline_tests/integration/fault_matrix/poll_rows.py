"""Faults between a generated image and a downloaded one: status polls and downloads."""

from __future__ import annotations

from typing import Any

from imagegen_pipeline_tests.integration.fault_matrix.rows import (
    FOREVER,
    IMPATIENT,
    JOBS,
    Row,
    left_open,
    made,
    rows,
)

Fault = dict[str, Any]
BY_URL = ("duomi", "runpod-url")
DRIP: Fault = {"fault": "slow_drip", "seconds_per_byte": 0.05, "chunk": 2}
HANG: Fault = {"fault": "hang", "seconds": 30}
RESET: Fault = {"fault": "reset_before"}
HALF: Fault = {"fault": "reset_midbody"}
PAGE: Fault = {"fault": "html_200"}
SMALL: Fault = {"fault": "wrong_size", "width": 32, "height": 48}
TRUNCATED: Fault = {"fault": "truncated_picture"}
BOMB: Fault = {"fault": "bomb"}


def asking_rows() -> list[Row]:
    """All rows of this module."""
    return [
        *_statuses_once("status", JOBS),
        *_polls_once(),
        *_polls_that_stay_bad(),
        *_polls_that_are_refused(),
        *_statuses_once("download", BY_URL),
        *_downloads_once(),
        *_downloads_that_stay_bad(),
        *_redirects(),
    ]


def _status(number: int, retry_after: int | None = None) -> Fault:
    asking = {} if retry_after is None else {"headers": {"Retry-After": str(retry_after)}}
    return {"fault": "status", "status": number, **asking}


def _statuses_once(at: str, providers: tuple[str, ...]) -> list[Row]:
    asks = "429 asks to wait 17 s, once."
    found = rows(providers, at, asks, _status(429, 17), made(), waits=17)
    for number, what in (
        (429, "429 without Retry-After"),
        (500, "500"),
        (502, "502 with HTML"),
        (503, "503"),
        (504, "504"),
        (524, "524"),
    ):
        found += rows(providers, at, f"{what} comes once.", _status(number), made())
    return found


def _polls_once() -> list[Row]:
    found: list[Row] = []
    for providers, name, fault in (
        (JOBS, "404 comes once, while the job is there.", {"fault": "expired"}),
        (JOBS, "The connection is reset.", RESET),
        (JOBS, "The connection ends in the middle of the body.", HALF),
        (JOBS, "The answer drips more slowly than the read time-out.", DRIP),
        (JOBS, "The service hangs.", HANG),
        (JOBS, "HTML comes with 200, once.", PAGE),
        (JOBS, "Broken JSON comes once.", {"fault": "broken_json"}),
        (JOBS, "The job has an unknown status, once.", {"fault": "unknown_status"}),
        (JOBS, "The picture is broken base64, once.", {"fault": "broken_base64"}),
        (JOBS[:1], "The list of pictures is empty, once.", {"fault": "empty_images"}),
        (JOBS[:1], "A 200 holds an error code, once.", {"fault": "code_in_200"}),
    ):
        settings = IMPATIENT if fault in (DRIP, HANG) else {}
        found += rows(providers, "status", name, fault, made(), settings=settings)
    return found


def _polls_that_stay_bad() -> list[Row]:
    found: list[Row] = []
    for name, fault, kind in (
        ("429 comes every time.", _status(429), "rate_limited"),
        ("429 asks to come back tomorrow.", _status(429, 86_400), "rate_limited"),
        ("502 with HTML comes every time.", _status(502), "busy"),
        ("503 comes every time.", _status(503), "busy"),
        ("The connection is reset every time.", RESET, "busy"),
        ("HTML comes with 200, every time.", PAGE, "bad_answer"),
        ("Broken JSON comes every time.", {"fault": "broken_json"}, "bad_answer"),
        ("404 comes every time, while the job is there.", {"fault": "expired"}, "bad_answer"),
    ):
        fate = left_open(kind, "submitted")
        found += rows(JOBS, "status", name, {**fault, "times": FOREVER}, fate)
    return found


def _polls_that_are_refused() -> list[Row]:
    fate = left_open("account", "submitted")
    nowhere = {**_status(404), "body": {"detail": "endpoint not found"}, "times": FOREVER}
    wrong_key = {**_status(401), "times": FOREVER}
    stops = {"batch": "stops"}
    return [
        *rows(JOBS, "status", "401: the key has been revoked.", wrong_key, fate, **stops),
        *rows(["runpod"], "status", "404: there is no such endpoint.", nowhere, fate, **stops),
    ]


def _downloads_once() -> list[Row]:
    found: list[Row] = []
    for providers, name, fault, more in (
        (BY_URL, "403 comes once.", {"fault": "expired_url"}, {}),
        (BY_URL, "404 comes once.", {"fault": "expired"}, {}),
        (BY_URL, "The connection is reset.", RESET, {}),
        (BY_URL, "The connection ends in the middle of the body.", HALF, {}),
        (BY_URL, "The picture drips more slowly than allowed.", DRIP, {"settings": IMPATIENT}),
        (BY_URL, "The host hangs.", HANG, {"settings": IMPATIENT}),
        (BY_URL, "HTML comes with 200, once.", PAGE, {}),
        (BY_URL, "The picture comes truncated, once.", TRUNCATED, {}),
        (BY_URL, "A decompression bomb comes, once.", BOMB, {}),
        (BY_URL, "The picture has another size.", SMALL, {"text": "32x48"}),
        (BY_URL, "The picture is JPEG.", {"fault": "wrong_format"}, {"suffix": ".jpg"}),
        (BY_URL, "The picture is blank.", {"fault": "blank"}, {}),
    ):
        found += rows(providers, "download", name, fault, made(), **more)
    return found


def _downloads_that_stay_bad() -> list[Row]:
    found: list[Row] = []
    later, junk = left_open("download", "completed"), left_open("not_a_picture", "completed")
    quick = {"IMAGEGEN_TIMEOUT_DOWNLOAD": "0.3", "IMAGEGEN_TIMEOUT_READ": "0.3"}
    broken = {"quarantined": True, "text": "quarantine"}
    for name, fault, fate, more in (
        ("429 comes every time.", _status(429), later, {}),
        ("429 asks to come back tomorrow.", _status(429, 86_400), later, {}),
        ("500 comes every time.", _status(500), later, {}),
        ("502 with HTML comes every time.", _status(502), later, {}),
        ("503 comes every time.", _status(503), later, {}),
        ("403 comes every time.", {"fault": "expired_url"}, later, {"text": "403"}),
        ("404 comes every time.", {"fault": "expired"}, later, {"text": "404"}),
        ("The connection is reset every time.", RESET, later, {}),
        ("The connection ends in the middle of the body, every time.", HALF, later, {}),
        ("HTML comes with 200, every time.", PAGE, junk, {**broken, "text": "web page"}),
        ("The picture drips every time.", DRIP, later, {"settings": quick}),
        ("The host hangs every time.", HANG, later, {"settings": quick}),
        ("The picture comes truncated, every time.", TRUNCATED, junk, broken),
        ("A decompression bomb comes, every time.", BOMB, junk, broken),
    ):
        found += rows(["duomi"], "download", name, {**fault, "times": FOREVER}, fate, **more)
    return found


def _redirects() -> list[Row]:
    later = left_open("download", "completed")
    found: list[Row] = []
    for where, text in (
        ("http://169.254.169.254/latest/meta-data/", "not an https address"),
        ("https://169.254.169.254/latest/meta-data/", "private address 169.254.169.254"),
        ("https://10.0.0.1/picture.png", "private address 10.0.0.1"),
        ("https://[::1]/picture.png", "private address ::1"),
    ):
        fault = {"fault": "redirect", "location": where, "times": FOREVER}
        name = f"The picture is redirected to {where}."
        found += rows(["duomi"], "download", name, fault, later, text=text)
    return found
