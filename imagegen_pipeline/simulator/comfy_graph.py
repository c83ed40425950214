"""Reads a ComfyUI graph in API format as a ComfyUI server does, and refuses what it refuses.

The node classes, their required inputs and limits are those measured in
ComfyUI 0.3.64. [M]
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from imagegen_pipeline.simulator.pictures import Recipe

Graph = dict[str, Any]
Check = Callable[[object], str | None]


class GraphRefusedError(ValueError):
    """ComfyUI would refuse the graph; the text is the reason."""


def _number(low: float, high: float, kind: type[int] | type[float]) -> Check:
    def check(value: object) -> str | None:
        try:
            number = kind(value)  # type: ignore[arg-type, call-overload]  # ComfyUI casts it too
        except (TypeError, ValueError, OverflowError):
            return f"Failed to convert an input value to a {kind.__name__.upper()} value: {value!r}"
        if number < low:
            return f"Value {number} smaller than min of {low}"
        if number > high:
            return f"Value {number} bigger than max of {high}"
        return None

    return check


def _whole(low: int, high: int) -> Check:
    return _number(low, high, int)


def _real(low: float, high: float) -> Check:
    return _number(low, high, float)


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else f"Expected a text, not {value!r}"


def _one_of(*choices: str) -> Check:
    def check(value: object) -> str | None:
        return None if value in choices else f"Value not in list: {value!r} not in {list(choices)}"

    return check


_LINK = "link"
_SIDE = _whole(16, 16384)
_DTYPES = ("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2")

REQUIRED: dict[str, dict[str, Check | str]] = {
    "UNETLoader": {"unet_name": _text, "weight_dtype": _one_of(*_DTYPES)},
    "DualCLIPLoader": {"clip_name1": _text, "clip_name2": _text, "type": _one_of("flux")},
    "VAELoader": {"vae_name": _text},
    "CLIPTextEncode": {"text": _text, "clip": _LINK},
    "FluxGuidance": {"conditioning": _LINK, "guidance": _real(0, 100)},
    "ModelSamplingFlux": {
        "model": _LINK,
        "max_shift": _real(0, 100),
        "base_shift": _real(0, 100),
        "width": _SIDE,
        "height": _SIDE,
    },
    "BasicGuider": {"model": _LINK, "conditioning": _LINK},
    "BasicScheduler": {
        "model": _LINK,
        "scheduler": _text,
        "steps": _whole(1, 10000),
        "denoise": _real(0, 1),
    },
    "KSamplerSelect": {"sampler_name": _text},
    "RandomNoise": {"noise_seed": _whole(0, 2**64 - 1)},
    "EmptySD3LatentImage": {"width": _SIDE, "height": _SIDE, "batch_size": _whole(1, 4096)},
    "SamplerCustomAdvanced": dict.fromkeys(
        ("noise", "guider", "sampler", "sigmas", "latent_image"), _LINK
    ),
    "VAEDecode": {"samples": _LINK, "vae": _LINK},
    "SaveImage": {"images": _LINK, "filename_prefix": _text},
}
"""Each known node class with the inputs it requires."""

_MOST_PIXELS = 64_000_000


def read_recipes(graph: object) -> tuple[Recipe, ...]:
    """The images that the graph makes; raises GraphRefusedError when it makes none.

    As in ComfyUI, sides that are not divisible by 16 are accepted and the
    picture comes out smaller.
    """
    if not isinstance(graph, dict) or not graph:
        raise GraphRefusedError("Prompt has no outputs")
    for node_id, node in graph.items():
        _check_class(node_id, node)
    outputs = [node_id for node_id, node in graph.items() if node["class_type"] == "SaveImage"]
    if not outputs:
        raise GraphRefusedError("Prompt has no outputs")
    recipes: list[Recipe] = []
    for node_id in outputs:
        for reached in upstream(graph, node_id):
            _check_inputs(graph, reached)
        recipes.extend(_recipes_behind(graph, node_id))
    return tuple(recipes)


def prompt_text(graph: object) -> str:
    """The positive prompt as far as it can be read, also of a graph that is refused."""
    if not isinstance(graph, dict):
        return ""
    texts = [
        node["inputs"]["text"]
        for node in graph.values()
        if isinstance(node, dict)
        and node.get("class_type") == "CLIPTextEncode"
        and isinstance(node.get("inputs"), dict)
        and isinstance(node["inputs"].get("text"), str)
    ]
    return texts[0] if texts else ""


def _check_class(node_id: str, node: object) -> None:
    if not isinstance(node, dict) or "class_type" not in node:
        raise GraphRefusedError(
            "Cannot execute because a node is missing the class_type property.: "
            f"Node ID '#{node_id}'"
        )
    if node["class_type"] not in REQUIRED:
        raise GraphRefusedError(
            f"Cannot execute because node {node['class_type']} does not exist.: "
            f"Node ID '#{node_id}'"
        )
    if not isinstance(node.get("inputs"), dict):
        raise GraphRefusedError(f"Node {node_id} has no inputs")


def _check_inputs(graph: Graph, node_id: str) -> None:
    node = graph[node_id]
    for name, expected in REQUIRED[node["class_type"]].items():
        where = f"* {node['class_type']} {node_id}: "
        if name not in node["inputs"]:
            raise GraphRefusedError(f"{where}Required input is missing: {name}")
        value = node["inputs"][name]
        if isinstance(expected, str):
            if not is_link(value):
                raise GraphRefusedError(
                    f"{where}Bad linked input, must be a length-2 list of "
                    f"[node_id, slot_index]: {name}"
                )
        elif is_link(value):
            raise GraphRefusedError(f"{where}Return type mismatch between linked nodes: {name}")
        elif (complaint := expected(value)) is not None:
            raise GraphRefusedError(f"{where}{complaint}: {name}")


def is_link(value: object) -> bool:
    """Whether an input is fed by another node: its id and the number of its output."""
    return isinstance(value, list) and len(value) == 2


def upstream(graph: Graph, start: str) -> Iterator[str]:
    """The node and all it is fed by, nearest first; a link to nowhere is refused."""
    seen, waiting = {start}, deque([start])
    while waiting:
        node_id = waiting.popleft()
        yield node_id
        for name, value in graph[node_id]["inputs"].items():
            if not is_link(value):
                continue
            source = str(value[0])
            if source not in graph:
                raise GraphRefusedError(
                    f"Exception when validating node: input {name} of node {node_id} "
                    f"is linked to node {source}, which is not there"
                )
            if source not in seen:
                seen.add(source)
                waiting.append(source)


def _behind(graph: Graph, node_id: str, input_name: str, class_type: str) -> tuple[str, Graph]:
    """The nearest node of that class that feeds the input: its id and inputs."""
    start = str(graph[node_id]["inputs"][input_name][0])
    for reached in upstream(graph, start):
        if graph[reached]["class_type"] == class_type:
            return reached, graph[reached]["inputs"]
    raise GraphRefusedError(
        f"* {graph[node_id]['class_type']} {node_id}: Return type mismatch between linked nodes: "
        f"{input_name} is not fed by a {class_type}"
    )


def _recipes_behind(graph: Graph, output: str) -> list[Recipe]:
    sampler, _ = _behind(graph, output, "images", "SamplerCustomAdvanced")
    _, noise = _behind(graph, sampler, "noise", "RandomNoise")
    _, text = _behind(graph, sampler, "guider", "CLIPTextEncode")
    _, guidance = _behind(graph, sampler, "guider", "FluxGuidance")
    _, model = _behind(graph, sampler, "guider", "UNETLoader")
    _, schedule = _behind(graph, sampler, "sigmas", "BasicScheduler")
    _behind(graph, sampler, "sampler", "KSamplerSelect")
    _, latent = _behind(graph, sampler, "latent_image", "EmptySD3LatentImage")
    size = int(latent["width"]) // 16 * 16, int(latent["height"]) // 16 * 16
    count = int(latent["batch_size"])
    if size[0] * size[1] * count > _MOST_PIXELS:
        raise GraphRefusedError("Allocation on device: CUDA out of memory")
    return [
        Recipe(
            prompt=text["text"],
            seed=int(noise["noise_seed"]) + index,
            size=size,
            model=model["unet_name"],
            steps=int(schedule["steps"]),
            guidance=float(guidance["guidance"]),
        )
        for index in range(count)
    ]
