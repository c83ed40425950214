"""The samples under data/: whole, in the users' form, and what git sees beside them."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline.domain.actors import Actor, description_warnings
from imagegen_pipeline.domain.comfy.workflow import check_size
from imagegen_pipeline.domain.partition_keys import is_key, json_key
from imagegen_pipeline_tests.conftest import ROOT

DATA = ROOT / "data"
PROMPT_FILES = sorted((DATA / "prompt_json").glob("*.json"))
ACTOR_FILES = sorted((DATA / "actors").glob("*/actor.json"))
USERS_QUERY = """
SELECT p.id, p.image_id, p.image_prompt, i.original_filename, i.descriptive_name
FROM prompts p LEFT JOIN images i ON p.image_id = i.id
WHERE p.image_prompt IS NOT NULL AND p.image_prompt != ''
ORDER BY p.id
"""


def read_only(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True))


def facts(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def make_samples(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DATA / "make_samples.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_users_query_finds_a_dozen_prompts() -> None:
    """The users' own query runs on the sample database and gives a dozen prompts with images."""
    with read_only(DATA / "llm_video_batch.db") as database:
        rows = database.execute(USERS_QUERY).fetchall()
        assert database.execute("SELECT count(*) FROM videos").fetchone() == (0,)
    assert len(rows) == 12
    assert all(text.strip() and filename for _, _, text, filename, _ in rows)
    assert len({text for _, _, text, _, _ in rows}) == 12
    assert [name for *_, name in rows].count(None) == 1


def test_the_prompt_files_have_the_users_form() -> None:
    """Every prompt file names its picture and video after itself, and holds a prompt."""
    assert len(PROMPT_FILES) == 12
    for path in PROMPT_FILES:
        fields = facts(path)
        assert fields["pic_name"] == f"{path.stem}.png"
        assert fields["video_name"] == f"{path.stem}.mp4"
        assert fields["image_prompt"].strip()
        assert fields["video_prompt"].strip()
    assert len({json_key(path.stem) for path in PROMPT_FILES}) == 12


def test_the_prompt_files_cover_what_users_have() -> None:
    """Names hold a comma, brackets and an apostrophe; texts other scripts and several lines."""
    names = "".join(path.name for path in PROMPT_FILES)
    assert set(",()'") <= set(names)
    texts = [facts(path)["image_prompt"] for path in PROMPT_FILES]
    assert any(not text.isascii() for text in texts)
    assert any("\n" in text for text in texts)
    with_url = ["image_url" in facts(path) for path in PROMPT_FILES]
    assert any(with_url)
    assert not all(with_url)


def test_the_actors_are_adults_described_as_the_guide_asks() -> None:
    """Each actor can be made as it stands: key, adult age, legal size, and no warning."""
    actors = [Actor(name=path.parent.name, **facts(path)) for path in ACTOR_FILES]
    assert len(actors) == 3
    for actor in actors:
        assert is_key(actor.name)
        age = re.search(r"(\d+) year old (male|female)", actor.description)
        assert age is not None
        assert int(age[1]) >= 25
        assert actor.name.endswith(f"_{age[1]}_{age[2]}")
        assert description_warnings(actor.description) == []
        check_size(actor.width, actor.height)
    assert any("width" in facts(path) and "steps" in facts(path) for path in ACTOR_FILES)
    assert any("seed" in facts(path) for path in ACTOR_FILES)


def test_the_script_makes_exactly_these_samples(tmp_path: Path) -> None:
    """A fresh run of the script gives the committed files, byte for byte, and the same rows."""
    assert make_samples("--into", str(tmp_path)).returncode == 0
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert made == {
        path.relative_to(DATA): path.read_bytes() for path in PROMPT_FILES + ACTOR_FILES
    }
    with (
        read_only(tmp_path / "llm_video_batch.db") as fresh,
        read_only(DATA / "llm_video_batch.db") as committed,
    ):
        assert list(fresh.iterdump()) == list(committed.iterdump())


def test_the_script_overwrites_only_when_forced(tmp_path: Path) -> None:
    """A database that is there stays as it is, exit 2, until --force is given."""
    database = tmp_path / "llm_video_batch.db"
    database.write_bytes(b"somebody's work")
    refused = make_samples("--into", str(tmp_path))
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["llm_video_batch.db"]
    assert database.read_bytes() == b"somebody's work"
    assert make_samples("--into", str(tmp_path), "--force").returncode == 0
    with read_only(database) as remade:
        assert len(remade.execute(USERS_QUERY).fetchall()) == 12


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty git repository with the project's ignore rules for data/."""
    top = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(top)], check=True, timeout=60)
    for name in (".gitignore", "actors/.gitignore"):
        rules = top / "data" / name
        rules.parent.mkdir(parents=True, exist_ok=True)
        rules.write_bytes((DATA / name).read_bytes())
    return top


def ignored(repository: Path, path: str) -> bool:
    command = ["git", "-C", str(repository), "check-ignore", "-q", "--no-index", path]
    code = subprocess.run(command, check=False, timeout=60).returncode
    assert code in (0, 1)
    return code == 0


@pytest.mark.parametrize(
    "path",
    [
        "data/generated_images/db_1_20250910_080000.png",
        "data/logs/duomi_image_generation.log",
        "data/logs/duomi_generation_results_20250910_080000.json",
        "data/imagegen.db",
        "data/imagegen.db-wal",
        "data/llm_video_batch.db-journal",
        "data/simulated/imagegen.db",
        "data/simulated/actors/0101_a/base_image/0101_a_base.png",
        "data/.imagegen/port",
        "data/actors/0101_a/base_image/history/0101_a_base_1.png",
        "data/actors/0101_a/base_image/history/0101_a_base.png",
        "data/actors/0101_a/base_image/0101_a_base.json",
        "data/actors/0101_a/training_data/01.png",
        "data/actors/0101_a/.actor.abc123",
    ],
)
def test_git_does_not_see_what_is_made(repository: Path, path: str) -> None:
    """Pictures, logs, ledgers and histories leave the checkout clean."""
    assert ignored(repository, path)


@pytest.mark.parametrize(
    "path",
    [
        "data/actors/0101_a/base_image/0101_a_base.png",
        "data/actors/0101_a/actor.json",
        "data/actors/.gitignore",
        "data/prompt_json/New_prompt_20250910_080000_001.json",
        "data/llm_video_batch.db",
        "data/make_samples.py",
        "data/README.md",
    ],
)
def test_git_sees_samples_and_base_images(repository: Path, path: str) -> None:
    """Base images can be viewed in git, as can actors, prompts and the samples' script."""
    assert not ignored(repository, path)
