"""Base images lie at a fixed path; what they replace stays in the history."""

from __future__ import annotations

from pathlib import Path

from imagegen_pipeline.domain.requests import State, Status
from imagegen_pipeline_tests.integration.engine.harness import RUN, EngineHarness, picture


def folder_of(harness: EngineHarness, name: str = "0100_sailor") -> Path:
    """Where the actor's base image goes."""
    return harness.project.results / "actors" / name / "base_image"


def history(harness: EngineHarness) -> list[Path]:
    """The pictures that are kept."""
    return sorted(path for path in (folder_of(harness) / "history").iterdir() if path.is_file())


def test_a_base_image_lies_at_its_fixed_path(harness: EngineHarness) -> None:
    """The outcome's path is ``{actor}_base.png``, and the history has the same bytes."""
    outcome = harness.make_base(harness.actor())

    assert outcome.status is Status.MADE
    assert outcome.path == str(folder_of(harness) / "0100_sailor_base.png")
    (kept,) = history(harness)
    assert kept.read_bytes() == picture(outcome)
    assert outcome.attempt is not None
    assert (outcome.attempt.width, outcome.attempt.height) == (64, 96)
    assert outcome.attempt.job_id


def test_a_base_image_with_a_drawn_seed_is_reused(harness: EngineHarness) -> None:
    """An actor without a seed gets a random one, once."""
    actor = harness.actor()
    made = harness.make_base(actor)
    again = harness.make_base(actor)

    assert actor.seed == -1
    assert (again.status, again.path, again.cost) == (Status.REUSED, made.path, 0)
    assert harness.simulator.billed("runpod") == 1


def test_a_replaced_base_image_stays_in_the_history(harness: EngineHarness) -> None:
    """A changed description is made anew at the same path; the picture before is kept."""
    first = harness.make_base(harness.actor())
    first_bytes = picture(first)
    second = harness.make_base(harness.actor(description="a young sailor"))

    assert second.status is Status.MADE
    assert second.path == first.path
    assert picture(second) != first_bytes
    assert {path.read_bytes() for path in history(harness)} == {first_bytes, picture(second)}


def test_a_strangers_picture_is_kept_before_it_is_replaced(harness: EngineHarness) -> None:
    """A file that this program did not make is moved to the history, with a warning."""
    folder = folder_of(harness)
    folder.mkdir(parents=True)
    (folder / "0100_sailor_base.png").write_bytes(b"the user's own")
    outcome = harness.make_base(harness.actor())

    assert picture(outcome).startswith(b"\x89PNG")
    assert b"the user's own" in {path.read_bytes() for path in history(harness)}
    assert any("did not make" in warning for warning in outcome.warnings)


def test_a_jpeg_answer_becomes_png_and_the_original_stays(harness: EngineHarness) -> None:
    """The fixed path always holds a PNG; the bytes that came stay in the history."""
    actor = harness.actor()
    harness.simulator.fault(
        provider="runpod", operation="submit", fault="wrong_format", format="jpeg"
    )
    outcome = harness.make_base(actor)

    assert picture(outcome).startswith(b"\x89PNG")
    assert sorted(path.suffix for path in history(harness)) == [".jpg", ".png"]
    assert outcome.attempt is not None
    original = harness.pipeline.store.absolute(str(outcome.attempt.path))
    assert original.suffix == ".jpg"
    assert original.read_bytes().startswith(b"\xff\xd8")
    assert harness.make_base(actor).status is Status.REUSED


def test_a_deleted_base_image_comes_back_from_the_history(harness: EngineHarness) -> None:
    """When only the published file is gone, it is published again, unbilled."""
    actor = harness.actor()
    made = harness.make_base(actor)
    before = picture(made)
    Path(str(made.path)).unlink()
    again = harness.make_base(actor)

    assert again.status is Status.REUSED
    assert picture(again) == before
    assert harness.simulator.billed("runpod") == 1


def test_a_failed_regenerate_leaves_the_base_image(harness: EngineHarness) -> None:
    """The published picture changes only when the new one is there."""
    actor = harness.actor()
    made = harness.make_base(actor)
    before = picture(made)
    harness.simulator.fault(provider="runpod", operation="submit", fault="job_failed")
    failed = harness.make_base(actor, regenerate=True)

    assert (failed.status, failed.error_kind) == (Status.FAILED, "job_failed")
    assert picture(made) == before
    assert harness.states() == [State.STORED, State.FAILED]
    assert harness.make_base(actor).status is Status.REUSED


def test_a_regenerate_replaces_the_base_image(harness: EngineHarness) -> None:
    """A regenerated base image is the published one, and the plain request is content with it."""
    actor = harness.actor()
    before = picture(harness.make_base(actor))
    made = harness.make_base(actor, regenerate=True, intent="run-1")
    again = harness.make_base(actor, regenerate=True, intent="run-1")

    assert (made.status, again.status) == (Status.MADE, Status.REUSED)
    assert picture(made) != before
    assert harness.make_base(actor).status is Status.REUSED
    assert picture(again) == picture(made)
    assert harness.requests(RUN) == 2


def test_a_picture_made_for_once_counts_for_the_actor(harness: EngineHarness) -> None:
    """A base image of a request that departs from ``actor.json`` for once stays current for
    the actor's own request, and is not made again for its own sake either.
    """
    from dataclasses import replace

    actor = harness.actor()
    own = harness.pipeline.base_image_request(actor).fingerprint
    other = replace(actor, description="a captain", seed=3)
    (made,) = harness.pipeline.generate_base_images([other], harness.pipeline.order(), own=own)
    (again,) = harness.pipeline.generate_base_images([other], harness.pipeline.order(), own=own)

    assert (made.status, again.status) == (Status.MADE, Status.REUSED)
    assert harness.make_base(actor).status is Status.REUSED
    assert harness.simulator.billed("runpod") == 1
