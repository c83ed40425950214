"""What is told of failed runs: written down always, posted until it is taken, no secret in it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from imagegen_pipeline.maintenance import notifications, webhook
from imagegen_pipeline.maintenance.notifications import (
    LARGEST_BODY,
    FailedPartition,
    FailureNotice,
    NotificationOutbox,
    body_of,
)
from imagegen_pipeline.maintenance.webhook import WebhookError, post
from imagegen_pipeline.settings import Settings, load_settings
from imagegen_pipeline_tests.upkeep import hooks
from imagegen_pipeline_tests.upkeep.hooks import SECRET, Hook

KEY = "words-that-open-nothing-at-all"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    """A webhook that is waited for a short while only."""
    monkeypatch.setattr(webhook, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(webhook, "PAUSE_SECONDS", 0.01)
    with hooks.webhook() as opened:
        yield opened


def board(tmp_path: Path, hook: Hook | None = None, **more: Any) -> NotificationOutbox:
    """The board of a data folder, with a webhook if there is one."""
    return NotificationOutbox(settings(tmp_path, hook, **more))


def settings(tmp_path: Path, hook: Hook | None = None, **more: Any) -> Settings:
    """Settings of a data folder."""
    address = None if hook is None else SecretStr(hook.url)
    return load_settings(base_data_dir=tmp_path, failure_webhook=address, **more)


def notice(number: int = 1, **changes: Any) -> FailureNotice:
    """A run that failed."""
    facts: dict[str, Any] = {
        "run_id": f"0000000{number}-aaaa",
        "job": "__ASSET_JOB",
        "at": "2026-01-31T02:00:00+00:00",
        "url": "http://127.0.0.1:3000/runs/1",
        "simulated": False,
        "failures": ("generated_images: 1 of 4 have no picture.",),
        "partitions": (FailedPartition("db-7", "The service refused it. Change it."),),
        "assets": ("generated_images",),
    }
    return FailureNotice(**{**facts, **changes})


def lines(of: NotificationOutbox) -> list[dict[str, Any]]:
    """What stands in the file of failures."""
    return [json.loads(line) for line in of.file.read_text("utf-8").splitlines()]


def test_without_a_webhook_a_failure_is_a_line_in_a_file(tmp_path: Path) -> None:
    """Who failed, why, which partitions, and where to look; nothing waits to be posted."""
    here = board(tmp_path)
    here.put(notice())
    assert here.file == tmp_path / "logs" / "failures.jsonl"
    (line,) = lines(here)
    assert line["failures"] == ["generated_images: 1 of 4 have no picture."]
    assert line["partitions"] == [
        {"key": "db-7", "reason": "The service refused it. Change it."},
    ]
    assert line["url"].endswith("/runs/1")
    assert here.deliver() == notifications.Delivery()
    assert not here.folder.exists()


def test_a_failure_is_posted_once_with_a_text_that_chats_show(tmp_path: Path, hook: Hook) -> None:
    """The body has ``text``; what was taken is not posted again."""
    here = board(tmp_path, hook)
    here.put(notice())
    assert here.deliver().delivered == 1
    (body,) = hook.posts
    assert body["text"].splitlines() == [
        "Run 00000001 of generated_images failed: generated_images: 1 of 4 have no picture.",
        "• db-7: The service refused it. Change it.",
        "http://127.0.0.1:3000/runs/1",
    ]
    assert hook.headers[0]["content-type"] == "application/json"
    assert here.deliver().delivered == 0
    assert len(hook.bodies) == 1


@pytest.mark.parametrize("answer", [500, 503, 429, "hang", "drop", 404, 301, 307])
def test_what_is_not_taken_is_posted_by_a_later_tick(
    answer: int | str, tmp_path: Path, hook: Hook
) -> None:
    """A refusal is written down and lost is nothing; only what may pass is tried twice at once."""
    here = board(tmp_path, hook)
    here.put(notice(1))
    here.put(notice(2))
    hook.answers = [answer, answer]
    first = here.deliver()
    assert (first.delivered, first.waiting) == (0, 2)
    tried = 1 if answer in (404, 301, 307) else 2
    assert len(hook.bodies) == tried, "the second notice waits: it would be refused too"
    assert [line["event"] for line in lines(here)] == ["run_failed", "run_failed", "not_delivered"]
    assert SECRET not in here.file.read_text()
    assert SECRET not in first.error
    hook.answers = []
    assert here.deliver().delivered == 2
    assert [body["run_id"] for body in hook.posts[tried:]] == ["00000001-aaaa", "00000002-aaaa"]
    assert not any(path.endswith("elsewhere") for path in hook.paths)


def test_a_second_try_at_once_is_enough_for_a_hiccup(tmp_path: Path, hook: Hook) -> None:
    """One 503 costs nothing: the same tick posts it."""
    here = board(tmp_path, hook)
    here.put(notice())
    hook.answers = [503]
    assert here.deliver() == notifications.Delivery(delivered=1)
    assert len(hook.bodies) == 2


def test_an_answer_that_never_ends_is_not_waited_for(tmp_path: Path, hook: Hook) -> None:
    """A host that drips its headers holds no tick up."""
    hook.answers = ["drip", "drip", 0]
    here = board(tmp_path, hook)
    here.put(notice())
    assert here.deliver().waiting == 1


def test_a_host_that_is_not_there_is_named_by_no_address(tmp_path: Path, hook: Hook) -> None:
    """The sentence says what happened, without the secret that the address is."""
    gone = SecretStr(f"http://127.0.0.1:9/hooks/{SECRET}")
    with pytest.raises(WebhookError) as error:
        post(gone, b"{}")
    assert "could not be reached (ConnectionError)" in error.value.sentence
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@pytest.mark.parametrize("address", ["http://[::1", "http://a b", "http://exa mple/x", "http://.x"])
def test_an_address_that_cannot_be_is_a_refusal_too(address: str, hook: Hook) -> None:
    """Whatever the library underneath makes of it, it is a WebhookError."""
    with pytest.raises(WebhookError):
        post(SecretStr(address), b"{}")


def test_after_a_day_it_is_given_up(tmp_path: Path, hook: Hook) -> None:
    """It stands in the file that nothing took it; newer ones are still posted."""
    here = board(tmp_path, hook)
    here.put(notice(1))
    old = here.folder / "00000001-aaaa.json"
    os.utime(old, (1, 1))
    here.put(notice(2))
    assert here.deliver() == notifications.Delivery(delivered=1, given_up=1)
    assert [body["run_id"] for body in hook.posts] == ["00000002-aaaa"]
    assert lines(here)[-1]["event"] == "given_up"
    assert lines(here)[-1]["run_id"] == "00000001-aaaa"


def test_a_webhook_that_is_set_later_gets_nothing_old(tmp_path: Path, hook: Hook) -> None:
    """What failed before it was set is in the file alone; and unset, nothing waits for ever."""
    board(tmp_path).put(notice(1))
    here = board(tmp_path, hook)
    assert here.deliver() == notifications.Delivery()
    here.put(notice(2))
    assert board(tmp_path).deliver().given_up == 1
    assert hook.bodies == []


def test_no_secret_gets_into_file_or_post(tmp_path: Path, hook: Hook) -> None:
    """Even if a service's own words repeat a key, a token or the webhook's address."""
    token = "tok-0123456789abcdef"
    here = board(
        tmp_path,
        hook,
        providers={"duomi": {"api_key": f" {KEY} "}, "runpod": {"api_key": "short"}},
        token=SecretStr(token),
    )
    said = f"refused {KEY} with {token} at {hook.url}; short words stay"
    here.put(notice(failures=(said,), partitions=(FailedPartition("db-7", said),)))
    here.deliver()
    everything = here.file.read_text() + hook.bodies[0].decode()
    for secret in (KEY, token, SECRET):
        assert secret not in everything
    assert everything.count("*** with *** at ***; short words stay") == 8


def test_no_netrc_password_goes_along(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the user has in ``.netrc`` for the host is nobody's business."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    netrc.chmod(stat.S_IRUSR | stat.S_IWUSR)
    monkeypatch.setenv("NETRC", str(netrc))
    here = board(tmp_path, hook)
    here.put(notice())
    assert here.deliver().delivered == 1
    assert "authorization" not in hook.headers[0]


def test_a_large_failure_is_cut_to_64_kb(tmp_path: Path, hook: Hook) -> None:
    """Partitions are left out first; what remains is whole JSON and says that there are more."""
    many = tuple(FailedPartition(f"db-{n}", "é\x00" * 1000) for n in range(50))
    whole = notice(partitions=many, failures=("\x01" * 1000,) * 10)
    body = body_of(whole)
    assert len(body) <= LARGEST_BODY
    assert json.loads(body)["more"]
    assert 0 <= len(json.loads(body)["partitions"]) < 50
    worst = notice(partitions=(), failures=("\x01" * 6000,) * 10)
    assert len(body_of(worst)) <= LARGEST_BODY
    assert json.loads(body_of(worst))["run_id"] == worst.run_id


def test_a_text_calls_nobody(tmp_path: Path) -> None:
    """A service's words cannot mention a channel or make a link in a chat."""
    said = notice(failures=("<!channel> @all <http://evil|click>",)).text
    assert "<" not in said
    assert "@all" not in said


def test_lines_stay_whole_after_a_process_died_in_the_middle_of_one(tmp_path: Path) -> None:
    """The next line begins on its own, so that every other line can be read."""
    here = board(tmp_path)
    here.put(notice(1))
    with here.file.open("ab") as file:
        file.write(b'{"event": "run_fai')
    here.put(notice(2))
    first, torn, second = here.file.read_text().splitlines()
    assert json.loads(first)["run_id"] != json.loads(second)["run_id"]
    assert torn == '{"event": "run_fai'


def test_a_simulated_failure_says_so(tmp_path: Path) -> None:
    """Nobody is woken by a run that cost nothing."""
    assert notice(simulated=True).text.startswith("[simulated] Run ")
