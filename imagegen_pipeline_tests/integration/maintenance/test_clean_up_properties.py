"""Property test: no sequence of events makes a clean-up touch a current or approved image."""

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
from imagegen_pipeline_tests.integration.maintenance.conftest import age_pictures
from imagegen_pipeline_tests.unit.ledger import ledger_rows

POLICY = RetentionPolicy(pictures=30, untracked=True)
ITEMS = ("a", "b", "c")
PICTURE = st.integers(0, 11)
STEPS = st.one_of(
    st.tuples(st.just("make"), st.integers(0, 2)),
    st.tuples(st.just("begin"), st.integers(0, 2)),
    st.tuples(st.just("fail"), PICTURE),
    st.tuples(st.sampled_from(["approve", "reject", "take back", "choose", "share"]), PICTURE),
    st.tuples(st.just("plan"), st.just(0)),
    st.tuples(st.sampled_from(["clean", "clean by that plan"]), st.just(0)),
    st.tuples(st.sampled_from(["crash before recording", "crash before removal"]), st.just(0)),
)


class CrashError(BaseException):
    """Stands for the end of the process."""


class LedgerHistory:
    """Applies random steps to a data folder, and checks the invariants after each."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._ledger = pipeline.ledger
        self._ledger.items.record(ledger_rows.scan(*(ledger_rows.prompt(key) for key in ITEMS)))
        self._data: dict[int, bytes] = {}
        self._open: list[Attempt] = []
        self._plan: CleanUpPlan | None = None
        self._number = 0

    def apply(self, step: str, number: int) -> None:
        """Apply one step to the item, attempt or image with that number."""
        if step == "make":
            self._make(ITEMS[number])
        elif step == "begin":
            self._open.append(self._planned(ITEMS[number]))
        elif step == "fail":
            for attempt in self._open[number : number + 1]:
                self._ledger.attempts.failed(attempt, DecisionError("It came to nothing."))
                self._open.remove(attempt)
        elif step == "plan":
            self._plan = plan_clean_up(self._pipeline, POLICY)
        elif step.startswith(("clean", "crash")):
            self._clean(step)
        elif self._data:
            self._decide(step, sorted(self._data)[number % len(self._data)])

    def _planned(self, key: str, shared_from: int | None = None) -> Attempt:
        self._number += 1
        stem = f"picture{self._number}"
        params = ledger_rows.request(text=f"text {self._number}")
        return ledger_rows.plan(
            self._ledger, key, request=params, file_stem=stem, shared_from=shared_from
        )

    def _make(self, key: str, data: bytes = b"", shared_from: int | None = None) -> None:
        attempt = self._planned(key, shared_from)
        data = data or f"the bytes of {attempt.file_stem}".encode()
        file = self._pipeline.store.absolute(f"pictures/{attempt.file_stem}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        ledger_rows.store(self._ledger, attempt, digest=hashlib.sha256(data).hexdigest())
        self._data[attempt.id] = data
        age_pictures(self._pipeline, 40)

    def _decide(self, step: str, attempt_id: int) -> None:
        (attempt,) = self._ledger.attempts.get([attempt_id])
        verdicts = {"approve": Verdict.APPROVED, "reject": Verdict.REJECTED}
        if step == "choose":
            assert self._pipeline.engine_context.extract_picture(attempt)
            self._ledger.reviews.make_current(attempt_id)
        elif step == "share":
            self._make("c", self._data[attempt_id], attempt_id)
        else:
            self._ledger.reviews.decide([attempt_id], verdicts.get(step, Verdict.NONE))

    def _clean(self, step: str) -> None:
        plan = self._plan if step == "clean by that plan" else None
        plan = plan or plan_clean_up(self._pipeline, POLICY)
        name = {
            "crash before recording": "set_archive",
            "crash before removal": "remove_archived",
        }.get(step)
        if name is not None:
            setattr(self._ledger.retention, name, _crash)
        with contextlib.suppress(CrashError):
            assert not any(done.error for done in carry_out(self._pipeline, plan))
        if name is not None:
            delattr(self._ledger.retention, name)

    def check(self, last: str) -> None:
        """No image is lost, and every current and approved image is a file."""
        for attempt, row in self._ledger.attempts.rows():
            if attempt.path is None:
                continue
            file = self._pipeline.store.absolute(attempt.path)
            is_current = row.item_current_attempt == attempt.id
            # An image that was approved in its archive is extracted by a clean-up.
            is_approved = attempt.verdict == "approved"
            if is_current or (is_approved and (last == "clean" or attempt.archive is None)):
                assert file.read_bytes() == self._data[attempt.id], attempt
            assert self._pipeline.engine_context.has_picture(attempt), attempt


def _crash(*_arguments: object) -> None:
    raise CrashError


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=3, max_size=16))
def test_no_history_loses_an_image_or_touches_a_current_or_approved_one(
    steps: list[tuple[str, int]],
) -> None:
    """After every step each current and approved image is a file, and every other image is a file
    or whole in an archive.
    """
    with tempfile.TemporaryDirectory() as folder:
        given_settings = load_settings(base_data_dir=Path(folder), simulator_setting="1")
        with closing(Pipeline(given_settings)) as pipeline:
            history = LedgerHistory(pipeline)
            history.apply("make", 0)
            history.apply("make", 0)
            for step, number in steps:
                history.apply(step, number)
                history.check(step)
            history.apply("clean", 0)
            history.check("clean")


def test_aged_images_are_old_for_the_policy() -> None:
    """The tests age images both in the ledger and on disk."""
    with tempfile.TemporaryDirectory() as folder:
        given_settings = load_settings(base_data_dir=Path(folder), simulator_setting="1")
        with closing(Pipeline(given_settings)) as pipeline:
            history = LedgerHistory(pipeline)
            history.apply("make", 0)
            history.apply("make", 0)
            plan = plan_clean_up(pipeline, POLICY, now=time.time())
            assert len(plan.actions) == 1
