"""Actors, their prompts and the warnings on descriptions."""

from dataclasses import replace

import pytest

from imagegen_pipeline.domain.actors import (
    Actor,
    base_image_prompt,
    description_warnings,
    size_warnings,
)

ACTOR = Actor("0100_european_25_male", "european 25 year old male with short brown hair")


def test_defaults() -> None:
    """An actor without size, steps and seed has the guide's."""
    assert (ACTOR.width, ACTOR.height, ACTOR.steps, ACTOR.seed) == (1024, 1536, 25, -1)
    assert ACTOR.key == "0100_european_25_male"


def test_prompt_is_the_guides() -> None:
    """The prompt has nine lines; the first contains the stripped description."""
    lines = base_image_prompt("  a {curly} person\n").splitlines()
    assert len(lines) == 9
    assert lines[0] == "Professional full-body studio portrait photograph of a a {curly} person."
    assert lines[8] == "Clean composition, no distracting elements."
    assert ACTOR.prompt == base_image_prompt(ACTOR.description)


@pytest.mark.parametrize(
    "change", [{"description": "x"}, {"width": 16}, {"height": 16}, {"steps": 1}, {"seed": 0}]
)
def test_digest_changes(change: dict[str, object]) -> None:
    """The digest depends on everything that determines the image."""
    assert replace(ACTOR, **change).digest != ACTOR.digest


def test_digest_ignores_the_location() -> None:
    """The digest does not depend on the actor's location."""
    assert replace(ACTOR, container="/a", location="/a/b").digest == ACTOR.digest


def test_size_warnings() -> None:
    """The guide's wide size is allowed with a warning."""
    assert size_warnings(1024, 1536) == []
    assert "cut off feet" in size_warnings(1360, 768)[0]


@pytest.mark.parametrize(
    "description",
    [
        "european 25 year old male with short brown hair and blue eyes",
        "black 35 year old female with curly hair and warm smile",
        "asian 21 year old female with long black hair",
        "south american 30 year old male with beard and athletic build",
    ],
)
def test_good_examples(description: str) -> None:
    """The guide's good examples give no warning."""
    assert description_warnings(description) == []


@pytest.mark.parametrize(
    ("description", "message"),
    [("person", "too generic"), ("john smith", "a name"), ("superhero", "stylised")],
)
def test_bad_examples(description: str, message: str) -> None:
    """Each of the guide's bad examples gives its one warning."""
    (warning,) = description_warnings(description)
    assert message in warning
