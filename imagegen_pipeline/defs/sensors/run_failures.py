"""Reports each failed run to ``IMAGEGEN_FAILURE_WEBHOOK``; without a webhook it only logs.

No traceback and no key is sent, and the webhook's address is in no log, event or error.
"""

import datetime as dt
import json
import time
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import SecretStr

from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.domain import errors

if TYPE_CHECKING:
    from imagegen_pipeline.settings import Settings

CONNECT_SECONDS, RESPONSE_SECONDS = 3.0, 5.0
MAX_TRIES, RETRY_SECONDS = 3, 5.0
"""No try starts later than this: a tick has 60 s and reports up to five runs."""
MAX_FAILURES, MAX_PARTITIONS, MAX_PARTITIONS_IN_TEXT = 10, 50, 5
MAX_TEXT = 300
_MIN_SECRET = 8


@dg.run_failure_sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    # Runs of `dagster asset materialize` belong to no code location.
    monitor_all_code_locations=True,
    description="Posts each failed run to IMAGEGEN_FAILURE_WEBHOOK: the job, what failed and why, "
    "and links. Without a webhook it only logs.",
)
def failure_sensor(context: dg.RunFailureSensorContext, pipeline: PipelineResource) -> None:
    """Log each failed run, and post it if a webhook is set."""
    settings = pipeline.get().settings
    message = context.failure_event.message or ""
    notice = build_notice(context.instance, context.dagster_run, message, settings)
    context.log.info(notice["text"])
    if settings.failure_webhook is not None:
        problem = post_notice(settings.failure_webhook, notice)
        if problem:
            context.log.error(f"Run {notice['run_id']} was not posted to the webhook: {problem}")


def build_notice(
    instance: dg.DagsterInstance, run: dg.DagsterRun, message: str, settings: "Settings"
) -> dict[str, Any]:
    """The JSON that is posted; ``text`` is a summary for chat services.

    ``message`` is Dagster's own message, used when no step failed. Lists and texts have maximum
    lengths; ``more`` says that further partitions failed.
    """
    failures, partitions = _read_events(instance, run.run_id)
    notice = {
        "event": "run_failed",
        "run_id": run.run_id,
        "job": run.job_name,
        "assets": sorted(key.to_user_string() for key in run.asset_selection or ())[:MAX_FAILURES],
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "url": f"{settings.dagster_url}/runs/{run.run_id}",
        "simulated": settings.simulator,
        "failures": [_clean(text, settings) for text in (failures or [message])[:MAX_FAILURES]],
        "partitions": [
            {
                "key": key,
                "reason": _clean(reason, settings),
                "url": f"{settings.gallery_url}/picture/{key}",
            }
            for key, reason in list(partitions.items())[:MAX_PARTITIONS]
        ],
        "more": len(partitions) > MAX_PARTITIONS,
        "will_retry": run.tags.get("dagster/will_retry", "").lower() == "true",
    }
    return {"text": _summary(notice), **notice}


def _read_events(instance: dg.DagsterInstance, run_id: str) -> tuple[list[str], dict[str, str]]:
    """The failed steps with their errors, and the failed partitions with their reasons."""
    failures: list[str] = []
    partitions: dict[str, str] = {}
    types = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ASSET_OBSERVATION}
    for entry in instance.all_logs(run_id, of_type=types):
        event = entry.dagster_event
        if event is not None and event.is_step_failure:
            data = event.step_failure_data
            stated = data.user_failure_data.description if data.user_failure_data else None
            failures.append(f"{event.step_key}: {stated or _error_text(data.error)}")
        elif event is not None:
            observation = event.asset_observation_data.asset_observation
            facts = observation.metadata
            if observation.partition and "error" in facts:
                parts = [str(facts[name].value) for name in ("error", "remedy") if name in facts]
                partitions[observation.partition] = " ".join(parts)
    return failures, partitions


def _error_text(error: object) -> str:
    """The message of the first of this package's errors in the chain of causes.

    Of any other error only the class name: its text may hold a secret.
    """
    name = "an error"
    while error is not None:
        name = getattr(error, "cls_name", None) or name
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, errors.ImagegenError):
            return str(getattr(error, "message", "")).partition(f"{name}: ")[2].strip() or name
        error = getattr(error, "cause", None) or getattr(error, "context", None)
    return f"{name}. The run's page has the details."


def _clean(text: str, settings: "Settings") -> str:
    """The first line, without secrets, shortened; the lines after it may be a traceback."""
    line = (text.strip().splitlines() or [""])[0]
    for value in settings.secrets:
        secret = value.get_secret_value().strip()
        if len(secret) >= _MIN_SECRET:
            line = line.replace(secret, "***")
    return line if len(line) <= MAX_TEXT else f"{line[:MAX_TEXT]}…"


def _summary(notice: dict[str, Any]) -> str:
    mark = "[simulated] " if notice["simulated"] else ""
    target = ", ".join(notice["assets"]) or notice["job"]
    lines = [f"{mark}Run {notice['run_id'][:8]} of {target} failed: {notice['failures'][0]}"]
    named = notice["partitions"][:MAX_PARTITIONS_IN_TEXT]
    lines += [f"• {failed['key']}: {failed['reason']}" for failed in named]
    if notice["more"] or len(notice["partitions"]) > len(named):
        lines.append("• … and more")
    if notice["will_retry"]:
        lines.append("The run's process died; Dagster retries the run.")
    text = "\n".join(lines)
    # A provider's words must not mention people or form links in a chat.
    text = text.replace("<", "‹").replace(">", "›").replace("@", "@\u200b")  # noqa: RUF001
    return f"{text}\n{notice['url']}"


def post_notice(webhook: SecretStr, notice: dict[str, Any]) -> str:
    """Post ``notice`` as JSON; returns why the webhook did not accept it, empty if it did.

    A failed connection, 408, 429 or 5xx is retried. Redirects are not followed, the response body
    is not read, and the reason never holds the address.
    """
    from urllib3.exceptions import HTTPError

    from imagegen_pipeline.providers.http.client import NoRedirectSession
    from imagegen_pipeline.providers.http.connections import LimitedAdapter

    body = json.dumps(notice, ensure_ascii=False).encode("utf-8", "replace")
    problem = ""
    started = time.monotonic()
    with NoRedirectSession() as session:
        session.mount("http://", LimitedAdapter())
        session.mount("https://", LimitedAdapter())
        for number in range(MAX_TRIES):
            if number and time.monotonic() - started > RETRY_SECONDS:
                break
            time.sleep(0.5 * number)
            try:
                response = session.post(
                    webhook.get_secret_value(),
                    data=body,
                    headers={"Content-Type": "application/json"},
                    auth=lambda request: request,  # keeps a password of .netrc out
                    timeout=(CONNECT_SECONDS, RESPONSE_SECONDS),
                    allow_redirects=False,
                    stream=True,
                )
                response.close()
            except (OSError, ValueError, HTTPError) as error:  # their texts hold the address
                problem = f"it could not be reached ({type(error).__name__})."
                continue
            if 200 <= response.status_code < 300:
                return ""
            problem = f"it answered {response.status_code}."
            if response.status_code not in (408, 429) and response.status_code < 500:
                break
    return f"{problem} Check IMAGEGEN_FAILURE_WEBHOOK."
