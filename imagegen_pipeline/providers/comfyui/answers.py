"""ComfyUI's answers in our terms: refusals, history entries, the queue, node definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imagegen_pipeline.providers.base import JobState
from imagegen_pipeline.providers.http.response_parsing import (
    MOST_PICTURES,
    read_seconds,
    short_line,
)

_MOST_SHOWN = 8
"""Choices of an input, and nodes of a refusal, that a sentence lists."""
_ENDS = ("execution_success", "execution_error", "execution_interrupted")


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that ``/view`` delivers."""

    filename: str
    subfolder: str
    type: str

    def as_params(self) -> dict[str, str]:
        """The query of ``/view``."""
        return {"filename": self.filename, "subfolder": self.subfolder, "type": self.type}


def refusal_sentence(body: Mapping[str, Any], graph: Mapping[str, Any]) -> str:
    """The sentences of a graph that ``/prompt`` refuses: one for each node that is at fault."""
    lines = list(_node_sentences(body.get("node_errors"), graph))
    if not lines:
        error = body.get("error")
        if isinstance(error, dict):
            parts = [_text(error.get("message")), _text(error.get("details"))]
            error = ": ".join(part.rstrip(".: ") for part in parts if part)
        lines = [f"{_text(error) or 'no reason given'}."]
    more = len(lines) - _MOST_SHOWN
    shown = [*lines[:_MOST_SHOWN], *([f"{more} more nodes are at fault."] if more > 0 else [])]
    return short_line(f"ComfyUI refuses the graph. {' '.join(shown)}")


def _node_sentences(node_errors: Any, graph: Mapping[str, Any]) -> Iterator[str]:  # noqa: ANN401
    if not isinstance(node_errors, dict):
        return
    for node, entry in node_errors.items():
        errors = entry.get("errors") if isinstance(entry, dict) else None
        faults = [_fault(one) for one in errors or () if isinstance(one, dict)]
        if faults:
            label = node_label(node, graph.get(node) or entry)
            yield f"{label}: {'; '.join(dict.fromkeys(faults))}."


def _fault(error: Mapping[str, Any]) -> str:
    extra = error.get("extra_info")
    info = extra if isinstance(extra, dict) else {}
    name, value = _text(info.get("input_name")), info.get("received_value")
    kind, message = error.get("type"), _text(error.get("message")).rstrip(".")
    if kind == "value_not_in_list" and name:
        return _not_among(name, value, choices_of(info.get("input_config")))
    if kind == "required_input_missing" and name:
        return f"its input {name} is missing"
    if name and message:
        given = "" if value is None else f" is {short_line(repr(value))[:100]}"
        return f"its input {name}{given}: {message}"
    details = _text(error.get("details")).rstrip(".")
    return ": ".join(part for part in (message, details) if part) or "it is refused"


def _not_among(name: str, value: object, choices: list[str] | None) -> str:
    sentence = f"its {name} {short_line(str(value))[:200]!r} is not on the server"
    if choices is None:
        return sentence
    if not choices:
        return f"{sentence}, which has none"
    more = f" and {len(choices) - _MOST_SHOWN} more" if len(choices) > _MOST_SHOWN else ""
    return f"{sentence}, which has {', '.join(choices[:_MOST_SHOWN])}{more}"


def choices_of(definition: Any) -> list[str] | None:  # noqa: ANN401 - any JSON value
    """The values that an input takes, from its definition in ``/object_info``; None for an input
    that has no list of them, or takes uploaded files too.
    """
    if not isinstance(definition, list) or not definition:
        return None
    options = definition[1] if len(definition) > 1 and isinstance(definition[1], dict) else {}
    if any(name.endswith("_upload") and value for name, value in options.items()):
        return None
    listed = definition[0] if definition[0] != "COMBO" else options.get("options")
    if not isinstance(listed, list):
        return None
    return [short_line(str(one)) for one in listed]


def missing_in_server(graph: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """A sentence for each node whose class the server lacks, or whose value is not among the
    choices of an input. ``known`` has the ``/object_info`` of each class, None for none.
    """
    problems = []
    for node, body in graph.items():
        info = known.get(body["class_type"])
        if not isinstance(info, dict):
            problems.append(f"{node_label(node, body)}: the server has no node of this class.")
            continue
        inputs = _inputs(info)
        faults = [
            _not_among(name, value, choices)
            for name, value in body["inputs"].items()
            if isinstance(value, str)
            and (choices := choices_of(inputs.get(name))) is not None
            and value not in choices
        ]
        if faults:
            problems.append(f"{node_label(node, body)}: {'; '.join(faults)}.")
    return problems


def _inputs(info: Mapping[str, Any]) -> dict[str, Any]:
    groups = info.get("input")
    found: dict[str, Any] = {}
    for group in ("required", "optional"):
        part = groups.get(group) if isinstance(groups, dict) else None
        found |= part if isinstance(part, dict) else {}
    return found


def node_label(node: str, body: Any) -> str:  # noqa: ANN401 - any JSON value
    """A node as sentences name it: id, class and title."""
    facts = body if isinstance(body, dict) else {}
    meta = facts.get("_meta")
    title = _text(meta.get("title")) if isinstance(meta, dict) else ""
    named = [_text(facts.get("class_type")), f'"{title}"' if title else ""]
    words = " ".join(part for part in named if part)
    return f"Node {node} ({words})" if words else f"Node {node}"


def queue_state(queue: Mapping[str, Any], job_id: str) -> JobState | None:
    """The state of a prompt in ``/queue``; None when it is not there."""
    for name, state in (("queue_running", JobState.RUNNING), ("queue_pending", JobState.QUEUED)):
        entries = queue.get(name)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, list) and len(entry) > 1 and entry[1] == job_id:
                return state
    return None


def failure_reason(entry: Mapping[str, Any]) -> str | None:
    """The reason for which a prompt of the history failed; None for one that did not."""
    status = entry.get("status")
    if not isinstance(status, dict) or status.get("status_str") == "success":
        return None
    if status.get("status_str") != "error" and status.get("completed") is not False:
        return None
    for name, facts in _messages(entry):
        if name == "execution_interrupted":
            return "it was interrupted"
        if name == "execution_error":
            node = node_label(_text(facts.get("node_id")), {"class_type": facts.get("node_type")})
            kind = _text(facts.get("exception_type"))
            message = _text(facts.get("exception_message")).rstrip(".")
            return short_line(f"{node}: {message or kind or 'no reason given'}")
    return "no reason given"


def run_seconds(entry: Mapping[str, Any]) -> float | None:
    """The seconds between the start and the end of a prompt, if its messages have the times."""
    times: dict[str, Any] = {name: facts.get("timestamp") for name, facts in _messages(entry)}
    start = times.get("execution_start")
    end = next((times[name] for name in _ENDS if times.get(name) is not None), None)
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        return None
    return read_seconds(end - start, parts=1000)


def image_files(entry: Mapping[str, Any]) -> tuple[tuple[ImageFile, ...], tuple[str, ...]]:
    """The saved files of a prompt (its previews when none is saved), and a warning of too many."""
    outputs = entry.get("outputs")
    found = []
    for output in outputs.values() if isinstance(outputs, dict) else ():
        images = output.get("images") if isinstance(output, dict) else None
        for image in images if isinstance(images, list) else ():
            name = image.get("filename") if isinstance(image, dict) else None
            if isinstance(name, str) and name:
                kind = _text(image.get("type")) or "output"
                found.append(ImageFile(name, _text(image.get("subfolder")), kind))
    saved = [file for file in found if file.type == "output"] or found
    if len(saved) <= MOST_PICTURES:
        return tuple(saved), ()
    warning = (
        f"ComfyUI saved {len(saved):,} images where one was asked for: the first "
        f"{MOST_PICTURES} are kept, the others are not."
    )
    return tuple(saved[:MOST_PICTURES]), (warning,)


def _messages(entry: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    status = entry.get("status")
    messages = status.get("messages") if isinstance(status, dict) else None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, list) and len(message) > 1 and isinstance(message[1], dict):
            yield str(message[0]), message[1]


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return short_line(value) if isinstance(value, str) else ""
