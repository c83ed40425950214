"""A ComfyUI graph: its nodes, its links, and errors that name both. Pure."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from imagegen_pipeline.domain.errors import WorkflowError

EXPORT_AGAIN = 'Export the graph again with ComfyUI\'s menu "Export (API)".'
_WRAPPERS = ("prompt", "workflow", "input")

Slot = tuple[str, str]
"""The input that holds a value: a node's id and the input's name."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The nodes of one file by id; every link leads to one of them."""

    file: str
    nodes: dict[str, Any]

    def kind(self, node: str) -> str:
        """The node's ``class_type``."""
        return str(self.nodes[node]["class_type"])

    def title(self, node: str) -> str:
        """The node's title in ComfyUI, empty where the file has none."""
        return _title(self.nodes[node])

    def label(self, node: str) -> str:
        """The node's name in messages: id, class and title."""
        return _label(node, self.nodes[node])

    def inputs(self, node: str) -> dict[str, Any]:
        """The node's inputs: plain values and links."""
        inputs: dict[str, Any] = self.nodes[node]["inputs"]
        return inputs

    def error(self, message: str, remedy: str = EXPORT_AGAIN) -> WorkflowError:
        """An error that names this file."""
        return WorkflowError(f"{self.file}: {message}", remedy=remedy)

    def links(self, node: str) -> dict[str, str]:
        """The node's linked inputs, each with the node that feeds it."""
        return {name: value[0] for name, value in self.inputs(node).items() if _is_link(value)}

    def upstream(self, node: str) -> Iterator[str]:
        """The node and all that feed it, nearest first."""
        seen, waiting = {node}, deque([node])
        while waiting:
            reached = waiting.popleft()
            yield reached
            for source in self.links(reached).values():
                if source not in seen:
                    seen.add(source)
                    waiting.append(source)

    def nearest(
        self, start: str, *, along: Iterable[str], having: Collection[str], not_past: str = ""
    ) -> list[str]:
        """The first nodes up each path from ``start`` that have an input or class in ``having``.

        A path continues through the inputs whose names begin with one of ``along``, else through a
        node's only link. It ends without a result at a node of class ``not_past``.
        """
        prefixes, found = tuple(along), []
        seen, waiting = {start}, deque([start])
        while waiting:
            node = waiting.popleft()
            if self.kind(node) == not_past:
                continue
            if self.kind(node) in having or not self.inputs(node).keys().isdisjoint(having):
                found.append(node)
                continue
            links = self.links(node)
            ways = [source for name, source in links.items() if name.startswith(prefixes)]
            if not ways and len(links) == 1:
                ways = list(links.values())
            for source in ways:
                if source not in seen:
                    seen.add(source)
                    waiting.append(source)
        return found

    def slot(self, node: str, name: str, types: tuple[type, ...]) -> Slot:
        """The slot of an input's plain value: in the node, or in the one that it is linked to.

        Raises WorkflowError for an input that is missing or computed from other values.
        """
        slot, seen = (node, name), {node}
        while (source := self.links(slot[0]).get(slot[1])) is not None:
            inputs = self.inputs(source)
            is_primitive = self.kind(source).startswith("Primitive") and "value" in inputs
            if source in seen or not (is_primitive or len(inputs) == 1):
                raise self._not_plain(node, name, source)
            seen.add(source)
            slot = (source, "value" if is_primitive else next(iter(inputs)))
        value = self.inputs(slot[0]).get(slot[1])
        if slot[0] == node and not isinstance(value, str | int | float):
            raise self.error(f'{self.label(node)} has no value for its input "{name}".')
        if slot[0] != node and not isinstance(value, types):
            raise self._not_plain(node, name, slot[0])
        return slot

    def _not_plain(self, node: str, name: str, source: str) -> WorkflowError:
        return self.error(
            f'{self.label(node)} takes its input "{name}" from {self.label(source)}, '
            "which does not hold one plain value that could be set.",
            f'Type a value into "{name}", or link it to a Primitive node, and export again.',
        )

    def value(self, slot: Slot) -> Any:  # noqa: ANN401 - a graph holds any JSON
        """The file's value in that slot."""
        return self.inputs(slot[0]).get(slot[1])


def read_graph(text: str | bytes, file: str) -> Graph:
    """The graph in API format, bare or wrapped; raises WorkflowError for another format."""
    nodes = _unwrap(_read_object(text, file), file)
    if not nodes:
        raise WorkflowError(f"{file}: the graph has no nodes.", remedy=EXPORT_AGAIN)
    for node, body in nodes.items():
        if not isinstance(body, dict) or not isinstance(body.get("class_type"), str):
            raise WorkflowError(
                f"{file}: {_label(node, body)} has no class_type.", remedy=EXPORT_AGAIN
            )
        if not isinstance(body.get("inputs"), dict):
            raise WorkflowError(f"{file}: {_label(node, body)} has no inputs.", remedy=EXPORT_AGAIN)
    graph = Graph(file, nodes)
    for node in nodes:
        for name, source in graph.links(node).items():
            if source not in nodes:
                raise graph.error(
                    f'{graph.label(node)} takes its input "{name}" from node "{source}", '
                    "which is not in the file.",
                    'Connect or un-mute that node in ComfyUI, then use "Export (API)" again.',
                )
    return graph


def _read_object(text: str | bytes, file: str) -> dict[str, Any]:
    try:
        document = json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
        json.dumps(document, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise WorkflowError(f"{file}: not JSON: {error}.", remedy=EXPORT_AGAIN) from error
    if not isinstance(document, dict):
        raise WorkflowError(
            f"{file}: a workflow is a JSON object of nodes, and this is not an object.",
            remedy=EXPORT_AGAIN,
        )
    return document


def _unwrap(document: dict[str, Any], file: str) -> dict[str, Any]:
    if any(isinstance(body, dict) and "class_type" in body for body in document.values()):
        return document
    inner = [document[name] for name in _WRAPPERS if isinstance(document.get(name), dict)]
    if inner:
        return _unwrap(inner[0], file)
    if isinstance(document.get("nodes"), list):
        raise WorkflowError(
            f"{file}: this is ComfyUI's own saved format, with lists of nodes and links; "
            "a server takes the API format.",
            remedy='Open it in ComfyUI and use the menu "Export (API)".',
        )
    return document


def _is_link(value: object) -> bool:
    # ComfyUI's own rule: a list of a node's id, always a text, and the number of its output.
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def _title(body: object) -> str:
    meta = body.get("_meta") if isinstance(body, dict) else None
    title = meta.get("title") if isinstance(meta, dict) else None
    return title if isinstance(title, str) else ""


def _label(node: str, body: object) -> str:
    kind = body.get("class_type") if isinstance(body, dict) else None
    named = [str(kind)] if isinstance(kind, str) else []
    named += [f'"{_title(body)}"'] if _title(body) else []
    return f'node "{node}" ({", ".join(named)})' if named else f'node "{node}"'
