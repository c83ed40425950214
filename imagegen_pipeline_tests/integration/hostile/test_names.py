"""Names from files, databases, folders and callers: none of them leaves its folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imagegen_pipeline import DuomiImageGenerator
from imagegen_pipeline.app.base_image import BaseImageParams, generate_base_image
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import Outcome
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator

DESCRIPTION = "european 25 year old male with short brown hair"
NASTY = [
    "../escape",
    "../../escape",
    "../../../escape",
    "../../../../escape",
    "a/../../../escape",
    "/etc/escape",
    "//escape",
    "..\\..\\escape",
    "C:\\escape",
    "\\\\server\\escape",
    "~/escape",
    "$HOME/escape",
    "`id`; rm -rf escape",
    "%2e%2e%2fescape",
    "\uff0e\uff0e\uff0fescape",
    "\u2025\u2215escape",
    "..",
    ".",
    "...",
    ".hidden",
    ".imagegen",
    "-rf",
    "--output=escape",
    "CON",
    "nul.txt",
    "name.",
    "name. ",
    " name",
    "x" * 300,
    "\u65e5" * 150,
    "e\u0301" * 100,
    "a\u202egnp.exe",
    "two\nlines",
    "carriage\rreturn",
    "bell\x07\x1b[2J",
    "c1\x9b31m",
    "next\x85line\u2028\u2029",
    '<>:"|?*',
]
FOR_FILES = [name for name in NASTY if "/" not in name and len(name.encode()) < 250]


@pytest.fixture
def pipeline(project: Project) -> Iterator[Pipeline]:
    """The scratch project's pipeline, on the simulator."""
    with closing(project.pipeline()) as opened:
        yield opened


def make(pipeline: Pipeline, prompts: tuple[Prompt, ...]) -> list[Outcome]:
    """A small image for each prompt."""
    parameters = PromptParameters(image_size=SMALL)
    return list(pipeline.generate_images(prompts, parameters, pipeline.order()))


def check_nothing_left(project: Project, allowed: tuple[str, ...]) -> None:
    """Every file of the project is in the folder of its kind; none is outside."""
    strays = [
        str(path.relative_to(project.root))
        for path in project.root.rglob("*")
        if not path.is_dir() and not str(path.relative_to(project.root)).startswith(allowed)
    ]
    assert strays == []
    assert [path.name for path in project.root.parent.iterdir() if "escape" in path.name] == []
    for place in (Path("/"), Path("/etc"), Path.home()):
        assert not list(place.glob("*escape*"))


OWN = ("dagster.yaml", "workspace.yaml", "pyproject.toml", "workflows/", "data/prompt_json/")
RESULTS = (
    *("data/simulated/imagegen.db", "data/simulated/.imagegen/", "data/simulated/simulator"),
    "data/simulated/logs/",
)
PICTURES = "data/simulated/generated_images/"


def check_pictures(project: Project, outcomes: list[Outcome], number: int) -> None:
    """This many images, directly in their folder, each under an ordinary name."""
    folder = project.results / "generated_images"
    assert [outcome.reason for outcome in outcomes if not outcome.ok] == []
    paths = [Path(str(outcome.path)) for outcome in outcomes]
    assert len({path.resolve() for path in paths}) == number
    for path in paths:
        assert path.resolve().parent == folder.resolve()
        check_name(path.name)
    assert len(list(folder.glob("*.png"))) == number
    assert len(list((folder / ".imagegen").glob("*.json"))) == number


def check_name(name: str) -> None:
    """A valid file name, not hidden, without unsafe characters."""
    assert not name.startswith((".", "-"))
    assert not set(name) & set('/\\:*?"<>|')
    assert name.isprintable(), "no control characters, and none that turn the writing around"
    assert len(name.encode()) < 200
    assert name.endswith(".png")


def test_names_of_prompt_files_stay_in_their_folder(project: Project, pipeline: Pipeline) -> None:
    """Whatever a prompt's file is called, its image is in the image folder."""
    for number, name in enumerate(FOR_FILES):
        if name not in (".", "..", ".hidden", ".imagegen"):  # hidden files are no prompts
            project.write_json(name, f"a harbour, number {number}", pic_name=NASTY[number])
    found = pipeline.scan_prompts(database=False)
    outcomes = make(pipeline, found.prompts)
    check_pictures(project, outcomes, len(found.prompts))
    assert len(found.prompts) > 15
    check_nothing_left(project, (*OWN, *RESULTS, PICTURES))


def write_database(path: Path, rows: list[tuple[object, str, str]]) -> None:
    """The users' two tables: each row an image id, its names, and a prompt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE images (id, original_filename TEXT, descriptive_name TEXT)"
        )
        connection.execute("CREATE TABLE prompts (id, image_id, image_prompt TEXT)")
        for number, (image_id, original, descriptive) in enumerate(rows):
            connection.execute(
                "INSERT INTO images VALUES (?, ?, ?)", (image_id, original, descriptive)
            )
            prompt = f"a pier, number {number}"
            connection.execute("INSERT INTO prompts VALUES (?, ?, ?)", (number, image_id, prompt))


def test_names_in_the_database_stay_in_their_folder(project: Project, pipeline: Pipeline) -> None:
    """descriptive_name, original_filename and image_id may be anything; the image stays in its
    folder.
    """
    write_database(project.data / "llm_video_batch.db", [(name, name, name) for name in NASTY])
    found = pipeline.scan_prompts(json_files=False)
    assert len(found.prompts) == len(NASTY)
    check_pictures(project, make(pipeline, found.prompts), len(NASTY))
    check_nothing_left(project, (*OWN, *RESULTS, PICTURES, "data/llm_video_batch.db"))


def test_ids_in_the_database_are_keys_or_nothing(project: Project, pipeline: Pipeline) -> None:
    """A row whose id is a path is a problem, and nothing is bought."""
    path = project.data / "llm_video_batch.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE prompts (id, image_prompt TEXT)")
        for name in NASTY:
            connection.execute("INSERT INTO prompts VALUES (?, 'a pier')", (name,))
    found = pipeline.scan_prompts(json_files=False)
    odd = {prompt.row_id for prompt in found.prompts} - {"CON", "-rf"}
    assert all(set(str(name)) <= set("x") for name in odd)
    assert len(found.problems) >= len(NASTY) - 4


def test_names_of_actors_folders_stay_in_theirs(
    project: Project, pipeline: Pipeline, simulator: Simulator
) -> None:
    """A folder whose name is not a valid key is a problem; nothing is generated for it."""
    for name in FOR_FILES:
        if name not in (".", ".."):
            project.write_actor(name, description=DESCRIPTION)
    found = pipeline.scan_actors()
    assert {actor.name for actor in found.actors} == {"CON", "-rf"}
    outcomes = list(pipeline.generate_base_images(found.actors, pipeline.order()))
    for outcome in outcomes:
        home = project.results / "actors" / outcome.item_key / "base_image"
        assert Path(str(outcome.path)).resolve().parent == home.resolve()
    assert simulator.billed("runpod") == 2
    check_nothing_left(project, (*OWN, *RESULTS, "data/actors/", "data/simulated/actors/"))


@pytest.mark.parametrize("name", [name for name in NASTY if name not in ("CON", "-rf")])
def test_a_caller_cannot_name_an_actor_that_is_a_path(
    name: str, project: Project, pipeline: Pipeline, simulator: Simulator
) -> None:
    """It is refused as a bad request in the users' JSON form, before anything is written or
    bought.
    """
    for actor in (name, f"{name}\0", f"0100/{name}"):
        answer = generate_base_image(pipeline, BaseImageParams(actor, DESCRIPTION, 64, 96))
        assert (answer.status_code, answer.body["status"]) == (400, "FAILED")
    assert simulator.billed("runpod") == 0
    check_nothing_left(project, (*OWN, *RESULTS))


def test_the_command_line_cannot_either(live_project: Project, simulator: Simulator) -> None:
    """``imagegen base-image`` with a path for a name exits 2 and creates no folder."""
    for name in ("../../escape", "/etc/escape", "a\nb"):
        done = live_project.run("imagegen", "base-image", name, DESCRIPTION, check=False)
        assert done.returncode == 2
        assert "is not an actor's folder name" in done.stderr
    assert not (live_project.data / "actors").exists()
    assert simulator.billed("runpod") == 0
    check_nothing_left(live_project, (*OWN, "data/imagegen.db", "data/logs/", "data/.imagegen/"))


def test_a_prefix_that_is_a_path_stays_in_the_folder(project: Project) -> None:
    """``save_generated_image`` turns any prefix into a name directly in the image folder."""
    with closing(DuomiImageGenerator()) as generator:
        result = generator.generate_image("a lighthouse", image_size=SMALL)
        paths = [Path(str(generator.save_generated_image(result, name))) for name in NASTY]
        paths.append(Path(str(generator.save_generated_image(result, "a\0b"))))
    folder = (project.results / "generated_images").resolve()
    for path in paths:
        assert path.resolve().parent == folder
        check_name(path.name)
    assert len(set(paths)) == len(NASTY) + 1
    check_nothing_left(project, (*OWN, *RESULTS, PICTURES))


def test_a_results_log_of_any_name_overwrites_nothing(project: Project) -> None:
    """A log goes where the caller asks, beside an existing file, never over it."""
    precious = project.root / "precious.json"
    precious.write_text("[]")
    with closing(DuomiImageGenerator()) as generator:
        written = Path(generator.save_results_log([{"a": 1}], precious))
    assert precious.read_text() == "[]"
    assert written.parent == precious.parent


def test_a_link_in_the_place_of_a_picture_is_not_followed(
    project: Project, pipeline: Pipeline
) -> None:
    """A base image that is a link to another file is replaced; that file is unchanged."""
    precious = project.root / "precious.txt"
    precious.write_text("untouched")
    project.write_actor("0100_sailor", description=DESCRIPTION)
    home = project.results / "actors" / "0100_sailor" / "base_image"
    home.mkdir(parents=True)
    (home / "0100_sailor_base.png").symlink_to(precious)
    (outcome,) = pipeline.generate_base_images(pipeline.scan_actors().actors, pipeline.order())
    assert outcome.ok
    assert not (home / "0100_sailor_base.png").is_symlink()
    assert precious.read_text() == "untouched"
