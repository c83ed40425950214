"""Duplicate detection on generated images."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from imagegen_pipeline.domain.image.duplicate_detection import MOST_BITS, DuplicateIndex, Likeness
from imagegen_pipeline.domain.image.metrics import measure
from imagegen_pipeline.simulator.pictures import Recipe, render_png
from imagegen_pipeline_tests.unit.domain.image.test_metrics import jpeg, noisy, simulated


def like(picture: Image.Image, *, at: int, prompt: str | None = None) -> Likeness:
    """A picture that was stored ``at`` this moment, of a prompt of its own."""
    measures = measure(picture)
    text = f"prompt {at}" if prompt is None else prompt
    return Likeness(f"key-{at}", at, float(at), text, measures["phash"], measures["tones"])


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture,
        lambda picture: jpeg(picture, 60),
        lambda picture: picture.resize((270, 480)),
        lambda picture: picture.resize((702, 1248)),
        lambda picture: noisy(picture, 8),
    ],
    ids=["the same", "as JPEG", "smaller", "larger", "with noise"],
)
def test_a_changed_copy_is_a_duplicate(change: Callable[[Image.Image], Image.Image]) -> None:
    """A re-encoded, resized or noisy copy is a duplicate of the older image."""
    known = DuplicateIndex([like(simulated("a pier"), at=1), like(simulated("a harbour"), at=2)])
    (match,) = known.older(like(change(simulated("a pier")), at=3))
    assert (match.key, match.attempt) == ("key-1", 1)


def test_simulated_pictures_of_different_prompts_are_all_different() -> None:
    """No two of 120 simulated images are duplicates in the size that the tests use."""
    pictures = [
        Image.open(io.BytesIO(render_png(Recipe(f"a lighthouse, number {n}", 1, (64, 64)))))
        for n in range(120)
    ]
    known = DuplicateIndex()
    for at, picture in enumerate(pictures):
        one = like(picture, at=at)
        assert not known.older(one)
        known.put(one)


def test_one_shape_in_two_colours_is_no_duplicate() -> None:
    """Images that differ only in their colours are not duplicates."""
    light = simulated("a pier").convert("L")
    grey = Image.merge("RGB", (light, light, light))
    # More red and less green by what keeps the light of it.
    redder, less_green = (light.point(lambda v, by=by: v + by) for by in (40, -20))
    tinted = Image.merge("RGB", (redder, less_green, light))
    first, second = like(grey, at=1), like(tinted, at=2)
    apart = int(first.phash, 16) ^ int(second.phash, 16)
    assert apart.bit_count() <= MOST_BITS
    assert not DuplicateIndex([first]).older(second)


def test_of_two_identical_images_only_the_later_is_a_duplicate() -> None:
    """The image that was stored first is never the duplicate, in any order of checks."""
    first, second = (like(simulated(), at=at) for at in (1, 2))
    known = DuplicateIndex([second, first])
    assert not known.older(first)
    assert [match.key for match in known.older(second)] == ["key-1"]


def test_the_same_prompt_may_have_the_same_picture() -> None:
    """Images of one prompt are not duplicates, since identical requests share an image."""
    known = DuplicateIndex([like(simulated(), at=1, prompt="a harbour")])
    assert not known.older(like(simulated(), at=2, prompt="a harbour"))


def test_an_items_new_image_replaces_its_old_one() -> None:
    """A replaced image is no longer compared."""
    old, new = like(simulated("a pier"), at=1), like(simulated("a barn"), at=2)
    known = DuplicateIndex([old])
    known.put(Likeness(old.key, new.attempt, new.stored_at, old.prompt, new.phash, new.tones))
    assert len(known) == 1
    assert not known.older(like(simulated("a pier"), at=3))
    assert known.older(like(simulated("a barn"), at=4))


def test_many_are_compared_at_once() -> None:
    """The nearest of thousands of images comes first."""
    rng = np.random.default_rng(1)
    tones = measure(simulated())["tones"]
    hashes = [rng.bytes(32).hex() for _ in range(3000)]
    known = DuplicateIndex(
        Likeness(f"key-{at}", at, float(at), f"prompt {at}", phash, tones)
        for at, phash in enumerate(hashes)
    )
    near = bytes([bytes.fromhex(hashes[1234])[0] ^ 0b111]).hex() + hashes[1234][2:]
    known.put(Likeness("near", 3000, 3000.0, "near", near, tones))
    one = Likeness("new", 4000, 4000.0, "new", hashes[1234], tones)
    found = [(match.key, match.distance) for match in known.older(one)]
    assert found == [("key-1234", 0), ("near", 3)]
    assert len(known) == 3001


def test_hashes_of_different_images_differ_widely() -> None:
    """The threshold is well below the smallest difference of simulated images."""
    hashes = [int(measure(simulated(f"a cat {n}", (270, 480)))["phash"], 16) for n in range(30)]
    assert min((a ^ b).bit_count() for a, b in combinations(hashes, 2)) > 40
