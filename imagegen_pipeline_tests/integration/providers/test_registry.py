"""The registry: built-in providers, installed packages, and broken ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from imagegen_pipeline.domain.errors import RequestRefusedError, SetupError
from imagegen_pipeline.domain.prices import Prices
from imagegen_pipeline.domain.requests import DEFAULT_PROVIDERS
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.providers import registry as registry_module
from imagegen_pipeline.providers.registry import (
    BUILT_IN,
    GROUP,
    ProviderRegistry,
    price_models,
    registry,
)
from imagegen_pipeline.settings import load_settings
from imagegen_pipeline_tests.conftest import ROOT, Project
from imagegen_pipeline_tests.integration.providers.local_services import sdxl

EXAMPLE = ROOT / "imagegen_pipeline_tests" / "example_provider"
STUB = "imagegen_pipeline_tests.integration.providers.stub_provider:Stub"
ONE = ("imagegen", "generate", "--source", "prompt", "--prompt", "a red square")


@pytest.fixture
def with_stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registry with one more line."""
    monkeypatch.setattr(registry_module, "BUILT_IN", {**BUILT_IN, "stub": STUB})
    registry.cache_clear()
    yield
    registry.cache_clear()


def entry(value: str, name: str = "broken") -> EntryPoint:
    """An entry point of an installed package."""
    return EntryPoint(name, value, GROUP)


def test_every_built_in_provider_loads_under_its_name() -> None:
    """Each line of the registry leads to a provider of that name."""
    assert [provider.name for provider in registry().loadable()] == list(BUILT_IN)
    assert set(DEFAULT_PROVIDERS.values()) <= set(BUILT_IN)


def test_a_fourth_provider_is_one_folder_and_one_line(
    with_stub: None, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings, limits, prices, defaults and request validation follow from its description."""
    monkeypatch.setenv("IMAGEGEN_PROMPT_PROVIDER", "stub")
    monkeypatch.setenv("IMAGEGEN_ACTOR_PROVIDER", "stub")
    monkeypatch.setenv("STUB_ADDRESS", "http://elsewhere")
    monkeypatch.setenv("IMAGEGEN_IN_FLIGHT", "stub=3")
    monkeypatch.setenv("IMAGEGEN_PRICES", '{"stub": {"per_second": 2}}')
    settings = load_settings()
    assert settings.provider_settings("stub").address == "http://elsewhere"  # type: ignore[attr-defined]
    assert settings.limits("stub").in_flight == 3
    request = sdxl(provider="stub", seed=3, steps=2)
    assert Prices(settings.prices, price_models()).cost(request, 4.0) == 8.0
    with closing(Pipeline(settings)) as pipeline:
        assert pipeline.prompt_parameters(seed=1).provider == "stub"
        assert pipeline.base_image_request(_actor()).provider == "stub"
        with pytest.raises(RequestRefusedError, match="Steps are 1 to 2 at Stub, not 3"):
            pipeline.check_request(sdxl(provider="stub", steps=3))
        with pytest.raises(SetupError, match="does not simulate Stub"):
            pipeline.provider("stub")


def _actor() -> object:
    from imagegen_pipeline.domain.actors import Actor

    return Actor(name="a", description="an old man", container="c", location="l")


def test_the_docs_have_a_row_for_every_provider() -> None:
    """Name and every variable stand in one row of docs/providers.md."""
    rows = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8").splitlines()
    for provider in registry().loadable():
        (row,) = (row for row in rows if row.startswith(f"| `{provider.name}` |"))
        model = provider.settings_model
        for field in model.model_fields:
            assert f"`{model.variable(field)}`" in row


def test_no_other_module_names_a_provider() -> None:
    """Only a provider's own folder, the registry and the defaults have a provider's name."""
    named = re.compile(rf'"({"|".join(BUILT_IN)})"')
    allowed = re.compile(r"(providers/(\w+/|registry)|domain/requests\.py|simulator/)")
    package = ROOT / "imagegen_pipeline"
    found = [
        f"{path.relative_to(package)}: {line.strip()}"
        for suffix in ("py", "js", "html")
        for path in package.rglob(f"*.{suffix}")
        if not allowed.match(path.relative_to(package).as_posix())
        for line in path.read_text(encoding="utf-8").splitlines()
        if named.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:X", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("json:NoSuchClass", "AttributeError"),
        ("json:JSONDecoder", "it is not a Provider"),
        (STUB, "it calls itself 'stub'"),
    ],
)
def test_a_broken_package_fails_its_own_provider_only(value: str, message: str) -> None:
    """The error is one sentence; the other providers load."""
    broken = ProviderRegistry([entry(value)])
    with pytest.raises(SetupError) as raised:
        broken.get("broken")
    assert f"The provider 'broken' ({value}) cannot be loaded: " in str(raised.value)
    assert message in str(raised.value)
    assert [provider.name for provider in broken.loadable()] == list(BUILT_IN)


def test_two_packages_of_one_name_are_refused() -> None:
    """Neither wins silently, and a built-in name cannot be taken."""
    with pytest.raises(SetupError, match="More than one provider is registered as 'duomi'"):
        ProviderRegistry([entry(STUB, "duomi")]).get("duomi")


@pytest.mark.parametrize("name", ["", "Upper", "a b", "a=b", "x" * 50])
def test_a_name_that_no_setting_could_hold_is_passed_over(name: str) -> None:
    """Names stand in limits such as ``duomi=3``."""
    assert ProviderRegistry([entry(STUB, name)]).names == tuple(BUILT_IN)


@pytest.mark.parametrize("variable", ["IMAGEGEN_PROMPT_PROVIDER", "IMAGEGEN_ACTOR_PROVIDER"])
def test_an_unknown_provider_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the setting and the providers that there are."""
    monkeypatch.setenv(variable, "dumoi")
    with pytest.raises(SetupError, match=f"{variable} has a bad value: 'dumoi' is no provider"):
        load_settings()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")
    target = folder / "installed"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--target", str(target), str(folder / "source")),
        ],
        check=True,
        timeout=300,
    )
    return target


def test_an_installed_package_is_a_provider(installed: Path, live_project: Project) -> None:
    """Its image is stored, priced and reused like any other; nothing else is configured."""
    environment = {
        "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")]),
        "IMAGEGEN_PROMPT_PROVIDER": "swatch",
        "SWATCH_API_KEY": "a-key",
        "IMAGEGEN_PRICES": json.dumps({"swatch": {"*": 0.5}}),
        "IMAGEGEN_RATE_PER_DAY": "swatch=1",
    }
    made = live_project.run(*ONE, **environment)
    assert "1 made. Cost 0.5" in made.stdout
    again = live_project.run(*ONE, **environment)
    assert "1 reused. Cost 0" in again.stdout
    with closing(sqlite3.connect(live_project.data / "imagegen.db")) as ledger:
        rows = ledger.execute("SELECT provider, kind, state, cost FROM attempts").fetchall()
    assert rows == [("swatch", "prompt", "stored", 0.5)]
    over = live_project.run(*ONE, "--seed", "8", check=False, **environment)
    assert "1 pictures a day are allowed of swatch" in over.stderr


def test_an_installed_package_without_its_key_says_so(
    installed: Path, live_project: Project
) -> None:
    """One sentence names the variable and the simulator."""
    environment = {"PYTHONPATH": str(installed), "IMAGEGEN_PROMPT_PROVIDER": "swatch"}
    done = live_project.run(*ONE, check=False, **environment)
    assert done.returncode == 2
    assert "SWATCH_API_KEY is not set." in done.stderr
    assert "IMAGEGEN_SIMULATOR=1" in done.stderr


def test_a_broken_installed_package_leaves_the_others_alone(
    installed: Path, live_project: Project, tmp_path: Path
) -> None:
    """Its own provider is one sentence and exit 2; Duomi works as ever."""
    shutil.copytree(installed, tmp_path / "broken")
    (tmp_path / "broken" / "swatch" / "__init__.py").write_text("raise RuntimeError('half done')")
    environment = {"PYTHONPATH": str(tmp_path / "broken")}
    done = live_project.run(*ONE, check=False, IMAGEGEN_PROMPT_PROVIDER="swatch", **environment)
    assert done.returncode == 2
    assert "'swatch' (swatch:Swatch) cannot be loaded: RuntimeError: half done" in done.stderr
    assert "Traceback" not in done.stderr
    works = live_project.run(*ONE, "--image-size", "64x64", **environment)
    assert "1 made" in works.stdout
