"""A key is sent to its service and is nowhere else: in no file, output, answer, log or traceback.

The services here repeat the key wherever an answer has room for it. Every door is used on
them, and then every byte that is left is looked at.
"""

from __future__ import annotations

import base64
import io
import logging
import re
import sqlite3
import subprocess
import traceback
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import SecretStr

from imagegen_pipeline import DuomiImageGenerator
from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.domain.errors import ImagegenError, SetupError
from imagegen_pipeline.domain.partition_keys import json_key
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.settings import load_settings
from imagegen_pipeline_tests.conftest import Project, make_project, until
from imagegen_pipeline_tests.integration.hostile.echoes import (
    DUOMI,
    RUNPOD,
    EchoingServices,
    echoing_services,
)
from imagegen_pipeline_tests.integration.hostile.traces import files_that_show, shows
from imagegen_pipeline_tests.integration.hostile.webserver import (
    JOB,
    SELECTOR,
    Webserver,
    webserver_of,
)
from imagegen_pipeline_tests.integration.providers.local_services import flux, sdxl

CANARY = "c4n4ry7f3a9c55d1"
DUOMI_KEY = f"sk-{CANARY}/duo+mi=&'x"
RUNPOD_KEY = f"rpa_{CANARY}_RUNPOD"
MARK = "m4rk0fth3t3st"
"""A word of every prompt: what looks for the key must find this one."""
MATERIALIZE = ("dagster", "asset", "materialize", "-m", "imagegen_pipeline.definitions")
SMALL = '{"ops": {"generated_images": {"config": {"image_size": "64x64"}}}}'
IN_DAGSTER = ("works", "refused", "coded", "paged", "works2", "elsewhere")


def generate(*more: str) -> tuple[str, ...]:
    """``imagegen generate`` for small pictures."""
    return ("imagegen", "generate", "--image-size", "64x64", "--source", *more)


def typed(word: str) -> tuple[str, ...]:
    """A typed prompt, to which Duomi answers as the word says."""
    return generate("prompt", "--prompt", f"a {MARK} that {word} when typed")


def base_image(word: str) -> tuple[str, ...]:
    """A base image, for which RunPod answers as the word says."""
    description = f"european 25 year old male with {MARK} who {word} there"
    return ("imagegen", "base-image", f"0100_{word}", description, "64", "96")


COMMANDS: dict[str, tuple[str, ...]] = {
    "by file": generate("json"),
    "by option": (*typed("refused"), "--api-key", DUOMI_KEY),
    "refused account": typed("unauthorized"),
    "unknown": typed("crashes"),
    "with picture": typed("works"),
    "mistyped": (*typed("works"), "--api-key", f"{DUOMI_KEY} twice"),
    "base image": base_image("works"),
    "no base image": base_image("fails"),
    "env": ("imagegen", "env"),
}
RESULTS: dict[str, tuple[str, ...]] = {
    "json": ("imagegen", "results", "--format", "json"),
    "csv": ("imagegen", "results", "--format", "csv", "--output", "results.csv"),
    "parquet": ("imagegen", "results", "--format", "parquet", "--output", "r.parquet"),
}


@dataclass
class Aftermath:
    """What is left when every door has been used: files, outputs and answers."""

    project: Project
    providers: EchoingServices
    outputs: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)
    answer_text: str = ""

    def run(self, name: str, *command: str) -> None:
        """One command, whatever comes of it."""
        self.outputs[name] = self.project.run(*command, check=False)

    def run_all(self, commands: dict[str, tuple[str, ...]]) -> None:
        """Commands, two at a time."""
        with ThreadPoolExecutor(2) as pool:
            for name, command in commands.items():
                pool.submit(self.run, name, *command)


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """A live project whose services repeat the keys, after all of its commands."""
    with echoing_services() as providers:
        environment = {**variables(providers), "DAGSTER_DISABLE_TELEMETRY": "1"}
        del environment["DUOMI_API_KEY"]
        project = make_project(tmp_path_factory.mktemp("secrecy"), environment)
        (project.root / ".env").write_text(f'DUOMI_API_KEY="{DUOMI_KEY}"\n')
        for word in IN_DAGSTER:
            project.write_json(word, f"a {MARK} that {word.rstrip('2')} by {word}")
        project.write_actor("0100_sailor", description=f"an old {MARK}")
        after = Aftermath(project, providers)
        with webserver_of(project) as webserver:
            use_dagster(after)
            until(webserver.answers)
            ask_everything(webserver)
            after.answer_text = "\n".join(webserver.answer_texts)
        after.run_all(COMMANDS)
        after.run_all(RESULTS)
        yield after


def variables(providers: EchoingServices) -> dict[str, str]:
    """The settings of a live project at these services."""
    return {
        "DUOMI_BASE_URL": f"{providers.url}/duomi",
        "DUOMI_API_KEY": DUOMI_KEY,
        "RUNPOD_BASE_URL": f"{providers.url}/runpod",
        "RUNPOD_API_KEY": RUNPOD_KEY,
        "RUNPOD_SERVER_100_ID": "endpoint",
        "IMAGEGEN_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
    }


def use_dagster(after: Aftermath) -> None:
    """A range of prompts, of which most fail, and a base image whose worker warns."""
    after.run("sync", "imagegen", "sync")
    keys = sorted(json_key(word) for word in IN_DAGSTER)
    after.run(
        "range",
        *(*MATERIALIZE, "--select", "generated_images+", "--config-json", SMALL),
        *("--partition-range", f"{keys[0]}...{keys[-1]}"),
    )
    after.run("actor", *MATERIALIZE, "--select", "actor_base_images", "--partition", "0100_sailor")


def ask_everything(webserver: Webserver) -> None:
    """Runs, their events and logs, assets, resources, the launchpad, snapshots, the instance."""
    runs = set(re.findall(r'"Run_runId": ?"([^"]+)"', webserver.ask("runsOrError", depth=4)))
    assert len(runs) == 2
    for run in runs:
        webserver.ask("logsForRun", f'runId: "{run}"', depth=4)
        assert webserver.get(f"/download_debug/{run}")
    webserver.ask("assetNodes", depth=3)
    webserver.ask("allTopLevelResourceDetailsOrError", f"repositorySelector: {SELECTOR}")
    webserver.ask("utilizedEnvVarsOrError", f"repositorySelector: {SELECTOR}")
    webserver.ask("runConfigSchemaOrError", f"selector: {JOB}", depth=3)
    webserver.ask("pipelineSnapshotOrError", f"activePipelineSelector: {JOB}", depth=3)
    webserver.ask("workspaceOrError", depth=4)
    webserver.ask("repositoriesOrError", depth=4)
    webserver.ask("instance", depth=4)


def test_the_keys_were_sent_and_every_answer_was_given(aftermath: Aftermath) -> None:
    """Both services got their key, and the commands ended as the answers ask for."""
    assert aftermath.providers.sent == {DUOMI_KEY, f"Bearer {RUNPOD_KEY}"}
    asked = set(aftermath.providers.asked)
    assert asked >= {*(word.rstrip("2") for word in IN_DAGSTER), "unauthorized", "crashes"}
    assert asked >= {"runpod works", "runpod fails"}
    codes = {name: done.returncode for name, done in aftermath.outputs.items()}
    failed = {"range", "by option", "by file", "refused account", "unknown", "no base image"}
    assert {name for name, code in codes.items() if code == 1} == failed
    assert {name for name, code in codes.items() if code == 2} == {"mistyped"}


def test_what_looks_for_the_key_finds_a_word_of_the_prompts(aftermath: Aftermath) -> None:
    """Events, runs, ledger, tables, sidecars, logs and answers are really looked into."""
    found = "\n".join(files_that_show(aftermath.project.root, MARK))
    for place in (
        r"\.dagster/storage/history/runs/[-0-9a-f]+\.db",
        r"\.dagster/storage/history/runs/index\.db",
        r"data/imagegen\.db",
        r"data/generation_results\.parquet/part-000000\.parquet",
        r"data/generated_images/\.imagegen/works_.*\.png\.json",
        r"data/actors/0100_sailor/base_image/history/\.imagegen/.*\.json",
        r"data/logs/duomi_generation_results_.*\.json",
        r"results\.csv",
        r"r\.parquet",
    ):
        assert re.search(f"^{place}$", found, re.MULTILINE), place
    assert shows(aftermath.answer_text.encode(), MARK)
    assert MARK in aftermath.outputs["json"].stdout


def test_it_finds_what_is_packed_and_spelt_otherwise(tmp_path: Path) -> None:
    """A snapshot in a database, a column of a table, UTF-16, base64, and a file's own name."""
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection, connection:
        connection.execute("CREATE TABLE snapshots (body BLOB)")
        packed = zlib.compress(f'{{"key": "{CANARY}"}}'.encode())
        connection.execute("INSERT INTO snapshots VALUES (?)", (packed,))
    pd.DataFrame({"error": [CANARY] * 9}).to_parquet(tmp_path / "table", compression="gzip")
    (tmp_path / "wide").write_text(CANARY, "utf-16")
    (tmp_path / "loud").write_text(CANARY.upper())
    (tmp_path / f"a{CANARY}").touch()
    for before in ("", "a", "ab"):
        coded = (before + CANARY).encode()
        (tmp_path / f"coded{before}").write_bytes(base64.b64encode(coded + b"z"))
    (tmp_path / "other").write_text(CANARY[:-1])
    found = set(files_that_show(tmp_path, CANARY))
    assert found == {path.name for path in tmp_path.iterdir()} - {"other"}


def test_no_file_holds_a_key(aftermath: Aftermath) -> None:
    """Databases, events, snapshots, logs, sidecars, tables, quarantine: none but ``.env``."""
    files = [path for path in aftermath.project.root.rglob("*") if path.is_file()]
    suffixes = {path.suffix for path in files}
    assert {".db", ".log", ".json", ".parquet", ".png", ".out", ".err"} <= suffixes
    assert files_that_show(aftermath.project.root, CANARY) == [".env"]


def test_no_output_repeats_a_key(aftermath: Aftermath) -> None:
    """What a service says of the key is shown with the key struck out."""
    shown = {
        name: done.stdout + done.stderr
        for name, done in aftermath.outputs.items()
        if shows((done.stdout + done.stderr).encode(), CANARY)
    }
    assert shown == {}
    for name, words in {
        "by option": "Key *** has no such model",
        "refused account": "Invalid token ***",
        "range": "Key *** has no such model",
        "no base image": "worker got Bearer ***",
        "base image": "warned of Bearer ***",
        "mistyped": "is not a key",
    }.items():
        done = aftermath.outputs[name]
        assert words in done.stdout + done.stderr, name


def test_no_answer_of_the_webserver_tells_a_key(aftermath: Aftermath) -> None:
    """Runs, events, configuration, launchpad, snapshots and debug files name the variables only."""
    assert "Key *** has no such model" in aftermath.answer_text
    assert "DUOMI_API_KEY" in aftermath.answer_text
    assert "RUNPOD_API_KEY" in aftermath.answer_text
    assert not shows(aftermath.answer_text.encode(), CANARY)


@pytest.fixture
def at_echoes(live_project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """The pipeline of a live project at such services, in this process."""
    with echoing_services() as providers:
        for name, value in variables(providers).items():
            monkeypatch.setenv(name, value)
        with closing(Pipeline()) as pipeline:
            yield pipeline


def with_locals(error: BaseException) -> str:
    """The error's traceback as the most talkative of tools would show it."""
    full = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(full.format())


@pytest.mark.parametrize("word", [*DUOMI, *(f"runpod {word}" for word in RUNPOD)])
def test_no_traceback_shows_a_key_even_with_its_locals(
    word: str, at_echoes: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """For every answer, to a submit, a poll and a cancel; nor does any library's log."""
    caplog.set_level(logging.DEBUG)
    name = "runpod" if word.startswith("runpod ") else "duomi"
    client = at_echoes.provider(name)
    request = (flux if name == "runpod" else sdxl)(prompt=f"a {word.split()[-1]} here")
    job = f"job-{word.split()[-1]}"
    shown, calls = (
        [],
        (
            lambda: client.submit(request),
            lambda: client.poll(job, client.endpoint),
            lambda: client.cancel(job, client.endpoint),
            client.health,
        ),
    )
    for call in calls:
        try:
            shown.append(repr(call()))
        except ImagegenError as error:
            shown += [with_locals(error), error.sentence, repr(error), repr(vars(error))]
    assert CANARY not in "".join(shown)
    assert CANARY not in caplog.text
    assert "urllib3" in caplog.text


def plain_texts(source_item: Any, seen: set[int], depth: int = 12) -> Iterator[str]:
    """Every text that can be reached through attributes and containers, but for SecretStr."""
    if id(source_item) in seen or depth == 0 or isinstance(source_item, SecretStr | type):
        return
    seen.add(id(source_item))
    if isinstance(source_item, str | bytes):
        yield source_item if isinstance(source_item, str) else source_item.decode("latin-1")
    elif isinstance(source_item, dict):
        for name, value in source_item.items():
            yield from plain_texts(name, seen, depth - 1)
            yield from plain_texts(value, seen, depth - 1)
    elif isinstance(source_item, list | tuple | set | frozenset):
        for value in source_item:
            yield from plain_texts(value, seen, depth - 1)
    else:
        attributes = getattr(source_item, "__dict__", {})
        slots = [
            name for kind in type(source_item).__mro__ for name in getattr(kind, "__slots__", ())
        ]
        yield from plain_texts(dict(attributes), seen, depth - 1)
        yield from plain_texts(
            [getattr(source_item, name, None) for name in slots], seen, depth - 1
        )


def test_no_object_shows_or_holds_its_key_in_plain(at_echoes: Pipeline) -> None:
    """Settings, pipeline, clients and generator: neither as text nor in any attribute."""
    at_echoes.provider("duomi").submit(sdxl(prompt="a works here"))
    at_echoes.provider("runpod").poll("job-works", at_echoes.provider("runpod").endpoint)
    with closing(DuomiImageGenerator(api_key=DUOMI_KEY)) as generator:
        source_items = [
            *(at_echoes, at_echoes.settings, load_settings(), at_echoes.engine_context, generator),
            *(at_echoes.provider("duomi"), at_echoes.provider("runpod")),
        ]
        for source_item in source_items:
            fields = vars(source_item) if hasattr(source_item, "__dict__") else ""
            shown = f"{source_item} {source_item!r} {fields}"
            assert CANARY not in shown, type(source_item)
            assert [text for text in plain_texts(source_item, set()) if CANARY in text] == [], type(
                source_item
            )
    dumped = f"{at_echoes.settings.model_dump()} {at_echoes.settings.model_dump_json()}"
    assert CANARY not in dumped


def test_no_resource_shows_a_key(at_echoes: Pipeline) -> None:
    """Dagster's only resource holds the pipeline that it has opened, and shows no key of it."""
    resource = PipelineResource()
    opened = resource.get()
    opened.provider("duomi")
    out = io.StringIO()
    print(resource, repr(resource), f"{resource}", [resource], vars(resource), file=out)
    opened.close()
    assert CANARY not in out.getvalue()


@pytest.mark.parametrize("name", ["duomi", "runpod"])
@pytest.mark.parametrize("wrong", [" twice", "\u201d", "\x1b"])
def test_a_mistyped_key_is_not_repeated(
    name: Any, wrong: str, at_echoes: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is none is refused by its variable, without being shown."""
    for variable in ("DUOMI_API_KEY", "RUNPOD_API_KEY"):
        monkeypatch.setenv(variable, DUOMI_KEY + wrong)
    with pytest.raises(SetupError, match=f"{name.upper()}_API_KEY is not a key") as caught:
        Pipeline().provider(name)
    assert CANARY not in caught.value.sentence


def test_a_proxys_password_is_in_no_message(
    at_echoes: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's proxy may need one: an error names the trouble, not the password."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{CANARY}@127.0.0.1:9")
    monkeypatch.setenv("http_proxy", f"http://user:{CANARY}@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ImagegenError) as caught:
        at_echoes.provider("duomi").submit(sdxl(prompt="a works here"))
    assert "proxy" in str(caught.value).lower()
    assert CANARY not in with_locals(caught.value)
