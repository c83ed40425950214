"""Workflows: what cannot be bound, or must not be sent, is refused with the node and a remedy."""

import json
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline.domain.comfy.workflow import check_size, parse_workflow
from imagegen_pipeline.domain.errors import RequestRefusedError, WorkflowError
from imagegen_pipeline.sources.workflow_file import LARGEST_FILE, load_workflow
from imagegen_pipeline_tests.unit.domain.comfy.comfy_graphs import (
    Graph,
    bound,
    classic,
    flux,
    node,
    parsed,
    two_prompts,
)


def refusal(graph: object) -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        parsed(graph)
    assert caught.value.remedy
    assert "export.json" in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "computed",
    [
        node("SimpleMath+", "Half", value="a / 2", a=2048),
        node("SimpleMath+", "Half", value="512 * 2"),
        node("FloatScale", "Half", value=2048, by=0.5),
    ],
)
def test_a_computed_value_is_refused_by_name(computed: Graph) -> None:
    """A width computed from other values fails, naming both nodes."""
    graph = {**flux(), "m": computed}
    graph["57:27"]["inputs"]["width"] = ["m", 0]
    shown_text = str(refusal(graph))
    assert '"57:27" (EmptySD3LatentImage)' in shown_text
    assert f'node "m" ({computed["class_type"]}, "Half")' in shown_text


def test_one_node_cannot_give_two_values() -> None:
    """A Primitive that gives both width and height fails, since no portrait could be bound."""
    graph = flux()
    graph["n"] = node("PrimitiveInt", "Side", value=1024)
    graph["57:27"]["inputs"] |= {"width": ["n", 0], "height": ["n", 0]}
    assert 'node "n" (PrimitiveInt, "Side") gives both width and height' in str(refusal(graph))


@pytest.mark.parametrize("title", [None, "CLIP Text Encode (Prompt)", "positive"])
def test_two_undecidable_prompts_fail_naming_both(title: str | None) -> None:
    """Two texts with the same say in the picture and the same title cannot be told apart."""
    error = refusal(two_prompts(title, title))
    assert '"57:6"' in str(error)
    assert '"b"' in str(error)
    assert "positive" in error.remedy


def test_an_unknown_guider_never_takes_the_negative_text() -> None:
    """Where the prompt's path is unreadable, the text known to be negative is not chosen."""
    graph = classic()
    graph["6"] = node("SomeTextNode", words="", clip=["4", 1])
    assert "no text node" in str(refusal(graph))


def without(graph: Graph, node_id: str) -> Graph:
    return {name: body for name, body in graph.items() if name != node_id}


def changed(graph: Graph, node_id: str, body: object) -> Graph:
    return {**graph, node_id: body}


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ([], "not an object"),
        ({}, "no nodes"),
        ({"nodes": [], "links": [], "version": 0.4}, "API format"),
        ({"workflow": {"nodes": [], "links": []}}, "API format"),
        (without(classic(), "5"), 'node "3" (KSampler, "KSampler") takes its input "latent_image"'),
        (without(classic(), "9"), "no node saves an image"),
        (changed(classic(), "8", node("LoadImage", image="a.png")), "no sampler leads to"),
        (changed(classic(), "5", node("LoadLatent", latent="x")), "width and a height"),
        (
            changed(classic(), "6", {"inputs": {}, "_meta": {"title": "Lost"}}),
            'node "6" ("Lost") has no class_type',
        ),
        (changed(classic(), "6", {"class_type": "CLIPTextEncode"}), "has no inputs"),
        (changed(classic(), "note", "written by hand"), 'node "note" has no class_type'),
        (changed(flux(), "57:17", node("LoadSigmas", path="x")), "takes a number of steps"),
        (changed(flux(), "57:25", node("DisableNoise")), "takes a seed"),
        (
            changed(
                {**classic(), "3b": classic()["3"]},
                "8",
                node("Blend", image1=["3", 0], image2=["3b", 0]),
            ),
            "more than one sampler",
        ),
    ],
)
def test_a_file_that_cannot_be_bound_fails_when_it_is_read(graph: object, message: str) -> None:
    """Every unbindable graph is refused with the file's name, the node and a remedy."""
    assert message in str(refusal(graph))


@pytest.mark.parametrize(
    "text", ["", "{", b"\xff\xfe\xff", '{"1": NaN}', "[" * 100_000, "\x89PNG\r\n"]
)
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    """Damaged, binary and endlessly nested files are a WorkflowError, never a crash."""
    with pytest.raises(WorkflowError, match=r"export\.json: not JSON"):
        parse_workflow(text, name="export.json")


def test_a_loop_is_refused_or_left_alone_but_ends() -> None:
    """A graph whose links run in a circle does not hang the reader."""
    graph = flux()
    graph["57:26"]["inputs"]["conditioning"] = ["57:26", 0]
    assert "no text node" in str(refusal(graph))
    graph = flux()
    graph["a"], graph["b"] = (
        node("PrimitiveInt", value=["b", 0]),
        node("PrimitiveInt", value=["a", 0]),
    )
    graph["57:17"]["inputs"]["steps"] = ["a", 0]
    assert "steps" in str(refusal(graph))


@pytest.mark.parametrize("size", [(16, 16), (1024, 1536), (1360, 768), (16384, 6096)])
def test_legal_sizes_pass(size: tuple[int, int]) -> None:
    """Multiples of 16 from 16 to 16384 are drawn as asked."""
    check_size(*size)


def test_more_pixels_than_are_kept_are_refused() -> None:
    """A picture that would be too large to be decoded is not paid for."""
    with pytest.raises(RequestRefusedError, match="paid for and refused"):
        check_size(16384, 6112)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((1001, 1536), "992x1536 or 1008x1536."),
        ((1080, 1920), "1072x1920 or 1088x1920."),
        ((0, 64), "16x64."),
        ((-5, 64), "16x64."),
        ((64, 20000), "64x16384."),
        ((1001, 1001), "992x992 or 1008x1008."),
    ],
)
def test_other_sizes_are_refused_with_the_nearest(size: tuple[int, int], nearest: str) -> None:
    """A size that the server would shrink or refuse is refused first, naming what works."""
    with pytest.raises(RequestRefusedError) as caught:
        check_size(*size)
    assert f"{size[0]}x{size[1]}" in str(caught.value)
    assert caught.value.remedy.endswith(nearest)


@pytest.mark.parametrize(
    "values",
    [
        {"width": 1001},
        {"height": 0},
        {"steps": 0},
        {"steps": 10001},
        {"seed": -1},
        {"seed": 2**64},
        {"guidance": 100.5},
        {"guidance": float("nan")},
    ],
)
def test_bind_refuses_what_the_server_does_not_take(values: dict[str, Any]) -> None:
    """Sizes, steps, seeds and guidance outside ComfyUI's limits are a bad request."""
    with pytest.raises(RequestRefusedError) as caught:
        bound(flux(), **values)
    assert caught.value.kind == "bad_request"


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_file_that_cannot_be_read_is_a_workflow_error(tmp_path: Path, is_folder: bool) -> None:
    """A missing or unreadable file names its path and the setting to change."""
    path = tmp_path / "gone.json"
    if is_folder:
        path.mkdir()
    with pytest.raises(WorkflowError, match=r"gone\.json") as caught:
        load_workflow(path)
    assert "IMAGEGEN_WORKFLOW" in caught.value.remedy


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """A file over the limit is refused before it is parsed, even if it holds a graph."""
    path = tmp_path / "huge.json"
    path.write_text(json.dumps(flux()) + " " * LARGEST_FILE)
    with pytest.raises(WorkflowError, match="too many"):
        load_workflow(path)
