"""ComfyUI graphs that the tests of workflows start from."""

import json
from typing import Any

from imagegen_pipeline.domain.comfy.workflow import Workflow, parse_workflow
from imagegen_pipeline_tests.conftest import ROOT

SHIPPED = ROOT / "workflows" / "normal_image_v4_workflow.json"
Graph = dict[str, Any]


def node(class_type: str, title: str | None = None, **inputs: Any) -> Graph:
    body: Graph = {"class_type": class_type, "inputs": inputs}
    return body if title is None else {**body, "_meta": {"title": title}}


def flux() -> Graph:
    """The shipped graph as ComfyUI writes it after an export: other ids, and no titles."""
    text = SHIPPED.read_text()
    graph = json.loads(text)
    renamed = {old: f"57:{old}" for old in graph}
    for body in graph.values():
        del body["_meta"]
        for name, value in body["inputs"].items():
            if isinstance(value, list):
                body["inputs"][name] = [renamed[value[0]], value[1]]
    return {renamed[old]: body for old, body in graph.items()}


def classic() -> Graph:
    """The graph that ComfyUI opens with, as it exports it."""
    return {
        "3": node(
            "KSampler",
            "KSampler",
            seed=156680208700286,
            steps=20,
            cfg=1.0,
            sampler_name="dpmpp_2m",
            scheduler="karras",
            denoise=1,
            model=["4", 0],
            positive=["6", 0],
            negative=["7", 0],
            latent_image=["5", 0],
        ),
        "4": node("CheckpointLoaderSimple", "Load Checkpoint", ckpt_name="some_model.safetensors"),
        "5": node("EmptyLatentImage", "Empty Latent Image", width=512, height=512, batch_size=4),
        "6": node("CLIPTextEncode", "CLIP Text Encode (Prompt)", text="glass", clip=["4", 1]),
        "7": node("CLIPTextEncode", "CLIP Text Encode (Prompt)", text="text", clip=["4", 1]),
        "8": node("VAEDecode", "VAE Decode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", "Save Image", filename_prefix="ComfyUI", images=["8", 0]),
    }


def parsed(graph: object) -> Workflow:
    return parse_workflow(json.dumps(graph), name="export.json")


def bound(graph: object, **values: Any) -> Graph:
    wanted = {"prompt": "a fern", "width": 832, "height": 1216, "steps": 30, "seed": 7, **values}
    return parsed(graph).bind(**wanted)


def only(graph: Graph, class_type: str) -> Graph:
    """The inputs of the graph's one node of that class."""
    [inputs] = [body["inputs"] for body in graph.values() if body["class_type"] == class_type]
    return inputs


def two_prompts(first: str | None, second: str | None) -> Graph:
    graph = flux()
    graph["57:6"] = node("CLIPTextEncode", first, text="", clip=["57:11", 0])
    graph["b"] = node("CLIPTextEncode", second, text="", clip=["57:11", 0])
    graph["57:26"]["inputs"]["conditioning"] = ["c", 0]
    graph["c"] = node("ConditioningCombine", conditioning_1=["57:6", 0], conditioning_2=["b", 0])
    return graph
