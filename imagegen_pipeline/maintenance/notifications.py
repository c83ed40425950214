"""What is told of a run that failed: one line in a file, and a post to a webhook if there is one.

What is to be posted lies in a folder until the webhook has taken it, so that nothing is lost while
that is down; after a day it is given up. No traceback and no secret gets in.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.maintenance.discovery import FAILURES_LOG
from imagegen_pipeline.maintenance.webhook import WebhookError, post
from imagegen_pipeline.settings import Settings
from imagegen_pipeline.storage.atomic_files import temporary_file
from imagegen_pipeline.storage.pictures import HIDDEN

LARGEST_BODY = 64 * 1024
GIVEN_UP_SECONDS = 86_400.0
_DAY_OVER = "The webhook did not take it for a day."
_TICK_SECONDS = 20.0
"""No post is begun later than so: a sensor's tick has 60 s, and a post may take 31."""
_IN_TEXT = 5
"""Partitions that the short text names."""
_SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True)
class FailedPartition:
    """A partition that has no picture, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class FailureNotice:
    """A run that failed: what its steps say, and which partitions have no picture and why.

    ``at`` is the moment in ISO 8601 (UTC). ``more`` says that there are more partitions than are
    named.
    """

    run_id: str
    job: str
    at: str
    url: str
    simulated: bool
    failures: tuple[str, ...]
    partitions: tuple[FailedPartition, ...] = ()
    more: bool = False
    will_retry: bool = False
    assets: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        """The notice as a person reads it in a chat."""
        of = ", ".join(self.assets) or self.job
        mark = "[simulated] " if self.simulated else ""
        lines = [f"{mark}Run {self.run_id[:8]} of {of} failed: {(self.failures or ('',))[0]}"]
        lines += [f"• {one.key}: {one.reason}" for one in self.partitions[:_IN_TEXT]]
        if len(self.partitions) > _IN_TEXT or self.more:
            lines.append("• … and more")
        if self.will_retry:
            lines.append("Its process died; Dagster launches it again.")
        return _harmless("\n".join(lines)) + f"\n{self.url}"

    def as_json(self) -> dict[str, Any]:
        """What is written and posted; ``text`` is what chat services show."""
        return {"text": self.text, "event": "run_failed", **asdict(self)}


def _harmless(text: str) -> str:
    """A text that calls nobody and opens nothing in a chat: services' own words may be in it."""
    return text.replace("<", "‹").replace(">", "›").replace("@", "@\u200b")  # noqa: RUF001


def body_of(notice: FailureNotice) -> bytes:
    """The notice as JSON of at most ``LARGEST_BODY`` bytes: at need partitions are left out, and
    then the failures shortened.
    """
    while True:
        body = json.dumps(notice.as_json(), ensure_ascii=False).encode("utf-8", "replace")
        if len(body) <= LARGEST_BODY:
            return body
        if notice.partitions:
            half = notice.partitions[: len(notice.partitions) // 2]
            notice = replace(notice, partitions=half, more=True)
        else:
            shorter = tuple(one[: len(one) // 2] for one in notice.failures)
            notice = replace(notice, failures=shorter, assets=())


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of what was to be posted; ``error`` is the last refusal's sentence."""

    delivered: int = 0
    waiting: int = 0
    given_up: int = 0
    error: str = ""


class NotificationOutbox:
    """The file of failures and the folder of what is to be posted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.file = settings.log_dir / FAILURES_LOG
        self.folder = settings.data_dir / HIDDEN / "undelivered"

    def put(self, notice: FailureNotice) -> None:
        """Write a notice down, to be posted too if there is a webhook; raises StoreError."""
        safe = self._without_secrets(notice)
        if self._settings.failure_webhook is not None:
            self._keep(safe)
        self._line(safe.as_json())

    def _keep(self, notice: FailureNotice) -> None:
        target = self.folder / f"{notice.run_id}.json"
        with _as_store_error(target):
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary_file(target, body_of(notice)).replace(target)

    @property
    def waiting(self) -> int:
        """How many notices the webhook has not taken yet."""
        return len(self._waiting())

    def deliver(self, now: float | None = None) -> Delivery:
        """Post what waits, oldest first, until one is refused; raises nothing for the webhook.

        What has waited for a day is given up. ``now`` is in seconds since the epoch.
        """
        address = self._settings.failure_webhook
        now = time.time() if now is None else now
        delivered = given_up = 0
        error = ""
        begun = time.monotonic()
        with self._alone() as is_alone:
            for file in self._waiting() if is_alone else []:
                if address is None or now - file.stat().st_mtime > GIVEN_UP_SECONDS:
                    why = "The webhook is not set any more." if address is None else _DAY_OVER
                    self._say(file, "given_up", why)
                    file.unlink()
                    given_up += 1
                elif not error and time.monotonic() - begun < _TICK_SECONDS:
                    try:
                        post(address, file.read_bytes())
                    except WebhookError as refusal:
                        error = refusal.sentence
                        self._say(file, "not_delivered", error)
                    else:
                        file.unlink()
                        delivered += 1
        return Delivery(delivered, self.waiting, given_up, error)

    def _waiting(self) -> list[Path]:
        found = (one for one in self.folder.glob("*.json") if not one.name.startswith("."))
        return sorted(found, key=lambda file: file.stat().st_mtime)

    @contextlib.contextmanager
    def _alone(self) -> Any:  # noqa: ANN401 - a context manager's own type
        """Whether nobody else posts at this moment: two would post the same twice."""
        if not self.folder.is_dir():
            yield False
            return
        with (self.folder / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True

    def _say(self, file: Path, event: str, error: str) -> None:
        at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        with contextlib.suppress(StoreError):
            self._line({"event": event, "run_id": file.stem, "at": at, "error": error})

    def _line(self, facts: Mapping[str, Any]) -> None:
        """One whole line more in the file, whoever else writes to it."""
        line = json.dumps(facts, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with _as_store_error(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if file.tell() and not _ends_a_line(file):
                    line = b"\n" + line  # a process was killed in the middle of its own
                file.write(line)
                file.flush()
                os.fsync(file.fileno())

    def _without_secrets(self, notice: FailureNotice) -> FailureNotice:
        """The notice with every key, token and the webhook itself struck out."""
        secrets = [
            word
            for secret in self._settings.secrets
            if len(word := secret.get_secret_value().strip()) >= _SHORTEST_SECRET
        ]
        return replace(
            notice,
            failures=tuple(_struck(one, secrets) for one in notice.failures),
            partitions=tuple(
                FailedPartition(one.key, _struck(one.reason, secrets)) for one in notice.partitions
            ),
        )


def _struck(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _ends_a_line(file: Any) -> bool:  # noqa: ANN401 - an open file
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


@contextlib.contextmanager
def _as_store_error(path: Path) -> Any:  # noqa: ANN401 - a context manager's own type
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
