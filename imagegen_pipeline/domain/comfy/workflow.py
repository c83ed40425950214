"""ComfyUI workflows: a graph from a file, with the values of one request. Pure.

The bindings of a graph are found when it is read, so that a file that cannot be bound is refused
before anything is sent.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from imagegen_pipeline.domain.comfy.bindings import Bindings, find_bindings
from imagegen_pipeline.domain.comfy.graph import Graph, read_graph
from imagegen_pipeline.domain.comfy.limits import (
    LARGEST_SEED,
    LARGEST_SIDE,
    MOST_GUIDANCE,
    MOST_STEPS,
    SIZE_STEP,
    SMALLEST_SIDE,
)
from imagegen_pipeline.domain.errors import RequestRefusedError
from imagegen_pipeline.domain.image.decode import LARGEST_PIXELS

_SET_BY_EVERY_REQUEST = (
    "prompt",
    "width",
    "height",
    "steps",
    "seed",
    "batch_size",
    "filename_prefix",
)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A graph that can be bound.

    ``digest`` is the SHA-256 of the graph without titles and without the values that every request
    sets (prompt, size, steps, seed, file name), so that exporting the same graph again makes no
    image stale. ``guidance``, ``sampler``, ``scheduler`` and ``unet`` are the file's values, None
    where it has no plain one.
    """

    name: str
    digest: str
    slots: Bindings
    guidance: float | None
    sampler: str | None
    scheduler: str | None
    unet: str | None
    graph_json: str = field(repr=False)

    def bind(
        self,
        *,
        prompt: str,
        width: int,
        height: int,
        steps: int,
        seed: int,
        guidance: float | None = None,
        negative_prompt: str = "",
        filename_prefix: str | None = None,
    ) -> dict[str, Any]:
        """A new graph with the values, ready to be sent, for one image (``batch_size`` 1).

        ``guidance`` None, ``negative_prompt`` empty and ``filename_prefix`` None keep the file's
        values; a graph without a guidance node (``guidance`` is None) takes none. ``seed`` is
        resolved: -1 is refused, as the server refuses it.
        Raises RequestRefusedError for a value that the server, or this graph, does not take.
        """
        check_size(width, height)
        _check_range("steps", steps, 1, MOST_STEPS)
        _check_range("seed", seed, 0, LARGEST_SEED)
        values: dict[str, str | int | float] = {
            "prompt": prompt,
            "width": width,
            "height": height,
            "steps": steps,
            "seed": seed,
            "batch_size": 1,
        }
        if guidance is not None:
            _check_range("guidance", guidance, 0, MOST_GUIDANCE)
            values["guidance"] = guidance
        if negative_prompt.strip():
            if not self.slots.negative_prompt:
                raise RequestRefusedError(
                    f"{self.name} has no node that takes a negative prompt.",
                    remedy="Leave the negative prompt out, or swap in a graph that has one.",
                )
            values["negative_prompt"] = negative_prompt
        if filename_prefix is not None:
            values["filename_prefix"] = filename_prefix
        nodes: dict[str, Any] = json.loads(self.graph_json)
        slots = self.slots.by_value()
        for value_name, value in values.items():
            for node, input_name in slots[value_name]:
                nodes[node]["inputs"][input_name] = value
        return nodes

    def describe(self) -> dict[str, tuple[str, ...]]:
        """Each value with the nodes and inputs that it is bound to, as text."""
        graph = Graph(self.name, json.loads(self.graph_json))
        return {
            value_name: tuple(f"{graph.label(node)}: {name}" for node, name in slots)
            for value_name, slots in self.slots.by_value().items()
        }


def check_size(width: int, height: int) -> None:
    """Raises RequestRefusedError for a size (pixels) that ComfyUI refuses or rounds down.

    The server accepts a width of 1001 and makes a smaller image; the error names the nearest
    sizes that are made as requested.
    """
    sides = {"width": width, "height": height}
    wrong = [f"{name} {side}" for name, side in sides.items() if side not in _nearest(side)]
    if wrong:
        nearest = dict.fromkeys(
            f"{w}x{h}" for w, h in zip(_nearest(width), _nearest(height), strict=True)
        )
        raise RequestRefusedError(
            f"{width}x{height} cannot be drawn: {' and '.join(wrong)} must be a multiple of "
            f"{SIZE_STEP} within {SMALLEST_SIDE}-{LARGEST_SIDE}.",
            remedy=f"The nearest sizes that can: {' or '.join(nearest)}.",
        )
    _check_pixels(width, height)


def _check_pixels(width: int, height: int) -> None:
    if width * height > LARGEST_PIXELS:
        raise RequestRefusedError(
            f"{width}x{height} has more pixels than the {LARGEST_PIXELS:,} that an image may have: "
            "it would be paid for and refused.",
            remedy="Request a smaller size.",
        )


def _nearest(side: int) -> tuple[int, int]:
    """The valid sides just below and just above; both are ``side`` if that is valid."""
    below = side // SIZE_STEP * SIZE_STEP
    above = -(-side // SIZE_STEP) * SIZE_STEP
    return _within(below), _within(above)


def _within(side: int) -> int:
    return min(max(side, SMALLEST_SIDE), LARGEST_SIDE)


def _check_range(name: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        raise RequestRefusedError(
            f"{name} {value} is outside {least}-{most}, which is what ComfyUI takes.",
            remedy=f"Give a {name} within {least}-{most}.",
        )


def parse_workflow(text: str | bytes, *, name: str) -> Workflow:
    """The graph in ``text``, ready to be bound; ``name`` is the file's name in messages.

    Takes the API format, bare or wrapped as ``{"workflow": ...}``, ``{"prompt": ...}`` or
    ``{"input": {"workflow": ...}}``. Raises WorkflowError, which names the file and the node,
    for a value of every request that cannot be bound.
    """
    graph = read_graph(text, name)
    sampler, slots = find_bindings(graph)
    guidance = graph.value(slots.guidance[0]) if slots.guidance else None
    return Workflow(
        name=name,
        digest=_digest(graph, slots),
        slots=slots,
        guidance=float(guidance) if isinstance(guidance, int | float) else None,
        sampler=_first_text(graph, sampler, "sampler_name"),
        scheduler=_first_text(graph, sampler, "scheduler"),
        unet=_first_text(graph, sampler, "unet_name", "ckpt_name"),
        graph_json=json.dumps(graph.nodes),
    )


def _first_text(graph: Graph, sampler: str, *names: str) -> str | None:
    for node in graph.upstream(sampler):
        for name in names:
            value = graph.inputs(node).get(name)
            if isinstance(value, str):
                return value
    return None


def _digest(graph: Graph, slots: Bindings) -> str:
    decided = {
        node: {"class_type": body["class_type"], "inputs": dict(body["inputs"])}
        for node, body in graph.nodes.items()
    }
    by_value = slots.by_value()
    for value_name in _SET_BY_EVERY_REQUEST:
        for node, input_name in by_value[value_name]:
            decided[node]["inputs"][input_name] = None
    canonical = json.dumps(decided, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
