"""The nodes of a ComfyUI graph that take the prompt, the size, the steps and the seed. Pure.

They are found by the links from the saving node to the sampler, and from the sampler to its
inputs. Node numbers have no meaning, and titles decide only where links do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from imagegen_pipeline.domain.comfy.graph import Graph, Slot
from imagegen_pipeline.domain.errors import WorkflowError

_SAMPLERS = {"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"}
_TEXT_INPUTS = {
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl"),
    "CLIPTextEncodeSD3": ("clip_l", "clip_g", "t5xxl"),
    "CLIPTextEncodeSDXL": ("text_g", "text_l"),
}
_GUIDANCE = ("FluxGuidance", "CLIPTextEncodeFlux")
_SIZED = ("ModelSamplingFlux", "Flux2Scheduler")
_NUMBER, _TEXT = (int, float), (str,)


@dataclass(frozen=True, slots=True)
class Bindings:
    """Every input that ``Workflow.bind`` sets, by the value's name."""

    prompt: tuple[Slot, ...]
    negative_prompt: tuple[Slot, ...]
    width: tuple[Slot, ...]
    height: tuple[Slot, ...]
    steps: tuple[Slot, ...]
    seed: tuple[Slot, ...]
    guidance: tuple[Slot, ...]
    batch_size: tuple[Slot, ...]
    filename_prefix: tuple[Slot, ...]

    def by_value(self) -> dict[str, tuple[Slot, ...]]:
        """The same as a dictionary, by the values' names."""
        return {value.name: getattr(self, value.name) for value in fields(self)}


def find_bindings(graph: Graph) -> tuple[str, Bindings]:
    """The sampler's id and the bindings; raises WorkflowError for an ambiguous graph."""
    outputs = _outputs(graph)
    sampler = _sampler(graph, outputs)
    slots = _slots(graph, sampler, outputs)
    _check_distinct(graph, slots)
    return sampler, slots


def _outputs(graph: Graph) -> list[str]:
    outputs = [node for node in graph.nodes if graph.kind(node).startswith("SaveImage")]
    if not outputs:
        raise graph.error(
            "no node saves an image.",
            "Put a Save Image node behind the VAE Decode (a Preview Image is not returned by a "
            "server), then export again.",
        )
    return outputs


def _sampler(graph: Graph, outputs: list[str]) -> str:
    reached = dict.fromkeys(node for output in outputs for node in graph.upstream(output))
    found = [node for node in reached if graph.kind(node) in _SAMPLERS]
    if len(found) == 1:
        return found[0]
    behind = ", ".join(graph.label(output) for output in outputs)
    if found:
        raise graph.error(
            f"more than one sampler leads to {behind}: {_labels(graph, found)}.",
            "Use a graph with one sampler, so that it is clear whose steps and seed are meant.",
        )
    raise graph.error(
        f"no sampler leads to {behind}.",
        f"Connect one of {', '.join(sorted(_SAMPLERS))}, then export again.",
    )


def _slots(graph: Graph, sampler: str, outputs: list[str]) -> Bindings:
    latent = _latent(graph, sampler)
    sized = [latent, *(node for node in graph.upstream(sampler) if graph.kind(node) in _SIZED)]
    negatives = _text_nodes(graph, sampler, "negative")
    prompt_node = _prompt_node(graph, sampler, negatives)
    prompt = _unique(
        graph.slot(prompt_node, name, _TEXT) for name in _text_inputs(graph, prompt_node)
    )
    negative: tuple[Slot, ...] = ()
    if len(negatives) == 1:
        negative = _optional(graph, negatives, _text_inputs(graph, negatives[0]), _TEXT)
    guided = _conditioning(graph, sampler, "positive", having=_GUIDANCE)
    batch = ["batch_size"] if "batch_size" in graph.inputs(latent) else []
    noise = _feeding(graph, sampler, "noise", having=("noise_seed", "seed"), value="seed")
    seed_input = "seed" if "seed" in graph.inputs(noise) else "noise_seed"
    schedule = _feeding(graph, sampler, "sigmas", having=("steps",), value="number of steps")
    return Bindings(
        prompt=prompt,
        negative_prompt=() if set(negative) & set(prompt) else negative,
        width=_unique(graph.slot(node, "width", _NUMBER) for node in sized),
        height=_unique(graph.slot(node, "height", _NUMBER) for node in sized),
        steps=(graph.slot(schedule, "steps", _NUMBER),),
        seed=(graph.slot(noise, seed_input, _NUMBER),),
        guidance=_optional(graph, guided, ("guidance",), _NUMBER),
        batch_size=tuple(graph.slot(latent, name, _NUMBER) for name in batch),
        filename_prefix=_optional(graph, outputs, ("filename_prefix",), _TEXT),
    )


def _latent(graph: Graph, sampler: str) -> str:
    found = graph.nearest(sampler, along=("latent", "samples"), having=("width",))
    if len(found) == 1:
        return found[0]
    raise graph.error(
        f"no node gives {graph.label(sampler)} a latent of a width and a height.",
        'Connect an Empty Latent Image to its input "latent_image", then export again.',
    )


def _feeding(graph: Graph, sampler: str, along: str, *, having: tuple[str, ...], value: str) -> str:
    found = graph.nearest(sampler, along=(along,), having=having)
    if len(found) == 1:
        return found[0]
    raise graph.error(
        f'no node behind {graph.label(sampler)}, input "{along}", takes a {value}.',
        "Connect ComfyUI's own node (RandomNoise, BasicScheduler) there, then export again.",
    )


def _prompt_node(graph: Graph, sampler: str, negatives: list[str]) -> str:
    candidates = _text_nodes(graph, sampler, "positive") or [
        node
        for node in graph.upstream(sampler)
        if graph.kind(node) in _TEXT_INPUTS and node not in negatives
    ]
    if not candidates:
        raise graph.error(
            f"no text node feeds {graph.label(sampler)}.",
            f"Connect one of {', '.join(_TEXT_INPUTS)}, then export again.",
        )
    titles = {node: graph.title(node).lower() for node in candidates}
    for choice in (
        candidates,
        [node for node in candidates if "positive" in titles[node]],
        [node for node in candidates if "negative" not in titles[node]],
    ):
        if len(choice) == 1:
            return choice[0]
    raise graph.error(
        f"which of these takes the prompt is not clear: {_labels(graph, candidates)}.",
        'Put "positive" in the title of the one that does, then export again.',
    )


def _text_nodes(graph: Graph, sampler: str, role: str) -> list[str]:
    return _conditioning(graph, sampler, role, having=tuple(_TEXT_INPUTS))


def _conditioning(graph: Graph, sampler: str, role: str, *, having: tuple[str, ...]) -> list[str]:
    guided = graph.links(sampler).get("guider", sampler)
    along = ("conditioning", role)
    return graph.nearest(guided, along=along, having=having, not_past="ConditioningZeroOut")


def _text_inputs(graph: Graph, node: str) -> tuple[str, ...]:
    return _TEXT_INPUTS[graph.kind(node)]


def _optional(
    graph: Graph, nodes: list[str], names: tuple[str, ...], types: tuple[type, ...]
) -> tuple[Slot, ...]:
    inputs = [(node, name) for node in nodes for name in names if name in graph.inputs(node)]
    try:
        return _unique(graph.slot(node, name, types) for node, name in inputs)
    except WorkflowError:
        # This value is optional, so a graph may compute it.
        return ()


def _unique(slots: Iterable[Slot]) -> tuple[Slot, ...]:
    return tuple(dict.fromkeys(slots))


def _check_distinct(graph: Graph, slots: Bindings) -> None:
    taken: dict[Slot, str] = {}
    for value_name, bound in slots.by_value().items():
        for slot in bound:
            other = taken.setdefault(slot, value_name)
            if other != value_name:
                raise graph.error(
                    f"{graph.label(slot[0])} gives both {other} and {value_name}.",
                    "Give each a node or a value of its own, then export again.",
                )


def _labels(graph: Graph, nodes: list[str]) -> str:
    return ", ".join(graph.label(node) for node in nodes)
