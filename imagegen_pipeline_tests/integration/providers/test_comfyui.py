"""ComfyUI's jobs over HTTP: submit, history, view; refusals, losses, cancels and the token."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagegen_pipeline.domain.comfy.workflow import Workflow, parse_workflow
from imagegen_pipeline.domain.errors import (
    AccountRefusedError,
    JobFailedError,
    JobLostError,
    OutcomeUnknownError,
    ProviderBusyError,
    RedirectedError,
    RequestRefusedError,
    UnreachableError,
    WorkflowError,
)
from imagegen_pipeline.domain.image.decode import decode_picture
from imagegen_pipeline.providers.base import JobReport, JobState
from imagegen_pipeline.providers.comfyui.answers import (
    choices_of,
    failure_reason,
    image_files,
    missing_in_server,
    queue_state,
    refusal_sentence,
    run_seconds,
)
from imagegen_pipeline.providers.comfyui.client import ComfyUIClient
from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import Simulator, until
from imagegen_pipeline_tests.integration.providers.local_services import (
    FAST,
    HURRIED,
    SHIPPED,
    closed_port,
    flux,
    flux_workflow,
    json_answer,
    recording,
)

TOKEN = "simulated-comfyui-token"
KEYS = (
    *("error", "node_errors", "errors", "status", "messages", "outputs", "images", "filename"),
    *("type", "input", "required", "extra_info", "input_config", "queue_running", "7", "X"),
)
Opened = Callable[[Any], Any]


def comfyui_at(root: str, **more: Any) -> ComfyUIClient:
    """A client for the ComfyUI server of a simulator."""
    options: dict[str, Any] = {"workflow": flux_workflow(), "api_token": TOKEN, "timeouts": FAST}
    return ComfyUIClient(base_url=f"{root}/comfyui", **{**options, **more})


@pytest.fixture
def comfyui(simulator: Simulator, opened: Opened) -> ComfyUIClient:
    """A client of the simulated ComfyUI server."""
    client: ComfyUIClient = opened(comfyui_at(simulator.url))
    return client


def submitted(client: ComfyUIClient, **changes: Any) -> str:
    """The id of a new job."""
    submission = client.submit(flux(provider="comfyui", **changes))
    assert submission.report is None
    assert submission.job_id is not None
    return submission.job_id


def completed(client: ComfyUIClient, job_id: str) -> JobReport:
    """The report of a job once it has ended."""

    def read() -> JobReport | None:
        report = client.poll(job_id, client.endpoint)
        return report if report.state is JobState.COMPLETED else None

    report: JobReport = until(read, seconds=10, every=0.02)
    return report


def edited_workflow(node: str, **inputs: Any) -> Workflow:
    """The shipped graph with other values in one node."""
    graph = json.loads(SHIPPED.read_text())
    graph[node]["inputs"].update(inputs)
    return parse_workflow(json.dumps(graph), name="edited.json")


def requests_of(simulator: Simulator) -> dict[str, int]:
    """How often each route was called."""
    counts: dict[str, int] = simulator.stats()["requests"]
    return counts


def test_a_job_is_submitted_polled_and_viewed(comfyui: ComfyUIClient, simulator: Simulator) -> None:
    """The image of the requested size comes as bytes, with the seconds that the server took."""
    report = completed(comfyui, submitted(comfyui, width=64, height=96))
    (image,) = report.images
    assert image.url is None
    decoded = decode_picture(image.data or b"")
    assert (decoded.width, decoded.height) == (64, 96)
    assert report.run_seconds is not None
    assert "prompt" not in (report.raw or {})
    assert simulator.billed("comfyui") == 1


def test_the_job_has_the_id_that_was_chosen_here(comfyui: ComfyUIClient) -> None:
    """prompt_id and client_id are sent, and the server keeps the first."""
    with recording(json_answer({"prompt_id": "p-1", "number": 0, "node_errors": {}})) as recorder:
        client = ComfyUIClient(base_url=recorder.url, workflow=flux_workflow(), timeouts=FAST)
        client._is_checked = True
        with closing(client):
            assert submitted(client) == "p-1"
    (sent,) = (one["json"] for one in recorder.requests)
    assert sent["prompt_id"] == sent["client_id"]
    assert sent["prompt"]["25"]["inputs"]["noise_seed"] == 51515151
    assert "authorization" not in recorder.requests[0]["headers"], "no token, no header"


def test_a_waiting_job_is_queued_and_a_started_one_runs(opened: Opened) -> None:
    """The server runs one prompt at a time."""
    with running(SimulatorOptions(latency=3)) as url:
        client = opened(comfyui_at(url))
        first, second = submitted(client), submitted(client, seed=2)
        until(lambda: client.poll(first, client.endpoint).state is JobState.RUNNING, seconds=5)
        assert client.poll(second, client.endpoint).state is JobState.QUEUED
        assert client.health() == {"running": 1, "pending": 1}


def test_a_refused_graph_is_one_sentence_for_each_node(
    comfyui: ComfyUIClient, simulator: Simulator, opened: Opened
) -> None:
    """The sentence names the node by id, class and title, the input, and the server's choices."""
    client = opened(
        comfyui_at(simulator.url, workflow=edited_workflow("12", unet_name="mine.safetensors"))
    )
    client._is_checked = True  # a model that was removed after the check
    with pytest.raises(RequestRefusedError) as raised:
        submitted(client)
    assert str(raised.value) == (
        'ComfyUI refuses the graph. Node 12 (UNETLoader "Load FLUX Dev fp8"): its unet_name '
        "'mine.safetensors' is not on the server, which has flux1-dev-fp8.safetensors, "
        "flux1-schnell.safetensors."
    )
    assert simulator.billed("comfyui") == 0


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (
            {"type": "required_input_missing", "extra_info": {"input_name": "clip"}},
            "its input clip is missing.",
        ),
        (
            {
                "type": "value_smaller_than_min",
                "message": "Value 0 smaller than min of 1",
                "extra_info": {"input_name": "steps", "received_value": 0},
            },
            "its input steps is 0: Value 0 smaller than min of 1.",
        ),
        ({"type": "custom", "message": "Odd.", "details": "very"}, "Odd: very."),
        ({}, "it is refused."),
        (
            {"type": "value_not_in_list", "extra_info": {"input_name": "x", "received_value": 1}},
            "its x '1' is not on the server.",
        ),
        (
            {
                "type": "value_not_in_list",
                "extra_info": {"input_name": "x", "received_value": 1, "input_config": [[], {}]},
            },
            "its x '1' is not on the server, which has none.",
        ),
    ],
)
def test_every_kind_of_node_error_is_readable(errors: dict[str, Any], message: str) -> None:
    """An error is a clause that names the input, or the server's own words."""
    body = {"node_errors": {"7": {"errors": [errors], "class_type": "BasicScheduler"}}}
    assert refusal_sentence(body, {}) == (
        f"ComfyUI refuses the graph. Node 7 (BasicScheduler): {message}"
    )


@pytest.mark.parametrize("node_errors", [[], {}, None, {"7": "?"}, {"7": {"errors": ["?"]}}])
def test_an_error_without_nodes_is_said_as_it_is(node_errors: object) -> None:
    """The server's message and details stand for a graph that it could not even check."""
    error = {"message": "Cannot execute because node X does not exist.", "details": "Node ID '#3'"}
    body = {"error": error, "node_errors": node_errors}
    assert refusal_sentence(body, {}) == (
        "ComfyUI refuses the graph. Cannot execute because node X does not exist: Node ID '#3'."
    )
    assert "no reason given" in refusal_sentence({"node_errors": node_errors}, {})


def test_a_missing_model_is_named_before_anything_is_sent(
    simulator: Simulator, opened: Opened
) -> None:
    """The error names the file, the node, the model, and the models that the server has."""
    workflow = edited_workflow("12", unet_name="mine.safetensors")
    client = opened(comfyui_at(simulator.url, workflow=workflow))
    with pytest.raises(WorkflowError, match=r"edited.json .*mine.safetensors.* which has flux1"):
        submitted(client)
    assert "POST /comfyui/prompt" not in requests_of(simulator)


def test_the_server_is_checked_once(comfyui: ComfyUIClient, simulator: Simulator) -> None:
    """One request for each node class, however many images are made."""
    for seed in range(3):
        submitted(comfyui, seed=seed)
    assert requests_of(simulator)["GET /comfyui/object_info/{name}"] == 14


def test_a_missing_node_class_is_named(opened: Opened) -> None:
    """A custom node that is not installed is found before anything is sent."""
    with recording(json_answer({})) as recorder:
        client = opened(
            ComfyUIClient(base_url=recorder.url, workflow=flux_workflow(), timeouts=FAST)
        )
        with pytest.raises(WorkflowError, match="the server has no node of this class") as raised:
            submitted(client)
    assert 'Node 12 (UNETLoader "Load FLUX Dev fp8")' in str(raised.value)
    assert all(one["path"].startswith("/object_info/") for one in recorder.requests)


@pytest.mark.parametrize(
    ("definition", "choices"),
    [
        ([["a", "b"], {"tooltip": "t"}], ["a", "b"]),
        ([["a"]], ["a"]),
        (["COMBO", {"options": ["a"]}], ["a"]),
        (["COMBO", {"remote": {}}], None),
        (["INT", {"min": 0}], None),
        ([["a"], {"image_upload": True}], None),
        (None, None),
        ([], None),
    ],
)
def test_the_choices_of_an_input(definition: object, choices: list[str] | None) -> None:
    """Both ways in which servers list them; an input that takes uploads has no fixed list."""
    assert choices_of(definition) == choices


def test_a_waiting_prompt_is_deleted(opened: Opened) -> None:
    """Cancelling a prompt that waits leaves the one that runs alone."""
    with running(SimulatorOptions(latency=2)) as url:
        client = opened(comfyui_at(url))
        first, second = submitted(client), submitted(client, seed=2)
        until(lambda: client.poll(first, client.endpoint).state is JobState.RUNNING, seconds=5)
        client.cancel(second, client.endpoint)
        with pytest.raises(JobLostError):
            client.poll(second, client.endpoint)
        counts = requests.get(f"{url}/_sim/stats", timeout=5).json()
        assert "POST /comfyui/interrupt" not in counts["requests"]
        assert completed(client, first).images


def test_a_running_prompt_is_interrupted(opened: Opened) -> None:
    """The interrupt names the prompt, and the job has failed then."""
    with running(SimulatorOptions(latency=30)) as url:
        client = opened(comfyui_at(url))
        job_id = submitted(client)
        until(lambda: client.poll(job_id, client.endpoint).state is JobState.RUNNING, seconds=5)
        client.cancel(job_id, client.endpoint)
        with pytest.raises(JobFailedError, match="it was interrupted"):
            client.poll(job_id, client.endpoint)


def test_an_ended_job_is_not_interrupted(comfyui: ComfyUIClient, simulator: Simulator) -> None:
    """Cancelling an ended prompt does not interrupt another one."""
    job_id = submitted(comfyui)
    completed(comfyui, job_id)
    comfyui.cancel(job_id, comfyui.endpoint)
    assert "POST /comfyui/interrupt" not in requests_of(simulator)


def test_a_restart_loses_the_queue(opened: Opened) -> None:
    """A prompt in neither queue nor history is lost, and the error says so."""
    with running(SimulatorOptions(latency=30)) as url:
        client = opened(comfyui_at(url))
        job_id = submitted(client)
        requests.post(f"{url}/_sim/comfyui/restart", timeout=5).raise_for_status()
        with pytest.raises(JobLostError, match="the server has restarted") as raised:
            client.poll(job_id, client.endpoint)
    assert raised.value.job_id == job_id


def test_a_file_that_is_gone_is_lost(comfyui: ComfyUIClient, simulator: Simulator) -> None:
    """The history names a file that the server no longer has."""
    job_id = submitted(comfyui)
    completed(comfyui, job_id)
    simulator.fault(provider="comfyui", operation="view", fault="status", status=404)
    with pytest.raises(JobLostError, match="has no file"):
        comfyui.poll(job_id, comfyui.endpoint)
    simulator.fault(provider="comfyui", operation="view", fault="status", status=500)
    with pytest.raises(ProviderBusyError, match="status 500"):
        comfyui.poll(job_id, comfyui.endpoint)
    assert comfyui.poll(job_id, comfyui.endpoint).images


def test_a_failed_job_says_which_node_failed(comfyui: ComfyUIClient, simulator: Simulator) -> None:
    """The execution error's message stands in the sentence."""
    simulator.fault(
        provider="comfyui", operation="submit", fault="job_failed", error="CUDA out of memory"
    )
    job_id = submitted(comfyui)
    with pytest.raises(JobFailedError, match="CUDA out of memory") as raised:
        completed(comfyui, job_id)
    assert "Node 13 (SamplerCustomAdvanced)" in str(raised.value)
    assert raised.value.run_seconds is not None


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "reset_after_work"},
        {"fault": "html_200", "work": True},
        {"fault": "broken_json", "work": True},
        {"fault": "status", "status": 502, "work": True},
        {"fault": "status", "status": 500, "work": True},
    ],
)
@pytest.mark.parametrize("own_ids", [True, False])
def test_a_job_is_found_after_an_ambiguous_answer(
    fault: dict[str, Any], own_ids: bool, opened: Opened
) -> None:
    """The server is asked whether it has the prompt, by our id or by the client's."""
    with running(SimulatorOptions(latency=2, comfyui_own_ids=own_ids)) as url:
        client = opened(comfyui_at(url))
        posted = {"provider": "comfyui", "operation": "submit", **fault}
        requests.post(f"{url}/_sim/faults", json=posted, timeout=5).raise_for_status()
        job_id = submitted(client)
        assert completed(client, job_id).images
        assert requests.get(f"{url}/_sim/stats", timeout=5).json()["comfyui"]["billed"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "reset_before"},
        {"fault": "html_200"},
        {"fault": "status", "status": 504},
        {"fault": "status", "status": 200, "body": {"prompt_id": None}},
    ],
)
def test_a_job_that_is_not_found_stays_unknown(
    fault: dict[str, Any], comfyui: ComfyUIClient, simulator: Simulator
) -> None:
    """The request may still be on its way, so nothing says that it was not accepted."""
    simulator.fault(provider="comfyui", operation="submit", **fault)
    with pytest.raises(OutcomeUnknownError):
        submitted(comfyui)


def test_a_time_out_is_unknown_too(simulator: Simulator, opened: Opened) -> None:
    """No answer in time, and a server that does not answer the question either."""
    client = opened(comfyui_at(simulator.url, timeouts=HURRIED))
    client._is_checked = True
    simulator.fault(provider="comfyui", operation="submit", fault="hang", seconds=5)
    simulator.fault(provider="comfyui", operation="queue", fault="hang", seconds=5)
    with pytest.raises(OutcomeUnknownError):
        submitted(client)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (401, AccountRefusedError, "COMFYUI_API_TOKEN"),
        (403, AccountRefusedError, "COMFYUI_API_TOKEN"),
        (404, AccountRefusedError, "COMFYUI_BASE_URL"),
        (413, RequestRefusedError, ""),
        (302, RedirectedError, "COMFYUI_BASE_URL"),
    ],
)
def test_refusals_of_a_submit(
    status: int, kind: type[Exception], message: str, comfyui: ComfyUIClient, simulator: Simulator
) -> None:
    """Each has its type, and a remedy that names the setting."""
    simulator.fault(provider="comfyui", operation="submit", fault="status", status=status)
    with pytest.raises(kind) as raised:
        submitted(comfyui)
    assert message in str(getattr(raised.value, "remedy", ""))


def test_a_server_that_does_not_run_was_sent_nothing(opened: Opened) -> None:
    """Without a connection nothing is billed and nothing unknown."""
    client = opened(comfyui_at(f"http://127.0.0.1:{closed_port()}"))
    with pytest.raises(UnreachableError):
        submitted(client)


def test_the_token_is_sent_to_its_own_server_only(opened: Opened) -> None:
    """A job of another server is asked for without the token, and a redirect is not followed."""
    with recording(json_answer({})) as elsewhere, recording(_redirect(elsewhere.url)) as own:
        client = opened(
            ComfyUIClient(
                base_url=own.url, api_token=TOKEN, workflow=flux_workflow(), timeouts=FAST
            )
        )
        with pytest.raises(RedirectedError):
            submitted(client)
        assert elsewhere.requests == []
        with pytest.raises(JobLostError):
            client.poll("some-id", elsewhere.url)
    assert own.requests[0]["headers"]["authorization"] == f"Bearer {TOKEN}"
    assert elsewhere.requests
    assert all("authorization" not in one["headers"] for one in elsewhere.requests)


def _redirect(url: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", f"{url}/object_info/X")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_no_text_shows_the_token(simulator: Simulator, opened: Opened) -> None:
    """Neither the client's repr nor an error in which the server repeats it."""
    client = opened(comfyui_at(simulator.url))
    assert TOKEN not in repr(client)
    simulator.fault(
        provider="comfyui", operation="submit", fault="status", status=401, body=f"bad {TOKEN}"
    )
    with pytest.raises(AccountRefusedError) as raised:
        submitted(client)
    assert TOKEN not in str(raised.value)
    assert "bad ***" in str(raised.value)


def test_a_job_that_ends_between_two_reads_is_not_lost(opened: Opened) -> None:
    """History, queue, history: a prompt that has left the queue meanwhile is in the history."""
    image = {"filename": "a.png", "subfolder": "", "type": "output"}
    ended = {"p-1": {"outputs": {"9": {"images": [image]}}, "status": {"status_str": "success"}}}
    bodies: Iterator[object] = iter([{}, {"queue_running": [], "queue_pending": []}, ended, {}])

    def answer(handler: BaseHTTPRequestHandler) -> None:
        json_answer(next(bodies))(handler)

    with recording(answer) as recorder:
        client = opened(
            ComfyUIClient(base_url=recorder.url, workflow=flux_workflow(), timeouts=FAST)
        )
        assert client.poll("p-1", client.endpoint).state is JobState.COMPLETED
    assert recorder.requests[-1]["path"] == "/view?filename=a.png&subfolder=&type=output"


def test_saved_files_go_before_previews() -> None:
    """Previews count only where nothing is saved, and no more than sixteen are kept."""
    saved = {"filename": "a.png", "subfolder": "s", "type": "output"}
    preview = {"filename": "b.png", "type": "temp"}
    files, _ = image_files({"outputs": {"1": {"images": [preview]}, "9": {"images": [saved]}}})
    assert [file.filename for file in files] == ["a.png"]
    files, _ = image_files({"outputs": {"1": {"images": [preview, "?", {}]}}})
    assert [file.filename for file in files] == ["b.png"]
    files, warnings = image_files({"outputs": {"9": {"images": [saved] * 20}}})
    assert len(files) == 16
    assert "20 images" in warnings[0]
    assert image_files({"outputs": [1]}) == ((), ())


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (None, None),
        ({"status_str": "success", "completed": True, "messages": []}, None),
        ({"status_str": "error", "completed": False, "messages": "?"}, "no reason given"),
        ({"completed": False}, "no reason given"),
    ],
)
def test_the_reason_of_a_failure(status: object, reason: str | None) -> None:
    """An older server gives no status: its outputs say that it succeeded."""
    assert failure_reason({"status": status}) == reason


@pytest.mark.parametrize(
    ("times", "seconds"), [((1000, 4500), 3.5), ((None, 2), None), (("a", 2), None), ((9, 1), None)]
)
def test_the_seconds_of_a_run(times: tuple[Any, Any], seconds: float | None) -> None:
    """From the messages' times in milliseconds; None for what is no duration."""
    start, end = times
    messages = [
        ["execution_start", {"timestamp": start}],
        ["execution_success", {"timestamp": end}],
    ]
    assert run_seconds({"status": {"messages": messages}}) == seconds


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("ab\n", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5))
def test_no_answer_breaks_the_parsing(body: dict[str, Any]) -> None:
    """Whatever JSON a server sends, each function gives its result and raises nothing."""
    graph = {"7": {"class_type": "X", "inputs": {"errors": "a", "outputs": ["6", 0]}}}
    assert refusal_sentence(body, graph).startswith("ComfyUI refuses the graph. ")
    assert len(missing_in_server(graph, body | {"X": body})) <= 1
    assert queue_state(body, "p-1") in (None, JobState.RUNNING, JobState.QUEUED)
    reason, seconds = failure_reason(body), run_seconds(body)
    assert reason is None or "\n" not in reason
    assert seconds is None or seconds >= 0
    files, _ = image_files(body)
    assert all(file.filename for file in files)
