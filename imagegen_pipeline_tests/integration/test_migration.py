"""``docs/migration.md``: it names everything of the users' two guides, and what it shows runs."""

import base64
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from imagegen_pipeline.app.base_image import BaseImageParams
from imagegen_pipeline.cli import imagegen
from imagegen_pipeline.domain.actors import base_image_prompt
from imagegen_pipeline_tests.conftest import ROOT, SHARED, SMALL, Project, Simulator
from imagegen_pipeline_tests.integration.legacy.test_duomi_image_generator import write_database

DOC = ROOT / "docs" / "migration.md"
TEXT = DOC.read_text(encoding="utf-8")
GUIDES = sorted((SHARED / "guides").glob("*-generation.md"))
needs_guides = pytest.mark.skipif(not GUIDES, reason="the users' guides are not here")
ACTOR = "0100_european_25_male"
DESCRIPTION = "european 25 year old male with short brown hair"
TIME = r"\d{8}_\d{6}"

FLAGS = ["--source", "--limit", "--delay", "--input-dir", "--prompt", "--api-key"]
VARIABLES = [
    "DUOMI_API_KEY",
    "DUOMI_BASE_URL",
    "RUNPOD_API_KEY",
    "RUNPOD_SERVER_100_ID",
    "IMAGEGEN_OUTPUT_DIR",
    "IMAGEGEN_PROMPT_JSON_DIR",
    "IMAGEGEN_LOG_DIR",
    "IMAGEGEN_PROMPT_DB",
    "IMAGEGEN_SIMULATOR",
]
PATHS = [
    "/workspaces/llm-video-batch/",
    "scripts/duomi_image_generator.py",
    "scripts/duomi_usage_examples.py",
    "scripts/test_duomi_models.py",
    "scripts/generate_base_image.py",
    "data/llm_video_batch.db",
    "out/prompt_json/",
    "out/generated_images/",
    "data/prompt_json/",
    "data/generated_images/",
    "data/logs/",
    "logs/duomi_image_generation.log",
    "logs/duomi_generation_results_{timestamp}.json",
    "db_{id}_{timestamp}.png",
    "db_{descriptive_name}_{timestamp}.png",
    "{filename}_{timestamp}.png",
    "single_prompt_{timestamp}.png",
    "single_prompt_{timestamp}_2.png",
    "path/to/json/files",
    "out/generated_images/example.png",
    "https://duomiapi.com/v1/images/generations",
    "/api/generate-base-image",
    "/data/actors/{actorName}/base_image/{actorName}_base.png",
    f"/data/actors/{ACTOR}/base_image/{ACTOR}_base.png",
    "normal_image_v4_workflow.json",
    "/ui/config/routes/base-image-api.ts",
    "/ui/config/server-plugin.ts",
    "/docs/BASE_IMAGE_GENERATION.md",
    "/data/actors/.gitignore",
    "TRAINING_DATA_GENERATION.md",
    "LORA_TRAINING.md",
    "workflows/README.md",
]
DEFAULTS = [
    "stabilityai/stable-diffusion-xl-base-1.0",
    "1080x1920",
    "51515151",
    "7.5",
    "flux1-dev-fp8",
    "euler",
    "1024x1536",
    "1360x768",
    "3.5",
]
ERRORS = [
    "API request failed with status 403",
    '{"code":30003,"message":"Model disabled.","data":null}',
    "Request exception: HTTPSConnectionPool",
    "Failed to retrieve prompts from database",
    "Missing required fields: actorName and description are required",
    "RunPod error: ",
    "No response from RunPod: ",
    "Generation failed: ",
]
METHODS = [
    "__init__(api_key)",
    "generate_image(prompt, **kwargs)",
    "save_generated_image(result, filename_prefix)",
    "get_prompts_from_database(limit)",
    "get_prompts_from_json_files(json_dir)",
    "batch_generate_from_database(limit, delay)",
    "batch_generate_from_json(json_dir, delay)",
    "save_results_log(results, output_file)",
]
FIELDS = [
    *("success", "data", "prompt", "timestamp", "source", "saved_path", "error"),
    *("image_prompt", "pic_name", "image_url", "video_prompt", "refined_video_prompt"),
    *("original_filename", "descriptive_name", "image_id"),
    *("actorName", "description", "width", "height", "steps", "seed"),
    *("status", "output", "job_results", "images", "localPath", "filename", "metadata"),
    *("actor_name", "model", "image_size", "num_inference_steps", "guidance_scale"),
]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[str]:
    """The commands of a shell block, each as one line, without comments."""
    joined = block.replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in joined.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def run_shell(project: Project, block: str) -> subprocess.CompletedProcess[str]:
    """Run a shell block to its first failure, as a person with the environment activated."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=project.root,
        env={**os.environ, **project.environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def run_python(project: Project, source: str) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own."""
    return project.run("python", "-W", "error", "-c", source)


@pytest.fixture
def live(live_project: Project) -> Project:
    """A project as users have it: a database, JSON files in two places, and an actor."""
    write_database(live_project.data / "llm_video_batch.db", [(1, 7, "a red kite")])
    live_project.write_json("Tea_house", "a tea house", pic_name="t.png", video_prompt="steam")
    other = live_project.root / "path" / "to" / "json" / "files"
    other.mkdir(parents=True)
    (other / "Cable_car.json").write_text('{"image_prompt": "a cable car"}')
    live_project.write_actor(ACTOR, description=DESCRIPTION, width=1024, height=1536)
    return live_project


def test_every_shell_block_runs(live: Project, simulator: Simulator) -> None:
    """The page's commands, in order, all succeed, put everything where it says and pay once."""
    for block in blocks(TEXT, "bash"):
        done = run_shell(live, block)
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    names = sorted(path.name for path in (live.data / "generated_images").glob("*.png"))
    for pattern in ("db_Red_kite_noon", "Tea_house", "Cable_car", "single_prompt"):
        assert any(re.fullmatch(rf"{pattern}_{TIME}(_\d)?\.png", name) for name in names), pattern
    # one of each: the row, two files, three texts, the first model that answers
    assert len(names) == 7
    assert simulator.billed("duomi") == 7
    assert simulator.billed("runpod") == 1
    assert (live.data / "actors" / ACTOR / "base_image" / f"{ACTOR}_base.png").is_file()
    assert (live.data / "logs" / "duomi_image_generation.log").is_file()
    logs = list((live.data / "logs").glob("duomi_generation_results_*.json"))
    runs = sum(c.startswith("imagegen generate") for b in blocks(TEXT, "bash") for c in commands(b))
    assert len(logs) == runs - 1  # all but the dry run


def test_every_python_block_runs(live: Project) -> None:
    """The page's Python blocks, in order in one interpreter, make what they say they make."""
    done = run_python(live, "\n".join(blocks(TEXT, "python")))
    assert re.search(rf"Image saved to: .*/dragon_castle_{TIME}\.png", done.stdout)
    assert "Generated 1/1 images" in done.stdout
    assert re.search(rf"^42 .*/single_prompt_{TIME}(_\d)?\.png$", done.stdout, re.MULTILINE)
    assert "1 pictures" in done.stdout
    assert "Failed" not in done.stdout
    assert "Tea_house.json a tea house" in done.stdout
    assert re.search(rf"/data/logs/duomi_generation_results_{TIME}\.json$", done.stdout.strip())
    assert list((live.data / "generated_images").glob("custom_1_*.png"))


def test_the_old_folders_can_be_had_back(live_project: Project) -> None:
    """With the page's four lines in .env, prompts, pictures and logs are where they used to be."""
    root = live_project.root
    (settings,) = blocks(TEXT, "ini")
    (root / ".env").write_text(settings)
    (root / "out").mkdir()
    live_project.write_json("Tea_house", "a tea house")
    (live_project.data / "prompt_json").rename(root / "out" / "prompt_json")
    write_database(live_project.data / "llm_video_batch.db", [(1, 7, "a red kite")])
    done = run_python(
        live_project,
        f"""
from imagegen_pipeline import DuomiImageGenerator
generator = DuomiImageGenerator()
generator.default_params["image_size"] = "{SMALL}"
results = generator.batch_generate_from_json(delay=0)
results += generator.batch_generate_from_database(delay=0)
print(generator.save_results_log(results))
generator.close()
""",
    )
    names = [path.name for path in sorted((root / "out" / "generated_images").glob("*.png"))]
    assert [re.sub(TIME, "T", name) for name in names] == [
        "Tea_house_T.png",
        "db_Red_kite_noon_T.png",
    ]
    assert Path(done.stdout.strip()).parent == root / "logs"
    assert (root / "logs" / "duomi_image_generation.log").is_file()
    assert not (live_project.data / "generated_images").exists()


@pytest.mark.parametrize(
    "wanted", [*FLAGS, *VARIABLES, *PATHS, *DEFAULTS, *ERRORS, *(f"`{m}`" for m in METHODS)]
)
def test_the_page_names(wanted: str) -> None:
    """Each flag, variable, path, default, error text and method of the guides is on the page."""
    assert wanted in TEXT


@pytest.mark.parametrize("field", FIELDS)
def test_the_page_names_the_field(field: str) -> None:
    """Each field of the guides' results, sources, requests and answers is on the page."""
    assert f"`{field}`" in TEXT


@needs_guides
@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_nothing_of_a_guide_is_missing(guide: Path) -> None:
    """Each flag, variable, method, command and code-styled word of a guide is on the page."""
    text = guide.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    wanted = {
        *re.findall(r"(?<![\w-])--[a-z][a-z-]*", text),
        *re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", text),
        *re.findall(r"\bgenerator\.(\w+)", text),
        *re.findall(r"`(\w+\([^`]*\))`", text),
        *(word for word in re.findall(r"`([^`\n]+)`", prose) if "struck out" not in word),
        *(command for command in old_commands(text) if "\\" not in command),
    }
    assert len(wanted) > 20
    assert sorted(word for word in wanted if word not in TEXT) == []


def old_commands(text: str) -> list[str]:
    """The guide's commands of one line; the one of several stands in the page's block."""
    found = [command for block in blocks(text, "bash") for command in commands(block)]
    return [c for c in found if c.startswith("python") and ACTOR not in c]


@needs_guides
def test_every_command_of_the_guides_has_its_new_form_tried() -> None:
    """Each command line of the guides, its script replaced, is in a block that the tests run."""
    tried = [shlex.split(c) for block in blocks(TEXT, "bash") for c in commands(block)]
    replaced = {
        "scripts/duomi_image_generator.py": ["imagegen", "generate"],
        "scripts/test_duomi_models.py": ["imagegen", "models", "--yes"],
        "scripts/generate_base_image.py": ["imagegen", "base-image"],
    }
    text = "".join(guide.read_text(encoding="utf-8") for guide in GUIDES)
    old = [c for block in blocks(text, "bash") for c in commands(block) if c.startswith("python")]
    assert len(old) == 12
    for command in old:
        if "<actor_name>" in command:
            continue
        _, script, *arguments = shlex.split(command)
        arguments = ["$DUOMI_API_KEY" if a == "your_api_key_here" else a for a in arguments]
        assert [*replaced[script], *arguments] in tried, command


@needs_guides
def test_the_guides_snippets_run_with_the_new_import(live: Project) -> None:
    """The guide's own Python, unchanged but for the import line, runs in one interpreter."""
    text = next(guide for guide in GUIDES if "duomi" in guide.stem).read_text(encoding="utf-8")
    source = "\n".join(blocks(text, "python"))
    old, new = (
        f"from {place} import DuomiImageGenerator"
        for place in ("scripts.duomi_image_generator", "imagegen_pipeline")
    )
    assert source.count(old) == 1
    done = run_python(live, source.replace(old, new) + "\ngenerator.close()\n")
    assert "Image saved to: " in done.stdout
    assert "Generated 1/1 images" in done.stdout
    # its last snippet works with a model of no real name, and says so
    assert (
        "Failed to generate image for prompt 1: API request failed with status 400" in done.stdout
    )


@needs_guides
def test_the_prompt_template_is_the_guides() -> None:
    """The base image's prompt is the guide's nine lines with the description put in."""
    text = next(guide for guide in GUIDES if "base" in guide.stem).read_text(encoding="utf-8")
    template = text.partition("### Prompt Template")[2].split("```")[1].strip()
    assert len(template.splitlines()) == 9
    assert base_image_prompt("a tall man") == template.replace("{description}", "a tall man")


def test_every_command_on_the_page_is_one() -> None:
    """Each ``imagegen`` command that the page names in passing exists, with each of its flags."""
    named = re.findall(r"`imagegen ([a-z-]+)([^`]*)`", TEXT)
    assert len(named) > 20
    for name, rest in named:
        known = {option for p in imagegen.commands[name].params for option in p.opts}
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest)) <= known, (name, rest)
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT))
    assert flags <= {
        option
        for command in imagegen.commands.values()
        for p in command.params
        for option in p.opts
    }


# The guides' error texts, each from the fault that brings it about.


def invoke(*arguments: str) -> Result:
    """A command within this process."""
    return CliRunner().invoke(imagegen, arguments)


def base_image_answer(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code of ``imagegen base-image`` and the JSON that it prints."""
    result = invoke("base-image", *arguments)
    return result.exit_code, json.loads(result.stdout)


def test_status_403_is_said_with_its_remedy(live_project: Project, simulator: Simulator) -> None:
    """A 403 gives the guide's text, Duomi's words and the remedy, on stderr and in both logs."""
    simulator.fault(provider="duomi", operation="submit", fault="status", status=403)
    done = live_project.run(
        *("imagegen", "generate", "--source", "prompt", "--prompt", "x", "--image-size", SMALL),
        check=False,
    )
    assert done.returncode == 1
    message = (
        'API request failed with status 403: {"code":30003,"message":"Model disabled.",'
        '"data":null}.'
    )
    assert message in done.stderr
    assert "`imagegen models`" in done.stderr
    logs = live_project.data / "logs"
    assert message in (logs / "duomi_image_generation.log").read_text()
    (results,) = logs.glob("duomi_generation_results_*.json")
    assert json.loads(results.read_text())[0]["error"].startswith(message)


def test_a_timeout_is_a_request_exception(
    live_project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer in IMAGEGEN_TIMEOUT_READ seconds gives the guide's text, sent twice at the most."""
    monkeypatch.setenv("IMAGEGEN_TIMEOUT_READ", "0.2")
    simulator.fault(provider="duomi", operation="submit", fault="hang", times=-1)
    result = generate_one("a lighthouse")
    assert re.match(r"Request exception: HTTPConnectionPool\(.*Read timed out", result["error"])
    assert result["status"] == "held"
    assert simulator.stats()["requests"]["POST /duomi/v1/images/generations"] == 2


def generate_one(prompt: str) -> dict[str, Any]:
    """A small picture through the Python class."""
    from imagegen_pipeline import DuomiImageGenerator

    generator = DuomiImageGenerator()
    result = generator.generate_image(prompt, image_size=SMALL)
    generator.close()
    return result


def test_a_rate_limit_is_waited_out(live_project: Project, simulator: Simulator) -> None:
    """A 429 is sent again after a pause and costs one picture."""
    simulator.fault(provider="duomi", operation="submit", fault="status", status=429)
    assert generate_one("a lighthouse")["success"] is True
    assert simulator.billed() == 1


def test_a_missing_database_is_said_with_its_remedy(project: Project) -> None:
    """Without the database the command says the guide's text, the path and what to set; exit 2."""
    done = project.run("imagegen", "generate", "--source", "sqlite", check=False)
    assert done.returncode == 2
    assert "Failed to retrieve prompts from database" in done.stderr
    assert str(project.data / "llm_video_batch.db") in done.stderr
    assert "IMAGEGEN_PROMPT_DB" in done.stderr


def test_a_missing_table_is_said(project: Project) -> None:
    """A database without the table prompts gives the guide's text and names the table."""
    (project.data / "llm_video_batch.db").touch()
    result = invoke("generate", "--source", "sqlite")
    assert result.exit_code == 2
    assert "Failed to retrieve prompts from database" in result.stderr
    assert "no table prompts" in result.stderr


def test_missing_keys_are_named(
    live_project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live run without its key or endpoint says which variable, exit 2, and writes no actor."""
    for name in ("DUOMI_API_KEY", "RUNPOD_SERVER_100_ID", "RUNPOD_API_KEY"):
        monkeypatch.delenv(name)
        command: tuple[str, ...] = ("generate", "--source", "prompt", "--prompt", "x")
        if name.startswith("RUNPOD"):
            command = ("base-image", ACTOR, DESCRIPTION)
        without = {k: v for k, v in live_project.environment.items() if k != name}
        done = Project(live_project.root, without).run("imagegen", *command, check=False)
        assert done.returncode == 2
        assert f"{name} is not set." in done.stderr
        assert "IMAGEGEN_SIMULATOR=1" in done.stderr
        monkeypatch.setenv(name, live_project.environment[name])
    assert not (live_project.data / "actors" / ACTOR).exists()
    assert simulator.stats()["duomi"]["accepted"] == 0


@pytest.mark.parametrize("fields", [("", DESCRIPTION), (ACTOR, "  "), ("", "")])
def test_missing_fields_are_said(project: Project, fields: tuple[str, str]) -> None:
    """A base image without actor or description is refused with the guide's text, exit 2."""
    code, answer = base_image_answer(*fields)
    assert code == 2
    assert answer["status"] == "FAILED"
    assert answer["error"] == "Missing required fields: actorName and description are required"


@pytest.mark.parametrize(
    ("fault", "message", "remedy"),
    [
        (
            {"operation": "submit", "fault": "status", "status": 401},
            "RunPod error: RunPod answered with status 401",
            "RUNPOD_API_KEY",
        ),
        (
            {"operation": "submit", "fault": "hang", "times": -1},
            "No response from RunPod: Request exception: ",
            "RUNPOD_SERVER_100_ID",
        ),
        (
            {"operation": "submit", "fault": "job_failed", "error": "out of memory"},
            "Generation failed: RunPod's job ",
            "simplify the description",
        ),
    ],
    ids=["refused", "silent", "failed"],
)
def test_runpods_failures_are_said(
    live_project: Project,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
    message: str,
    remedy: str,
) -> None:
    """Each way in which RunPod fails gives its text and remedy in the guide's form, exit 1."""
    monkeypatch.setenv("IMAGEGEN_TIMEOUT_READ", "0.3" if "hang" in fault.values() else "60")
    simulator.fault(provider="runpod", **fault)
    code, answer = base_image_answer(ACTOR, DESCRIPTION, "64", "96", "5", "-1")
    assert code == 1
    assert answer["status"] == "FAILED"
    assert answer["error"].startswith(message)
    assert remedy in answer["error"]
    if fault["fault"] == "job_failed":
        assert "out of memory" in answer["error"]
    sentences = re.split(r"(?<=\.) ", answer["error"])
    assert len(sentences) == len(set(sentences))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("../up", DESCRIPTION), "not an actor's folder name"),
        ((ACTOR, DESCRIPTION, "1001", "1536"), "multiple of 16"),
        ((ACTOR, DESCRIPTION, "64", "96", "0"), "steps are 1 to"),
        ((ACTOR, DESCRIPTION, "64", "96", "5", "-2"), "seed is -1 (random)"),
    ],
)
def test_a_bad_base_image_leaves_nothing_behind(
    live_project: Project, simulator: Simulator, arguments: tuple[str, ...], message: str
) -> None:
    """A name, size, step count or seed that cannot be is refused, exit 2, and writes no actor."""
    code, answer = base_image_answer(*arguments)
    assert code == 2
    assert message in answer["error"]
    assert not list(live_project.data.glob("actors/*"))
    assert simulator.stats()["runpod"]["accepted"] == 0


def test_a_base_image_answers_in_the_guides_form(
    live_project: Project, simulator: Simulator
) -> None:
    """The answer has the guide's fields; the picture, its history and the actor lie as said."""
    size = ("64", "96", "5")
    code, first = base_image_answer(ACTOR, f"{DESCRIPTION} ", *size, "-1")
    assert code == 0
    assert first["status"] == "COMPLETED"
    assert first["localPath"] == f"/data/actors/{ACTOR}/base_image/{ACTOR}_base.png"
    assert first["filename"] == f"{ACTOR}_base.png"
    assert first["seed"] >= 0
    assert first["warnings"] == []
    assert first["metadata"] == {
        "actor_name": ACTOR,
        "description": f"{DESCRIPTION} ",
        "width": 64,
        "height": 96,
        "steps": 5,
        "prompt": base_image_prompt(DESCRIPTION),
    }
    picture = live_project.root / first["localPath"].lstrip("/")
    (image,) = first["output"]["job_results"]["images"]
    assert base64.b64decode(image) == picture.read_bytes()
    actor = json.loads((live_project.data / "actors" / ACTOR / "actor.json").read_text())
    assert actor["description"] == DESCRIPTION
    _, again = base_image_answer(ACTOR, DESCRIPTION, *size, "-1")
    assert again["seed"] == first["seed"]
    assert simulator.billed("runpod") == 1
    _, other = base_image_answer(ACTOR, DESCRIPTION, *size, "7")
    assert other["seed"] == 7
    assert simulator.billed("runpod") == 2
    assert base64.b64decode(image) != picture.read_bytes()
    history = [path.read_bytes() for path in (picture.parent / "history").glob("*.png")]
    assert base64.b64decode(image) in history


def test_the_guidelines_are_warnings() -> None:
    """The guide's good descriptions give no warning, its bad ones the page's, its wide size one."""
    rows = re.findall(r'^\| `"(.+?)"`.*? \| (.*?) \|$', TEXT, flags=re.MULTILINE)
    assert len(rows) == 7
    for description, message in rows:
        warnings = BaseImageParams(ACTOR, description).warnings
        if message == "no warning":
            assert warnings == []
        else:
            assert warnings[0].startswith(message.split("`")[1])
    (warning,) = BaseImageParams(ACTOR, DESCRIPTION, 1360, 768).warnings
    assert "may cut off feet" in warning


def test_the_workflow_is_the_guides(project: Project) -> None:
    """The workflow has the guide's model, sampler, scheduler and guidance, and no LoRA."""
    pipeline = project.pipeline()
    workflow = pipeline.workflow
    assert workflow.guidance == 3.5
    assert workflow.sampler == "euler"
    assert workflow.scheduler == "simple"
    graph = pipeline.settings.workflow_file.read_text(encoding="utf-8")
    assert "flux1-dev-fp8" in graph
    assert "lora" not in graph.lower()
    pipeline.close()


def test_simulated_work_stays_below_its_folder(project: Project) -> None:
    """With the simulator on, the old folders' settings move nothing out of data/simulated."""
    project.write_json("Tea_house", "a tea house")
    more = {"IMAGEGEN_OUTPUT_DIR": "out/generated_images", "IMAGEGEN_LOG_DIR": "logs"}
    command = ("imagegen", "generate", "--source", "json", "--image-size", SMALL)
    done = project.run(*command, **more)
    assert "nothing was bought" in done.stdout
    assert len(list((project.results / "generated_images").glob("Tea_house_*.png"))) == 1
    assert (project.results / "logs" / "duomi_image_generation.log").is_file()
    assert not (project.root / "out").exists()
    assert not (project.root / "logs").exists()
