"""The guides' Python class, on the simulator."""

import datetime as dt
import inspect
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline import DuomiImageGenerator
from imagegen_pipeline.domain.errors import MissingKeyError, SetupError, SourceError, StoreError
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator

TIME = r"\d{8}_\d{6}"
ROWS = [(1, 7, "a red kite"), (2, None, "a blue kite"), (3, 8, ""), (4, 8, "a red kite")]
IMAGES = [(7, "kite.png", "Red kite / noon"), (8, "other.png", None)]


def write_database(path: Path, rows: list[tuple[Any, ...]] = ROWS) -> None:
    """A users' database with these rows of prompts."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE images (id INTEGER PRIMARY KEY, original_filename TEXT,"
            " descriptive_name TEXT)"
        )
        database.execute(
            "CREATE TABLE prompts (id INTEGER PRIMARY KEY, image_id INTEGER, image_prompt TEXT)"
        )
        database.executemany("INSERT INTO images VALUES (?, ?, ?)", IMAGES)
        database.executemany("INSERT INTO prompts VALUES (?, ?, ?)", rows)


def small(generator: DuomiImageGenerator) -> DuomiImageGenerator:
    """The same generator, which makes small pictures."""
    generator.default_params["image_size"] = SMALL
    return generator


@pytest.fixture
def generator(project: Project) -> Iterator[DuomiImageGenerator]:
    """A generator of small pictures on the simulator."""
    made = small(DuomiImageGenerator())
    yield made
    made.close()


@pytest.fixture
def live_generator(live_project: Project) -> Iterator[DuomiImageGenerator]:
    """A generator of small pictures that believes the simulator to be Duomi."""
    made = small(DuomiImageGenerator())
    yield made
    made.close()


def test_a_success_has_the_users_fields(generator: DuomiImageGenerator, project: Project) -> None:
    """A result has the guides' fields, and its image is stored."""
    before = dt.datetime.now().replace(microsecond=0)  # noqa: DTZ005 - the users' times are local
    result = generator.generate_image("a lighthouse", seed=42)
    assert result["success"] is True
    assert result["prompt"] == "a lighthouse"
    assert result["source"] == "single_prompt"
    assert result["seed"] == 42
    assert result["status"] == "made"
    assert "error" not in result
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", result["timestamp"])
    assert dt.datetime.fromisoformat(result["timestamp"]) >= before
    path = Path(result["saved_path"])
    assert path.parent == project.results / "generated_images"
    assert re.fullmatch(rf"single_prompt_{TIME}\.png", path.name)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert result["data"]["images"] == [{"url": path.as_uri()}]
    assert result["data"]["seed"] == 42
    json.dumps(result)


def test_a_refusal_is_returned_not_raised(
    live_generator: DuomiImageGenerator, simulator: Simulator
) -> None:
    """A refusal by the provider returns success False with the guide's text and remedy."""
    simulator.fault(provider="duomi", operation="submit", fault="status", status=403)
    result = live_generator.generate_image("a lighthouse")
    assert result["success"] is False
    assert result["error"].startswith("API request failed with status 403: ")
    assert '{"code":30003,"message":"Model disabled.","data":null}' in result["error"]
    assert "imagegen models" in result["error"]
    assert result["error_kind"] == "account"
    assert result["data"] is None
    assert result["saved_path"] is None
    assert result["prompt"] == "a lighthouse"
    assert simulator.billed() == 0


def test_a_wrong_key_is_returned_with_its_remedy(live_project: Project) -> None:
    """A key that Duomi refuses gives the guide's text, which does not contain the key."""
    generator = small(DuomiImageGenerator("not-the-right-key"))
    result = generator.generate_image("a lighthouse")
    generator.close()
    assert result["error"].startswith("API request failed with status 401")
    assert "Verify that DUOMI_API_KEY is correct and has sufficient credits." in result["error"]
    assert "not-the-right-key" not in json.dumps(result)


def test_the_key_may_be_given(live_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key passed as an argument works without one in the environment."""
    key = os.environ["DUOMI_API_KEY"]
    monkeypatch.delenv("DUOMI_API_KEY")
    for generator in (DuomiImageGenerator(key), DuomiImageGenerator(api_key=key)):
        assert small(generator).generate_image("a lighthouse")["success"]
        generator.close()


def test_a_missing_key_names_its_variable(
    live_project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key nothing is sent, and the error names the variable and the simulator."""
    monkeypatch.delenv("DUOMI_API_KEY")
    generator = small(DuomiImageGenerator())
    with pytest.raises(MissingKeyError, match="DUOMI_API_KEY is not set") as raised:
        generator.generate_image("a lighthouse")
    generator.close()
    assert "IMAGEGEN_SIMULATOR=1" in raised.value.sentence
    assert simulator.stats()["duomi"]["accepted"] == 0


def test_the_key_is_in_no_repr(live_project: Project) -> None:
    """Neither repr nor str of a generator shows its key; they show its model."""
    generator = DuomiImageGenerator("hush-hush")
    shown = f"{generator!r} {generator} {vars(generator)!r} {vars(generator._pipeline)!r}"
    generator.close()
    assert "hush-hush" not in shown
    assert os.environ["DUOMI_API_KEY"] not in shown
    assert "stabilityai/stable-diffusion-xl-base-1.0" in repr(generator)


def test_the_defaults_are_the_guides(project: Project) -> None:
    """A new generator has the guide's model, size, batch, steps, guidance and seed."""
    generator = DuomiImageGenerator()
    generator.close()
    assert generator.default_params == {
        "model": "stabilityai/stable-diffusion-xl-base-1.0",
        "image_size": "1080x1920",
        "batch_size": 1,
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
        "seed": 51515151,
        "negative_prompt": "",
    }


def test_the_defaults_may_be_assigned(generator: DuomiImageGenerator, project: Project) -> None:
    """Parameters in default_params are sent unless a call overrides them."""
    generator.default_params["model"] = "black-forest-labs/FLUX.1-dev"
    generator.default_params["guidance_scale"] = 10.0
    generator.default_params["num_inference_steps"] = 30
    first = generator.generate_image("a lighthouse")
    second = generator.generate_image("a lighthouse", num_inference_steps=5, negative_prompt="fog")
    requests = [sent_request(result) for result in (first, second)]
    assert [r["model"] for r in requests] == ["black-forest-labs/FLUX.1-dev"] * 2
    assert [r["guidance"] for r in requests] == [10.0, 10.0]
    assert [r["steps"] for r in requests] == [30, 5]
    assert [r["negative_prompt"] for r in requests] == ["", "fog"]
    assert [(r["width"], r["height"]) for r in requests] == [(64, 64)] * 2
    assert generator.default_params["num_inference_steps"] == 30


def sent_request(result: dict[str, Any]) -> dict[str, Any]:
    """What was sent for a result, as the file beside its picture has it."""
    path = Path(result["saved_path"])
    sidecar = path.parent / ".imagegen" / f"{path.name}.json"
    request: dict[str, Any] = json.loads(sidecar.read_text())["request"]
    return request


def test_the_same_call_twice_bills_once(
    generator: DuomiImageGenerator, simulator: Simulator
) -> None:
    """The same call reuses the image at no cost; another seed generates another image."""
    first = generator.generate_image("a lighthouse")
    again = generator.generate_image("a lighthouse")
    assert again["status"] == "reused"
    assert again["cost"] == 0
    assert again["saved_path"] == first["saved_path"]
    assert simulator.billed() == 1
    other = generator.generate_image("a lighthouse", seed=7)
    assert other["saved_path"] != first["saved_path"]
    assert Path(first["saved_path"]).is_file()
    assert simulator.billed() == 2


def test_a_new_generator_reuses_images(project: Project, simulator: Simulator) -> None:
    """A later generator reuses the images of an earlier one."""
    paths = set()
    for _ in range(2):
        generator = small(DuomiImageGenerator())
        paths.add(generator.generate_image("a lighthouse")["saved_path"])
        generator.close()
    assert len(paths) == 1
    assert simulator.billed() == 1


def test_a_missing_image_is_generated_again(
    generator: DuomiImageGenerator, simulator: Simulator
) -> None:
    """An image whose file is missing is generated again."""
    first = generator.generate_image("a lighthouse")
    Path(first["saved_path"]).unlink()
    again = generator.generate_image("a lighthouse")
    assert again["status"] == "made"
    assert Path(again["saved_path"]).is_file()
    assert simulator.billed() == 2


def test_a_random_seed_is_returned_and_reused(
    generator: DuomiImageGenerator, simulator: Simulator
) -> None:
    """Seed -1 draws a seed, which the result contains; the same call reuses the image."""
    first = generator.generate_image("a lighthouse", seed=-1)
    assert 0 <= first["seed"] < 2**32
    assert generator.generate_image("a lighthouse", seed=-1)["seed"] == first["seed"]
    assert simulator.billed() == 1


def test_saving_gives_the_prefixed_name_and_downloads_nothing(
    generator: DuomiImageGenerator, project: Project, simulator: Simulator
) -> None:
    """save_generated_image writes the same bytes under prefix and time without a request."""
    result = generator.generate_image("a dragon over a castle")
    before = simulator.stats()
    saved = generator.save_generated_image(result, "dragon_castle")
    assert saved is not None
    assert Path(saved).parent == project.results / "generated_images"
    assert re.fullmatch(rf"dragon_castle_{TIME}\.png", Path(saved).name)
    assert Path(saved).read_bytes() == Path(result["saved_path"]).read_bytes()
    assert before["downloads"] == 1
    assert simulator.stats() == before


def test_a_taken_name_gets_a_number(
    generator: DuomiImageGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving under one name in one second gives _2 and _3, and overwrites nothing."""
    result = generator.generate_image("a dragon")
    monkeypatch.setattr("imagegen_pipeline.legacy.duomi_image_generator.file_time", lambda _: "T")
    names = [Path(generator.save_generated_image(result, "dragon") or "").name for _ in range(3)]
    assert names == ["dragon_T.png", "dragon_T_2.png", "dragon_T_3.png"]
    assert all((Path(result["saved_path"]).parent / name).is_file() for name in names)


def test_concurrent_saves_get_different_names(
    generator: DuomiImageGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that save under one name in one second get different names."""
    result = generator.generate_image("a dragon")
    monkeypatch.setattr("imagegen_pipeline.legacy.duomi_image_generator.file_time", lambda _: "T")
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: generator.save_generated_image(result, "d"), range(16)))
    assert len(set(paths)) == 16
    assert all(Path(path or "").is_file() for path in paths)


def test_an_unsafe_prefix_stays_in_the_folder(
    generator: DuomiImageGenerator, project: Project
) -> None:
    """A prefix with separators and blanks becomes a safe name in the images' folder."""
    result = generator.generate_image("a dragon")
    saved = Path(generator.save_generated_image(result, "../up here/x:y") or "")
    assert saved.parent == project.results / "generated_images"
    assert re.fullmatch(rf"_\._up_here_x_y_{TIME}\.png", saved.name)
    default = Path(generator.save_generated_image(result) or "")
    assert re.fullmatch(rf"generated_{TIME}\.png", default.name)


def test_a_failed_result_cannot_be_saved(generator: DuomiImageGenerator) -> None:
    """Saving a failed result returns None; saving a missing image raises an error with its path."""
    assert generator.save_generated_image({"success": False, "error": "no"}, "x") is None
    result = generator.generate_image("a dragon")
    Path(result["saved_path"]).unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        generator.save_generated_image(result, "x")


def test_prompts_of_the_database_have_the_users_fields(
    generator: DuomiImageGenerator, project: Project
) -> None:
    """The database's prompts have the columns of the users' query, in order, up to the limit."""
    write_database(project.data / "llm_video_batch.db")
    prompts = generator.get_prompts_from_database()
    assert [prompt["id"] for prompt in prompts] == [1, 2, 4]
    assert prompts[0] == {
        "id": 1,
        "image_id": 7,
        "prompt": "a red kite",
        "original_filename": "kite.png",
        "descriptive_name": "Red kite / noon",
    }
    assert prompts[1]["original_filename"] is None
    assert [p["id"] for p in generator.get_prompts_from_database(limit=2)] == [1, 2]
    assert generator.get_prompts_from_database(limit=0) == []


def test_a_missing_database_is_an_error_not_an_empty_list(
    generator: DuomiImageGenerator, project: Project
) -> None:
    """A missing database raises the guide's text; its traceback has the remedy."""
    for call in (generator.get_prompts_from_database, generator.batch_generate_from_database):
        with pytest.raises(SourceError, match="Failed to retrieve prompts from database") as raised:
            call()
        assert str(project.data / "llm_video_batch.db") in str(raised.value)
        assert any("correct permissions" in note for note in raised.value.__notes__)


def test_prompts_of_json_files_have_the_users_fields(
    generator: DuomiImageGenerator, project: Project
) -> None:
    """JSON prompts have file, text, image name and address, from any folder."""
    project.write_json("b", "a bee", pic_name="b.jpg", image_url="https://example.com/b.jpg")
    project.write_json("a", "an ant")
    assert generator.get_prompts_from_json_files() == [
        {"filename": "a.json", "prompt": "an ant", "pic_name": None, "image_url": None},
        {
            "filename": "b.json",
            "prompt": "a bee",
            "pic_name": "b.jpg",
            "image_url": "https://example.com/b.jpg",
        },
    ]
    other = project.root / "other"
    other.mkdir()
    (other / "c.json").write_text('{"image_prompt": "a cat"}')
    for folder in ("other", other):
        (prompt,) = generator.get_prompts_from_json_files(folder)
        assert prompt["prompt"] == "a cat"
    with pytest.raises(SourceError, match=r"folder"):
        generator.get_prompts_from_json_files(json_dir="nowhere")


def test_a_batch_of_the_database(
    generator: DuomiImageGenerator, project: Project, simulator: Simulator
) -> None:
    """A batch returns a result per row in order; equal prompts share one bill under two names."""
    write_database(project.data / "llm_video_batch.db")
    results = generator.batch_generate_from_database(delay=0)
    assert [result["source_id"] for result in results] == [1, 2, 4]
    assert [result["image_id"] for result in results] == [7, None, 8]
    assert {result["source"] for result in results} == {"database"}
    assert all(result["success"] for result in results)
    assert simulator.billed() == 2
    red, _, red_too = results
    assert sorted((red["status"], red_too["status"])) == ["made", "shared"]
    assert red_too["cost"] == 0 or red["cost"] == 0
    assert red["saved_path"] != red_too["saved_path"]
    assert Path(red["saved_path"]).read_bytes() == Path(red_too["saved_path"]).read_bytes()
    names = [Path(result["saved_path"]).name for result in results]
    assert re.fullmatch(rf"db_Red_kite_noon_{TIME}\.png", names[0])
    assert re.fullmatch(rf"db_2_{TIME}\.png", names[1])
    assert re.fullmatch(rf"db_4_{TIME}\.png", names[2])


def test_a_batch_is_limited_and_reused(
    generator: DuomiImageGenerator, project: Project, simulator: Simulator
) -> None:
    """The limit counts prompts in source order; a later batch buys only the rest."""
    write_database(project.data / "llm_video_batch.db")
    assert len(generator.batch_generate_from_database(limit=1, delay=0)) == 1
    assert simulator.billed() == 1
    results = generator.batch_generate_from_database(limit=2, delay=0)
    assert [result["status"] for result in results] == ["reused", "made"]
    assert simulator.billed() == 2


def test_a_batch_of_json_files(
    generator: DuomiImageGenerator, project: Project, simulator: Simulator
) -> None:
    """A batch of JSON files names images after them; an unreadable file fails alone."""
    project.write_json("Bee,_hive", "a bee")
    broken = project.write_json("broken", "x")
    broken.write_text("{")
    results = generator.batch_generate_from_json(delay=0)
    good, bad = results
    assert good["success"] is True
    assert good["source"] == "json"
    assert good["source_file"] == "Bee,_hive.json"
    assert re.fullmatch(rf"Bee,_hive_{TIME}\.png", Path(good["saved_path"]).name)
    assert bad["success"] is False
    assert bad["status"] == "unreadable"
    assert bad["source_file"] == str(broken)
    assert bad["error"].startswith(str(broken))
    assert simulator.billed() == 1


def test_one_failure_does_not_affect_the_others(
    live_generator: DuomiImageGenerator, live_project: Project, simulator: Simulator
) -> None:
    """If one request of a batch is refused, its result has the reason and the others succeed."""
    live_project.write_json("ant", "an ant")
    live_project.write_json("bee", "a bee")
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match="an ant", body="no"
    )
    ant, bee = live_generator.batch_generate_from_json(delay=0)
    assert ant["error"].startswith("API request failed with status 400: no.")
    assert ant["source_file"] == "ant.json"
    assert bee["success"] is True


def test_the_delay_applies_between_submits_only(
    generator: DuomiImageGenerator, project: Project
) -> None:
    """Submits are at least the delay apart, and reused images do not wait."""
    for name in ("ant", "bee", "cat"):
        project.write_json(name, f"a picture of a {name}")
    start = time.monotonic()
    assert all(r["success"] for r in generator.batch_generate_from_json(delay=0.3))
    assert time.monotonic() - start >= 0.6
    # A delay before reused images would keep the batch for two hours.
    results = generator.batch_generate_from_json(delay=3600)
    assert {result["status"] for result in results} == {"reused"}


def test_the_default_delay_is_a_second() -> None:
    """Both batch methods have a default delay of one second between submits."""
    for method in (
        DuomiImageGenerator.batch_generate_from_database,
        DuomiImageGenerator.batch_generate_from_json,
    ):
        assert inspect.signature(method).parameters["delay"].default == 1.0


def test_results_are_logged_as_json(generator: DuomiImageGenerator, project: Project) -> None:
    """save_results_log writes to the log folder or the given path, without overwriting."""
    results = [generator.generate_image("a lighthouse in Ærø")]
    path = Path(generator.save_results_log(results))
    assert path.parent == project.results / "logs"
    assert re.fullmatch(rf"duomi_generation_results_{TIME}\.json", path.name)
    assert json.loads(path.read_text("utf-8")) == results
    assert "Ærø" in path.read_text("utf-8")
    first = generator.save_results_log(results, "mine.json")
    second = generator.save_results_log([], output_file="mine.json")
    assert (Path(first).name, Path(second).name) == ("mine.json", "mine_2.json")
    assert json.loads((project.root / "mine.json").read_text("utf-8")) == results


def test_results_are_in_the_text_log(
    live_generator: DuomiImageGenerator, live_project: Project, simulator: Simulator
) -> None:
    """The text log has a line with a time for each image and each failure, and no key."""
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match="an ant", body="no"
    )
    made = live_generator.generate_image("a lighthouse")
    live_generator.generate_image("an ant")
    log = (live_project.data / "logs" / "duomi_image_generation.log").read_text("utf-8")
    good, bad = log.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - INFO - ", good)
    assert made["saved_path"] in good
    assert " - ERROR - " in bad
    assert "API request failed with status 400" in bad
    assert os.environ["DUOMI_API_KEY"] not in log


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"size": "64x64"}, "Unknown parameters: size."),
        ({"batch_size": 4}, "batch_size is 1"),
        ({"guidance_scale": "high"}, "guidance_scale is 'high', not a number."),
        ({"num_inference_steps": "20"}, "num_inference_steps is '20', not a whole number."),
        ({"seed": 1.5}, "seed is 1.5, not a whole number."),
        ({"seed": None}, "seed is None, not a whole number."),
        ({"seed": True}, "seed is True, not a whole number."),
        ({"image_size": (64, 64)}, "image_size is (64, 64), not a text."),
        ({"model": None}, "model is None, not a text."),
    ],
)
def test_bad_parameters_are_named(
    generator: DuomiImageGenerator,
    simulator: Simulator,
    parameters: dict[str, Any],
    message: str,
) -> None:
    """An unknown parameter, or one of the wrong type, is named and not sent."""
    with pytest.raises(SetupError, match=re.escape(message)) as raised:
        generator.generate_image("a lighthouse", **parameters)
    assert raised.value.__notes__ == [raised.value.remedy]
    assert simulator.stats()["duomi"]["accepted"] == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"image_size": "big"}, "'big' is not a size. Write WIDTHxHEIGHT"),
        ({"num_inference_steps": 0}, "Steps are 1 to 100 at Duomi, not 0."),
        ({"guidance_scale": 30.0}, "Guidance is 0 to 20 at Duomi, not 30."),
        ({"guidance_scale": float("nan")}, "Guidance is 0 to 20 at Duomi, not nan."),
        ({"seed": 10**10}, "Seeds are 0 to 9999999999 at Duomi"),
    ],
)
def test_values_that_duomi_refuses_are_failures(
    generator: DuomiImageGenerator,
    simulator: Simulator,
    parameters: dict[str, Any],
    message: str,
) -> None:
    """A value out of Duomi's range is a failed result that says the range; nothing is sent."""
    result = generator.generate_image("a lighthouse", **parameters)
    assert result["success"] is False
    assert message in result["error"]
    assert simulator.stats()["duomi"]["accepted"] == 0


def test_a_blank_prompt_is_a_failure(generator: DuomiImageGenerator) -> None:
    """A blank prompt returns a failed result; a prompt that is not a text raises."""
    result = generator.generate_image("  ")
    assert result["success"] is False
    assert "blank" in result["error"]
    with pytest.raises(SetupError, match="The prompt is None, not a text"):
        generator.generate_image(None)


@pytest.mark.parametrize("limit", [-1, 1.5, "3"])
def test_a_bad_limit_is_named(generator: DuomiImageGenerator, project: Project, limit: Any) -> None:
    """A limit that is not a count is refused."""
    write_database(project.data / "llm_video_batch.db")
    with pytest.raises(SetupError, match="limit is"):
        generator.get_prompts_from_database(limit)
    with pytest.raises(SetupError, match="limit is"):
        generator.batch_generate_from_database(limit=limit, delay=0)
