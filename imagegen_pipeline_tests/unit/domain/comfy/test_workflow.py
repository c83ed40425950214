"""Workflows: binding values to a ComfyUI graph, whatever its ids, titles and form."""

import copy
import json
from typing import Any

import pytest

from imagegen_pipeline.domain.comfy.workflow import parse_workflow
from imagegen_pipeline.domain.errors import RequestRefusedError
from imagegen_pipeline.sources.workflow_file import load_workflow
from imagegen_pipeline_tests.unit.domain.comfy.comfy_graphs import (
    SHIPPED,
    Graph,
    bound,
    classic,
    flux,
    node,
    only,
    parsed,
    two_prompts,
)


def test_the_shipped_file_has_the_users_settings() -> None:
    """The shipped workflow is FLUX Dev fp8, euler, simple, guidance 3.5, 1024x1536, 25 steps."""
    workflow = load_workflow(SHIPPED)
    found = (workflow.unet, workflow.sampler, workflow.scheduler, workflow.guidance)
    assert found == ("flux1-dev-fp8.safetensors", "euler", "simple", 3.5)
    graph = json.loads(SHIPPED.read_text())
    assert only(graph, "EmptySD3LatentImage") == {"width": 1024, "height": 1536, "batch_size": 1}
    assert only(graph, "BasicScheduler")["steps"] == 25
    assert not [body for body in graph.values() if "Lora" in body["class_type"]]
    assert all(body["_meta"]["title"] for body in graph.values())


@pytest.mark.parametrize("graph", [json.loads(SHIPPED.read_text()), flux()])
def test_every_value_reaches_its_nodes(graph: Graph) -> None:
    """Binding sets prompt, size, steps, seed, guidance and prefix, whatever ids and titles are."""
    made = bound(graph, guidance=2.0, filename_prefix="0101_base")
    assert only(made, "CLIPTextEncode")["text"] == "a fern"
    latent, sampling = only(made, "EmptySD3LatentImage"), only(made, "ModelSamplingFlux")
    assert (latent["width"], latent["height"]) == (832, 1216)
    assert (sampling["width"], sampling["height"]) == (832, 1216)
    assert only(made, "BasicScheduler")["steps"] == 30
    assert only(made, "RandomNoise")["noise_seed"] == 7
    assert only(made, "FluxGuidance")["guidance"] == 2.0
    assert only(made, "SaveImage")["filename_prefix"] == "0101_base"


@pytest.mark.parametrize("graph", [flux(), classic()])
def test_binding_changes_nothing_else_and_never_the_parsed_graph(graph: Graph) -> None:
    """Two binds of one workflow are independent, and what no value goes to stays as it was."""
    workflow = parsed(graph)
    values: dict[str, Any] = {"width": 64, "height": 64, "steps": 1, "seed": 0}
    first = workflow.bind(prompt="one", guidance=1.0, **values)
    kept = copy.deepcopy(first)
    second = workflow.bind(prompt="two", **values)
    for body in second.values():
        body["inputs"].clear()
    assert first == kept
    assert workflow.bind(prompt="one", guidance=1.0, **values) == kept
    places = {place for slots in workflow.slots.by_value().values() for place in slots}
    for node_id, body in graph.items():
        for name, value in body["inputs"].items():
            if (node_id, name) not in places:
                assert first[node_id]["inputs"][name] == value


def test_what_is_not_given_stays_as_the_file_has_it() -> None:
    """Guidance, negative prompt and file prefix that nobody gives are the file's own."""
    assert only(bound(flux()), "FluxGuidance")["guidance"] == 3.5
    made = bound(classic())
    assert made["7"]["inputs"]["text"] == "text"
    assert made["9"]["inputs"]["filename_prefix"] == "ComfyUI"


def test_a_classic_graph_is_bound_by_its_links() -> None:
    """A KSampler graph takes seed and steps itself, and its links tell the two prompts apart."""
    made = bound(classic(), negative_prompt="fog", seed=2**64 - 1)
    assert (made["6"]["inputs"]["text"], made["7"]["inputs"]["text"]) == ("a fern", "fog")
    assert (made["3"]["inputs"]["seed"], made["3"]["inputs"]["steps"]) == (2**64 - 1, 30)
    latent = made["5"]["inputs"]
    assert (latent["width"], latent["height"]) == (832, 1216)
    found = parsed(classic())
    assert (found.unet, found.sampler, found.scheduler, found.guidance) == (
        "some_model.safetensors",
        "dpmpp_2m",
        "karras",
        None,
    )


def test_one_request_makes_one_picture() -> None:
    """A batch size left in the exported file does not multiply the bill."""
    assert bound(classic())["5"]["inputs"]["batch_size"] == 1


def test_a_flux_text_node_takes_prompt_and_guidance() -> None:
    """CLIPTextEncodeFlux gets the prompt in both its texts, and its own guidance."""
    graph = flux()
    graph["57:6"] = node("CLIPTextEncodeFlux", clip_l="", t5xxl="", guidance=4.0, clip=["57:11", 0])
    graph["57:22"]["inputs"]["conditioning"] = ["57:6", 0]
    assert parsed(graph).guidance == 4.0
    inputs = only(bound(graph, guidance=2.5), "CLIPTextEncodeFlux")
    assert (inputs["clip_l"], inputs["t5xxl"], inputs["guidance"]) == ("a fern", "a fern", 2.5)


@pytest.mark.parametrize(
    "negative",
    [
        {"n": node("ConditioningZeroOut", conditioning=["6", 0])},
        {"n": node("ConditioningZeroOut", conditioning=["7", 0])},
        {"n": node("FluxGuidance", guidance=3.5, conditioning=["6", 0])},
    ],
)
def test_a_negative_without_a_text_of_its_own_takes_none(negative: Graph) -> None:
    """A negative that is zeroed, or made from the prompt's text, never takes a negative prompt."""
    graph = classic() | negative
    graph["3"]["inputs"]["negative"] = ["n", 0]
    assert bound(graph)["6"]["inputs"]["text"] == "a fern"
    with pytest.raises(RequestRefusedError, match="negative prompt"):
        bound(graph, negative_prompt="fog")


def test_linked_values_are_set_where_they_stand() -> None:
    """A width, prompt or seed that comes from a Primitive node is set in that node."""
    graph = flux()
    graph |= {
        "w": node("PrimitiveInt", "Width", value=1024),
        "p": node("PrimitiveStringMultiline", value=""),
        "s": node("Seed (rgthree)", seed=1),
    }
    graph["57:27"]["inputs"]["width"] = graph["57:30"]["inputs"]["width"] = ["w", 0]
    graph["57:6"]["inputs"]["text"] = ["p", 0]
    graph["57:25"]["inputs"]["noise_seed"] = ["s", 0]
    made = bound(graph)
    assert made["w"]["inputs"] == {"value": 832}
    assert made["p"]["inputs"] == {"value": "a fern"}
    assert made["s"]["inputs"] == {"seed": 7}
    assert made["57:27"]["inputs"]["width"] == ["w", 0]


def test_what_nothing_needs_may_be_computed() -> None:
    """A guidance that other nodes compute is left to them, and the rest is bound."""
    graph = flux()
    graph["m"] = node("SimpleMath+", value="a / 2", a=7)
    graph["57:26"]["inputs"]["guidance"] = ["m", 0]
    assert parsed(graph).guidance is None
    made = bound(graph, guidance=2.0)
    assert made["m"] == graph["m"]
    assert only(made, "FluxGuidance")["guidance"] == ["m", 0]


def test_nodes_that_only_pass_a_link_on_are_seen_through() -> None:
    """A reroute hides neither the prompt's node nor the one that gives the size."""
    graph = classic()
    graph["r"] = node("Reroute (rgthree)", any_in=["6", 0])
    graph["s"] = node("Reroute (rgthree)", any_in=["5", 0])
    graph["3"]["inputs"] |= {"positive": ["r", 0], "latent_image": ["s", 0]}
    made = bound(graph)
    assert made["6"]["inputs"]["text"] == "a fern"
    assert made["5"]["inputs"]["width"] == 832


def test_a_byte_order_mark_does_no_harm() -> None:
    """A file that an editor on Windows has saved again is read as it is."""
    text = "\ufeff" + json.dumps(flux())
    digests = {parse_workflow(form, name="w.json").digest for form in (text, text.encode())}
    assert digests == {parsed(flux()).digest}


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        (("Other", "My POSITIVE text"), "b"),
        (("Negative", "CLIP Text Encode (Prompt)"), "b"),
        (("CLIP Text Encode (Positive Prompt)", "CLIP Text Encode (Negative Prompt)"), "57:6"),
    ],
)
def test_titles_decide_where_links_do_not(titles: tuple[str, str], expected: str) -> None:
    """Of two texts that reach the sampler alike, the title says which takes the prompt."""
    made = bound(two_prompts(*titles))
    assert [name for name in ("57:6", "b") if made[name]["inputs"]["text"] == "a fern"] == [
        expected
    ]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda graph: {"workflow": graph, "images": []},
        lambda graph: {"prompt": graph, "client_id": "x"},
        lambda graph: {"input": {"workflow": graph}},
        lambda graph: {"workflow": {"nodes": [], "links": []}, "prompt": graph},
    ],
)
def test_a_wrapped_graph_is_the_same_graph(wrap: Any) -> None:
    """A file that wraps the graph, as request bodies do, binds as the bare graph does."""
    assert bound(wrap(flux())) == bound(flux())
    assert parsed(wrap(flux())).digest == parsed(flux()).digest


def test_the_digest_is_of_what_the_file_decides() -> None:
    """Formatting, titles and the values of the last try do not change the digest; models do."""
    graph = json.loads(SHIPPED.read_text())
    digest = load_workflow(SHIPPED).digest
    again = dict(reversed(graph.items()))
    again["25"]["inputs"]["noise_seed"] = 99
    again["6"]["inputs"]["text"] = "last try"
    again["6"]["_meta"]["title"] = "Renamed"
    assert parsed(again).digest == digest
    for node_id, name, value in (
        ("26", "guidance", 3.0),
        ("12", "unet_name", "other.safetensors"),
        ("16", "sampler_name", "heun"),
    ):
        other = copy.deepcopy(graph)
        other[node_id]["inputs"][name] = value
        assert parsed(other).digest != digest


def test_describe_names_the_nodes() -> None:
    """People can see which node and input each value is bound to."""
    message = load_workflow(SHIPPED).describe()
    assert message["seed"] == ('node "25" (RandomNoise, "Seed"): noise_seed',)
    assert len(message["width"]) == 2
