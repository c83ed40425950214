"""The failure sensor on real runs: what it logs, what it posts, and what it never reveals."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.defs.sensors import run_failures
from imagegen_pipeline.defs.sensors.run_failures import build_notice, failure_sensor, post_notice
from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.settings import Settings, load_settings
from imagegen_pipeline_tests.conftest import Simulator
from imagegen_pipeline_tests.integration.defs.conftest import Dagster
from imagegen_pipeline_tests.integration.defs.webhook_server import (
    SECRET,
    WebhookServer,
    run_webhook_server,
)

KEY = "words-that-open-nothing-at-all"
NOTICE: dict[str, Any] = {"text": "Run 00000001 failed", "run_id": "00000001-aaaa"}


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookServer]:
    """A webhook in the environment, with short time-outs."""
    monkeypatch.setattr(run_failures, "RESPONSE_SECONDS", 0.3)
    monkeypatch.setattr("imagegen_pipeline.defs.sensors.run_failures.time.sleep", lambda _s: None)
    with run_webhook_server() as server:
        monkeypatch.setenv("IMAGEGEN_FAILURE_WEBHOOK", server.url)
        yield server


def refuse(simulator: Simulator, match: str) -> None:
    """Have the provider refuse these prompts."""
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match=match, times=-1
    )


def evaluate(dagster: Dagster, cursor: str | None) -> Any:
    """One tick of the failure sensor, as the daemon runs it; returns the cursor."""
    with dg.build_sensor_context(
        instance=dagster.instance, cursor=cursor, resources={"pipeline": PipelineResource()}
    ) as context:
        return failure_sensor.evaluate_tick(context).cursor


def notice_of(
    dagster: Dagster, run: dg.DagsterRun, message: str = "", settings: Settings | None = None
) -> dict[str, Any]:
    """The notice of a failed run."""
    return build_notice(dagster.instance, run, message, settings or load_settings())


def failed_run(dagster: Dagster, op: dg.OpDefinition) -> dg.DagsterRun:
    """A run of a job with one op that fails."""

    @dg.job
    def night_job() -> None:
        op()

    result = night_job.execute_in_process(instance=dagster.instance, raise_on_error=False)
    run = dagster.instance.get_run_by_id(result.run_id)
    assert run is not None
    return run


def test_a_failed_run_is_posted_with_its_partitions_reasons_and_links(
    dagster: Dagster, prompts: list[str], simulator: Simulator, webhook: WebhookServer
) -> None:
    """Each failed partition comes with what happened, the remedy and a link; each run once."""
    cursor = evaluate(dagster, None)
    refuse(simulator, "number 1")
    refuse(simulator, "number 2")
    failed = dagster.run("generated_images", keys=prompts)
    assert not failed.success
    cursor = evaluate(dagster, cursor)
    (body,) = webhook.posts
    assert webhook.headers[0]["content-type"] == "application/json"
    assert (body["event"], body["run_id"]) == ("run_failed", failed.run_id)
    assert body["assets"] == ["generated_images"]
    assert body["url"] == f"http://127.0.0.1:3000/runs/{failed.run_id}"
    assert body["failures"][0].startswith("generated_images: 2 of 4 have no image")
    assert {one["key"] for one in body["partitions"]} == set(prompts[1:3])
    assert all(one["reason"] for one in body["partitions"])
    assert all(one["url"].endswith(f"/picture/{one['key']}") for one in body["partitions"])
    assert body["simulated"]
    assert body["text"].startswith(f"[simulated] Run {failed.run_id[:8]} of generated_images")
    assert prompts[1] in body["text"]
    assert "Traceback" not in json.dumps(body)
    assert 'File "' not in json.dumps(body)
    assert evaluate(dagster, cursor)
    assert len(webhook.bodies) == 1, "each failure once"


def test_a_run_that_succeeded_or_failed_before_the_sensor_started_is_not_posted(
    dagster: Dagster, prompts: list[str], simulator: Simulator, webhook: WebhookServer
) -> None:
    """The sensor starts with the runs that fail after its first tick."""
    refuse(simulator, "number 1")
    dagster.run("generated_images", keys=prompts)
    cursor = evaluate(dagster, None)
    dagster.run("generated_images", keys=prompts[:1])
    evaluate(dagster, cursor)
    assert webhook.bodies == []


def test_without_a_webhook_a_failure_is_only_logged(
    dagster: Dagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent and no file is written."""
    monkeypatch.setattr(run_failures, "post_notice", lambda *_: pytest.fail("posted"))
    cursor = evaluate(dagster, None)
    failed_run(dagster, fail_with_description)
    before = {file for file in dagster.project.results.rglob("*") if ".dagster" not in str(file)}
    assert evaluate(dagster, cursor) != cursor
    after = {file for file in dagster.project.results.rglob("*") if ".dagster" not in str(file)}
    assert {file for file in after - before if "imagegen.db" not in file.name} == set()


@pytest.mark.parametrize("response", [500, 503, 429, 408, "hang", "drop", "drip"])
def test_a_temporary_failure_of_the_webhook_is_retried(
    response: int | str, webhook: WebhookServer
) -> None:
    """The next try delivers the notice."""
    webhook.responses = [response, 200]
    assert post_notice(SecretStr(webhook.url), NOTICE) == ""
    assert webhook.posts == [NOTICE, NOTICE]


@pytest.mark.parametrize("response", [404, 301, 307])
def test_a_refusal_or_redirect_is_not_retried_and_not_followed(
    response: int, webhook: WebhookServer
) -> None:
    """The reason says what the webhook answered and which setting to check, not its address."""
    webhook.responses = [response]
    problem = post_notice(SecretStr(webhook.url), NOTICE)
    assert problem == f"it answered {response}. Check IMAGEGEN_FAILURE_WEBHOOK."
    assert len(webhook.bodies) == 1


def test_a_webhook_that_is_down_is_given_up_after_a_few_tries(webhook: WebhookServer) -> None:
    """A tick is not delayed for long."""
    webhook.responses = [503] * 10
    assert "it answered 503" in post_notice(SecretStr(webhook.url), NOTICE)
    assert len(webhook.bodies) == run_failures.MAX_TRIES


def test_no_try_starts_after_the_time_limit(
    webhook: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five failed runs in one tick stay within the tick's 60 seconds."""
    monkeypatch.setattr(run_failures, "RETRY_SECONDS", 0.1)
    webhook.responses = ["hang"] * 3
    assert "could not be reached" in post_notice(SecretStr(webhook.url), NOTICE)
    assert len(webhook.bodies) == 1


@pytest.mark.parametrize(
    "address",
    [f"http://127.0.0.1:9/{SECRET}", "http://[::1", "http://a b", "http://exa mple/x", "http://.x"],
)
def test_an_unreachable_or_invalid_address_is_a_reason_without_the_address(
    address: str, webhook: WebhookServer
) -> None:
    """The reason names the kind of error only."""
    problem = post_notice(SecretStr(address), NOTICE)
    assert problem.startswith("it could not be reached (")
    assert address.partition("://")[2] not in problem


def test_no_netrc_password_is_sent(
    tmp_path: Path, webhook: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials that the user has for the host stay out of the request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    netrc.chmod(stat.S_IRUSR | stat.S_IWUSR)
    monkeypatch.setenv("NETRC", str(netrc))
    assert post_notice(SecretStr(webhook.url), NOTICE) == ""
    assert "authorization" not in webhook.headers[0]


def test_the_address_of_the_webhook_is_nowhere(
    dagster: Dagster,
    prompts: list[str],
    simulator: Simulator,
    webhook: WebhookServer,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not in a file, Dagster's records or the log, even when the webhook refuses."""
    cursor = evaluate(dagster, None)
    refuse(simulator, "number 1")
    dagster.run("generated_images", keys=prompts)
    webhook.responses = [500] * 9
    evaluate(dagster, cursor)
    assert len(webhook.bodies) == run_failures.MAX_TRIES
    root = dagster.project.root
    files = [file for file in root.rglob("*") if file.is_file()]
    assert any(b"number 1" in file.read_bytes() for file in files)
    assert [file for file in files if SECRET.encode() in file.read_bytes()] == []
    assert SECRET not in "".join(capfd.readouterr())


@dg.op
def fail_with_foreign_error() -> None:
    """An error of another package, whose text holds a secret."""
    raise ValueError("could not connect to https://user:hunter2@example.test/")


@dg.op
def fail_with_own_error() -> None:
    """An error of this package that nothing wrapped."""
    raise StoreError("The disk is full.")


@dg.op
def fail_with_description() -> None:
    """A failure with a description."""
    raise dg.Failure("3 files resisted.\nTraceback of sorts", allow_retries=False)


@pytest.mark.parametrize(
    ("op", "sentence"),
    [
        (
            fail_with_foreign_error,
            "fail_with_foreign_error: ValueError. The run's page has the details.",
        ),
        (fail_with_own_error, "fail_with_own_error: The disk is full."),
        (fail_with_description, "fail_with_description: 3 files resisted."),
    ],
)
def test_no_traceback_and_no_foreign_text_is_sent(
    op: dg.OpDefinition, sentence: str, dagster: Dagster
) -> None:
    """This package's sentences are sent; of any other error only the class name."""
    notice = notice_of(dagster, failed_run(dagster, op))
    assert notice["failures"] == [sentence]
    assert notice["job"] == "night_job"
    assert "hunter2" not in json.dumps(notice)


def test_a_run_without_a_failed_step_is_reported_with_dagsters_message(dagster: Dagster) -> None:
    """A run whose process died has no failed step."""

    @dg.job
    def night_job() -> None:
        fail_with_description()

    run = dagster.instance.create_run_for_job(night_job)
    notice = notice_of(dagster, run, "The process has died.\nmore")
    assert notice["failures"] == ["The process has died."]


def test_of_many_failed_partitions_the_first_are_named(
    dagster: Dagster, prompts: list[str], simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that failed as a whole names as many as fit, and says that there are more."""
    monkeypatch.setattr(run_failures, "MAX_PARTITIONS", 3)
    refuse(simulator, "number")
    failed = dagster.run("generated_images", keys=prompts)
    run = dagster.instance.get_run_by_id(failed.run_id)
    assert run is not None
    notice = notice_of(dagster, run)
    assert len(notice["partitions"]) == 3
    assert notice["more"]
    assert notice["text"].count("•") == 4


def test_no_secret_is_in_the_notice(dagster: Dagster, webhook: WebhookServer) -> None:
    """Keys, tokens and the webhook's address are struck out of every text; short words stay."""
    token = "tok-0123456789abcdef"
    settings = load_settings(
        providers={"duomi": {"api_key": f" {KEY} "}, "runpod": {"api_key": "short"}}, token=token
    )
    message = f"refused {KEY} with {token} at {webhook.url}; short words stay"
    run = failed_run(dagster, fail_with_description)
    dagster.instance.delete_run(run.run_id)
    notice = notice_of(dagster, run, message, settings)
    assert notice["failures"] == ["refused *** with *** at ***; short words stay"]
    for secret in (KEY, token, SECRET):
        assert secret not in json.dumps(notice)


def test_long_texts_are_shortened_and_mention_nobody(dagster: Dagster) -> None:
    """A provider's words cannot notify a channel or form a link in a chat."""
    run = failed_run(dagster, fail_with_description)
    dagster.instance.delete_run(run.run_id)
    text = notice_of(dagster, run, "<!channel> @all <http://evil|click>" + "x" * 5000)["text"]
    assert "<" not in text
    assert "@all" not in text
    assert len(text) < 2 * run_failures.MAX_TEXT


def test_the_sensor_is_on_by_default() -> None:
    """It sends nothing unless the user has set a webhook."""
    assert failure_sensor.default_status is dg.DefaultSensorStatus.RUNNING
