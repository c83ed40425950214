"""Whatever happens to pictures, in any order: what is current or approved is never touched."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
from contextlib import closing
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given, settings

from imagegen_pipeline.domain.errors import DecisionError
from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.ledger import Verdict
from imagegen_pipeline.maintenance.clean_up import carry_out, plan_clean_up
from imagegen_pipeline.maintenance.plan import CleanUpPlan, RetentionPolicy
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.settings import load_settings
from imagegen_pipeline_tests.ledger import ledger_rows
from imagegen_pipeline_tests.maintenance.conftest import age_pictures

RULES = RetentionPolicy(pictures=30, untracked=True)
ITEMS = ("a", "b", "c")
PICTURE = st.integers(0, 11)
STEPS = st.one_of(
    st.tuples(st.just("make"), st.integers(0, 2)),
    st.tuples(st.just("begin"), st.integers(0, 2)),
    st.tuples(st.just("fail"), PICTURE),
    st.tuples(st.sampled_from(["approve", "reject", "take back", "choose", "share"]), PICTURE),
    st.tuples(st.just("plan"), st.just(0)),
    st.tuples(st.sampled_from(["clean", "clean by that plan"]), st.just(0)),
    st.tuples(st.sampled_from(["crash at put", "crash at removal"]), st.just(0)),
)


class CrashError(BaseException):
    """The process ends here."""


class Life:
    """A data folder, what happens to its pictures, and what must be true after each step."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._books = pipeline.ledger
        self._books.items.record(ledger_rows.scan(*(ledger_rows.prompt(key) for key in ITEMS)))
        self._data: dict[int, bytes] = {}
        self._open: list[Attempt] = []
        self._plan: CleanUpPlan | None = None
        self._number = 0

    def step(self, what: str, number: int) -> None:
        """One thing that happens."""
        if what == "make":
            self._make(ITEMS[number])
        elif what == "begin":
            self._open.append(self._planned(ITEMS[number]))
        elif what == "fail":
            for attempt in self._open[number : number + 1]:
                self._books.attempts.failed(attempt, DecisionError("It came to nothing."))
                self._open.remove(attempt)
        elif what == "plan":
            self._plan = plan_clean_up(self._pipeline, RULES)
        elif what.startswith(("clean", "crash")):
            self._clean(what)
        elif self._data:
            self._decide(what, sorted(self._data)[number % len(self._data)])

    def _planned(self, key: str, shared_from: int | None = None) -> Attempt:
        self._number += 1
        stem = f"picture{self._number}"
        params = ledger_rows.request(text=f"text {self._number}")
        return ledger_rows.plan(
            self._books, key, request=params, file_stem=stem, shared_from=shared_from
        )

    def _make(self, key: str, data: bytes = b"", shared_from: int | None = None) -> None:
        attempt = self._planned(key, shared_from)
        data = data or f"the bytes of {attempt.file_stem}".encode()
        file = self._pipeline.store.absolute(f"pictures/{attempt.file_stem}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        ledger_rows.store(self._books, attempt, digest=hashlib.sha256(data).hexdigest())
        self._data[attempt.id] = data
        age_pictures(self._pipeline, 40)

    def _decide(self, what: str, attempt_id: int) -> None:
        (attempt,) = self._books.attempts.get([attempt_id])
        verdicts = {"approve": Verdict.APPROVED, "reject": Verdict.REJECTED}
        if what == "choose":
            assert self._pipeline.engine_context.extract_picture(attempt)
            self._books.reviews.make_current(attempt_id)
        elif what == "share":
            self._make("c", self._data[attempt_id], attempt_id)
        else:
            self._books.reviews.decide([attempt_id], verdicts.get(what, Verdict.NONE))

    def _clean(self, what: str) -> None:
        plan = self._plan if what == "clean by that plan" else None
        plan = plan or plan_clean_up(self._pipeline, RULES)
        name = {"crash at put": "set_archive", "crash at removal": "remove_archived"}.get(what)
        if name is not None:
            setattr(self._books.retention, name, _crash)
        with contextlib.suppress(CrashError):
            assert not any(done.error for done in carry_out(self._pipeline, plan))
        if name is not None:
            delattr(self._books.retention, name)

    def check(self, last: str) -> None:
        """No picture is lost, and what is wanted is at its place."""
        for attempt, row in self._books.attempts.rows():
            if attempt.path is None:
                continue
            file = self._pipeline.store.absolute(attempt.path)
            is_current = row.item_current_attempt == attempt.id
            # What was approved when it lay in its archive already is back after a clean-up.
            is_approved = attempt.verdict == "approved"
            if is_current or (is_approved and (last == "clean" or attempt.archive is None)):
                assert file.read_bytes() == self._data[attempt.id], attempt
            assert self._pipeline.engine_context.has_picture(attempt), attempt


def _crash(*_arguments: object) -> None:
    raise CrashError


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=3, max_size=16))
def test_what_is_current_or_approved_is_never_touched_and_nothing_is_lost(
    steps: list[tuple[str, int]],
) -> None:
    """After every step each current and approved picture lies at its place, and every other one
    there or whole in an archive: made, chosen, judged, shared, cleaned up, by old plans, crashed.
    """
    with tempfile.TemporaryDirectory() as folder:
        given_settings = load_settings(base_data_dir=Path(folder), simulator_setting="1")
        with closing(Pipeline(given_settings)) as pipeline:
            life = Life(pipeline)
            life.step("make", 0)
            life.step("make", 0)
            for what, number in steps:
                life.step(what, number)
                life.check(what)
            life.step("clean", 0)
            life.check("clean")


def test_the_clock_of_the_tests_is_the_ledgers() -> None:
    """Pictures are aged in the ledger and on the disk alike, so that the rules see both."""
    with tempfile.TemporaryDirectory() as folder:
        given_settings = load_settings(base_data_dir=Path(folder), simulator_setting="1")
        with closing(Pipeline(given_settings)) as pipeline:
            life = Life(pipeline)
            life.step("make", 0)
            life.step("make", 0)
            plan = plan_clean_up(pipeline, RULES, now=time.time())
            assert len(plan.actions) == 1
