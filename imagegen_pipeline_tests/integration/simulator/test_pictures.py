"""The simulated pictures."""

from dataclasses import replace
from typing import Any

import pytest

from imagegen_pipeline.simulator.pictures import Recipe, render_png
from imagegen_pipeline_tests.integration.simulator.clients import SimulatorClient, open_picture

RECIPE = Recipe("a castle", 5, (320, 200), "m", "blurry", 20, 7.5)


@pytest.mark.parametrize("size", [(1080, 1920), (1360, 768), (16, 16), (16, 300), (300, 16)])
def test_a_picture_is_a_png_of_exactly_its_size(size: tuple[int, int]) -> None:
    """Any size gives a real PNG of that size, marked in a text chunk."""
    picture = open_picture(render_png(replace(RECIPE, size=size)))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", size)
    assert picture.info["simulated"] == "true"


def test_equal_recipes_give_equal_bytes() -> None:
    """The same recipe gives the same bytes, also when it is drawn anew."""
    first = render_png(RECIPE)
    render_png.cache_clear()
    assert render_png(replace(RECIPE)) == first


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a castle."},
        {"seed": 6},
        {"model": "n"},
        {"negative_prompt": ""},
        {"steps": 21},
        {"guidance": 7.0},
    ],
)
def test_every_part_of_a_recipe_changes_the_picture(change: dict[str, Any]) -> None:
    """A different prompt, seed or setting gives a different picture."""
    changed = render_png(replace(RECIPE, **change))
    assert open_picture(changed).tobytes() != open_picture(render_png(RECIPE)).tobytes()


def test_a_full_size_picture_is_small() -> None:
    """The users' default size stays below 500 KB."""
    assert len(render_png(replace(RECIPE, size=(1080, 1920)))) < 500_000


def test_prompts_in_any_script_can_be_drawn() -> None:
    """A prompt of other letters, or of one endless word, is no obstacle."""
    for prompt in ("一只猫在月光下", "x" * 5000, "line\nline"):
        open_picture(render_png(replace(RECIPE, prompt=prompt)))


def test_a_url_gives_the_recipes_picture_each_time(simulated: SimulatorClient) -> None:
    """Downloading twice gives the same bytes as drawing the request's recipe."""
    url = simulated.duomi(negative_prompt="fog").json()["images"][0]["url"]
    first, second = simulated.download(url).content, simulated.download(url).content
    model = "stabilityai/stable-diffusion-xl-base-1.0"
    assert first == second == render_png(Recipe("a castle", 5, (64, 96), model, "fog", 20, 7.5))
