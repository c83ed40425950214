"""Base images lie at a fixed path; what they replace stays in the history."""

from __future__ import annotations

from pathlib import Path

from imagegen_pipeline.domain.requests import State, Status
from imagegen_pipeline_tests.engine.bench import RUN, Bench, picture


def folder_of(bench: Bench, name: str = "0100_sailor") -> Path:
    """Where the actor's base image goes."""
    return bench.project.results / "actors" / name / "base_image"


def history(bench: Bench) -> list[Path]:
    """The pictures that are kept."""
    return sorted(path for path in (folder_of(bench) / "history").iterdir() if path.is_file())


def test_a_base_image_lies_at_its_fixed_path(bench: Bench) -> None:
    """The outcome's path is ``{actor}_base.png``, and the history has the same bytes."""
    outcome = bench.make_base(bench.actor())

    assert outcome.status is Status.MADE
    assert outcome.path == str(folder_of(bench) / "0100_sailor_base.png")
    (kept,) = history(bench)
    assert kept.read_bytes() == picture(outcome)
    assert outcome.attempt is not None
    assert (outcome.attempt.width, outcome.attempt.height) == (64, 96)
    assert outcome.attempt.job_id


def test_a_base_image_with_a_drawn_seed_is_reused(bench: Bench) -> None:
    """An actor without a seed gets a random one, once."""
    actor = bench.actor()
    made = bench.make_base(actor)
    again = bench.make_base(actor)

    assert actor.seed == -1
    assert (again.status, again.path, again.cost) == (Status.REUSED, made.path, 0)
    assert bench.simulator.billed("runpod") == 1


def test_a_replaced_base_image_stays_in_the_history(bench: Bench) -> None:
    """A changed description is made anew at the same path; the picture before is kept."""
    first = bench.make_base(bench.actor())
    first_bytes = picture(first)
    second = bench.make_base(bench.actor(description="a young sailor"))

    assert second.status is Status.MADE
    assert second.path == first.path
    assert picture(second) != first_bytes
    assert {path.read_bytes() for path in history(bench)} == {first_bytes, picture(second)}


def test_a_strangers_picture_is_kept_before_it_is_replaced(bench: Bench) -> None:
    """A file that this program did not make is moved to the history, with a warning."""
    folder = folder_of(bench)
    folder.mkdir(parents=True)
    (folder / "0100_sailor_base.png").write_bytes(b"the user's own")
    outcome = bench.make_base(bench.actor())

    assert picture(outcome).startswith(b"\x89PNG")
    assert b"the user's own" in {path.read_bytes() for path in history(bench)}
    assert any("did not make" in warning for warning in outcome.warnings)


def test_a_jpeg_answer_becomes_png_and_the_original_stays(bench: Bench) -> None:
    """The fixed path always holds a PNG; the bytes that came stay in the history."""
    actor = bench.actor()
    bench.simulator.fault(
        provider="runpod", operation="submit", fault="wrong_format", format="jpeg"
    )
    outcome = bench.make_base(actor)

    assert picture(outcome).startswith(b"\x89PNG")
    assert sorted(path.suffix for path in history(bench)) == [".jpg", ".png"]
    assert outcome.attempt is not None
    original = bench.pipeline.store.absolute(str(outcome.attempt.path))
    assert original.suffix == ".jpg"
    assert original.read_bytes().startswith(b"\xff\xd8")
    assert bench.make_base(actor).status is Status.REUSED


def test_a_deleted_base_image_comes_back_from_the_history(bench: Bench) -> None:
    """When only the published file is gone, it is published again, unbilled."""
    actor = bench.actor()
    made = bench.make_base(actor)
    before = picture(made)
    Path(str(made.path)).unlink()
    again = bench.make_base(actor)

    assert again.status is Status.REUSED
    assert picture(again) == before
    assert bench.simulator.billed("runpod") == 1


def test_a_failed_regenerate_leaves_the_base_image(bench: Bench) -> None:
    """The published picture changes only when the new one is there."""
    actor = bench.actor()
    made = bench.make_base(actor)
    before = picture(made)
    bench.simulator.fault(provider="runpod", operation="submit", fault="job_failed")
    failed = bench.make_base(actor, regenerate=True)

    assert (failed.status, failed.error_kind) == (Status.FAILED, "job_failed")
    assert picture(made) == before
    assert bench.states() == [State.STORED, State.FAILED]
    assert bench.make_base(actor).status is Status.REUSED


def test_a_regenerate_replaces_the_base_image(bench: Bench) -> None:
    """A regenerated base image is the published one, and the plain request is content with it."""
    actor = bench.actor()
    before = picture(bench.make_base(actor))
    made = bench.make_base(actor, regenerate=True, intent="run-1")
    again = bench.make_base(actor, regenerate=True, intent="run-1")

    assert (made.status, again.status) == (Status.MADE, Status.REUSED)
    assert picture(made) != before
    assert bench.make_base(actor).status is Status.REUSED
    assert picture(again) == picture(made)
    assert bench.requests(RUN) == 2


def test_a_picture_made_for_once_counts_for_the_actor(bench: Bench) -> None:
    """A base image of a request that departs from ``actor.json`` for once stays current for
    the actor's own request, and is not made again for its own sake either.
    """
    from dataclasses import replace

    actor = bench.actor()
    own = bench.pipeline.base_image_request(actor).fingerprint
    other = replace(actor, description="a captain", seed=3)
    (made,) = bench.pipeline.generate_base_images([other], bench.pipeline.order(), own=own)
    (again,) = bench.pipeline.generate_base_images([other], bench.pipeline.order(), own=own)

    assert (made.status, again.status) == (Status.MADE, Status.REUSED)
    assert bench.make_base(actor).status is Status.REUSED
    assert bench.simulator.billed("runpod") == 1
