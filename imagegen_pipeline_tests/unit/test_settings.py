"""Settings: defaults, what is refused, and where relative paths lead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import BaseModel

from imagegen_pipeline.domain.errors import MissingKeyError, SetupError
from imagegen_pipeline.domain.limits import Budget, Limits
from imagegen_pipeline.providers.registry import registry
from imagegen_pipeline.settings import Settings, load_settings, project_root
from imagegen_pipeline_tests.conftest import make_project

MODELS: list[type[BaseModel]] = [Settings]
MODELS += [provider.settings_model for provider in registry().loadable()]
VARIABLES = sorted(
    str(field.validation_alias) for model in MODELS for field in model.model_fields.values()
)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without any setting, and the current folder in it."""
    made = tmp_path / "project"
    made.mkdir()
    make_project(made, {})
    monkeypatch.chdir(made)
    return made


def test_everything_has_a_default(root: Path) -> None:
    """With nothing set, everything lies in the project's data folder and the work is live."""
    settings = load_settings()
    data = root / "data"
    assert settings.data_dir == settings.base_dir == data
    assert settings.prompt_db == data / "llm_video_batch.db"
    assert settings.prompt_json_dir == data / "prompt_json"
    assert settings.actors_dir == settings.base_images_dir == data / "actors"
    assert settings.output_dir == data / "generated_images"
    assert settings.log_dir == data / "logs"
    assert settings.ledger_url == f"sqlite:///{data}/imagegen.db"
    assert settings.concurrency == 8
    assert settings.simulator is False
    assert (settings.timeout_connect, settings.timeout_read) == (10, 120)
    assert (settings.timeout_queue, settings.timeout_run, settings.timeout_download) == (
        *(900, 900),
        60,
    )


@pytest.mark.parametrize("blank", ["", "  "])
@pytest.mark.parametrize("name", VARIABLES)
def test_a_blank_variable_counts_as_unset(
    name: str, blank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every setting takes its default when its variable is there and empty."""
    unset = load_settings()
    monkeypatch.setenv(name, blank)
    assert load_settings() == unset


def test_relative_paths_begin_at_the_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is given in a folder below opens the same files."""
    below = root / "data" / "deep"
    below.mkdir()
    monkeypatch.chdir(below)
    for name in ("DATA_DIR", "PROMPT_DB", "OUTPUT_DIR"):
        monkeypatch.setenv(f"IMAGEGEN_{name}", "../elsewhere")
    monkeypatch.setenv("IMAGEGEN_LOG_DIR", "~/logs")
    monkeypatch.setenv("IMAGEGEN_LEDGER_URL", "sqlite:///books/ledger.db")
    settings = load_settings()
    assert settings.root == root
    assert settings.data_dir == settings.prompt_db == settings.output_dir
    assert settings.data_dir == root.parent / "elsewhere"
    assert settings.log_dir == Path.home() / "logs"
    assert settings.ledger_url == f"sqlite:///{root}/books/ledger.db"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sqlite:////srv/ledger.db", "sqlite:////srv/ledger.db"),
        ("sqlite+pysqlite:///a.db", "sqlite+pysqlite:///{root}/a.db"),
        ("postgresql://user:word@host/db", "postgresql://user:word@host/db"),
    ],
)
def test_a_ledger_url_is_kept_unless_it_is_a_relative_file(
    given: str, meant: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute files and other databases stay as they are written."""
    monkeypatch.setenv("IMAGEGEN_LEDGER_URL", given)
    assert load_settings().ledger_url == meant.format(root=root)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("IMAGEGEN_CONCURRENCY", "many", "valid integer"),
        ("IMAGEGEN_CONCURRENCY", "0", "greater than or equal to 1"),
        ("IMAGEGEN_CONCURRENCY", "513", "less than or equal to 512"),
        ("IMAGEGEN_TIMEOUT_READ", "0", "greater than 0"),
        ("IMAGEGEN_TIMEOUT_RUN", "nan", "finite"),
        ("IMAGEGEN_TIMEOUT_QUEUE", "inf", "finite"),
        ("IMAGEGEN_TIMEOUT_CONNECT", "1e12", "less than or equal"),
        ("IMAGEGEN_ON_UNKNOWN", "ignore", "'resubmit' or 'hold'"),
        ("IMAGEGEN_SENSOR_BACKLOG", "all", "'register' or 'launch'"),
        ("IMAGEGEN_DUOMI_MODE", "both", "'auto', 'sync' or 'async'"),
        ("IMAGEGEN_SIMULATOR", "flase", "it is 1, 0, or the http:// address"),
        ("IMAGEGEN_SIMULATOR", "localhost:8188", "it is 1, 0, or the http:// address"),
        ("IMAGEGEN_LEDGER_URL", "sqlite://", "would be lost with the process"),
        ("IMAGEGEN_LEDGER_URL", "sqlite:///:memory:", "would be lost with the process"),
        ("DUOMI_BASE_URL", "duomiapi.com", "http:// or https://"),
        ("RUNPOD_BASE_URL", "https://", "http:// or https://"),
        ("IMAGEGEN_PRICES", "{'duomi': 1}", "it is not JSON"),
        ("IMAGEGEN_PRICES", '{"doumi": {}}', "'doumi' is no provider"),
        ("IMAGEGEN_PRICES", '{"duomi": {"m": -0.01}}', "-0.01, not a number from 0 up"),
        ("IMAGEGEN_PRICES", "[]", "no such file: write its path, or JSON such as {"),
        ("IMAGEGEN_PRICES", "[" * 100_000, "cannot be read (File name too long)"),
        ("IMAGEGEN_IN_FLIGHT", "0", "'0' is not a whole number from 1"),
        ("IMAGEGEN_IN_FLIGHT", "2.5", "write N for each provider, or NAME=N,OTHER=M"),
        ("IMAGEGEN_IN_FLIGHT", "9999999999", "'9999999999' is not a whole number from 1 to"),
        ("IMAGEGEN_RATE_PER_MINUTE", "duomi=-1", "'-1' is not a whole number from 1"),
        ("IMAGEGEN_RATE_PER_MINUTE", "doumi=3", "'doumi' is no provider of duomi, runpod"),
        ("IMAGEGEN_RATE_PER_MINUTE", "5,duomi=3", "'5' is no provider of duomi"),
        ("IMAGEGEN_RATE_PER_DAY", "duomi=1,duomi=2", "duomi appears twice: write N"),
        ("IMAGEGEN_RATE_PER_DAY", "duomi=", "'' is not a whole number from 1"),
        ("IMAGEGEN_BUDGET_RUN", "-0.01", "'-0.01' is not an amount of money: write a number"),
        ("IMAGEGEN_BUDGET_RUN", "5 EUR", "'5 EUR' is not an amount of money: write a number"),
        ("IMAGEGEN_BUDGET_DAY", "nan", "'nan' is not an amount of money"),
        ("IMAGEGEN_BUDGET_DAY", "inf", "'inf' is not an amount of money"),
        ("IMAGEGEN_TOKEN", "short", "at least 16 letters"),
        ("IMAGEGEN_TOKEN", "two words are not a token", "one word"),
        ("IMAGEGEN_CORS", "*", "any page of a named origin can spend money"),
        ("IMAGEGEN_CORS", "https://a.example,b.example", "'b.example' is not an origin"),
        ("IMAGEGEN_CORS", "https://a.example/page", "is not an origin"),
        ("IMAGEGEN_DAGSTER_URL", "javascript:alert(1)", "http:// or https://"),
    ],
)
def test_a_bad_value_is_refused_by_name(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the variable and what is wrong with its value."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SetupError) as raised:
        load_settings()
    assert str(raised.value).startswith(f"{name} has a bad value: ")
    assert message in str(raised.value)
    assert raised.value.remedy


def test_prices_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of prices for both services, free ones included."""
    table = '{"duomi": {"a model": 0.02, "another": 0}, "runpod": {"per_second": 0.0003}}'
    monkeypatch.setenv("IMAGEGEN_PRICES", table)
    assert load_settings().prices["duomi"] == {"a model": 0.02, "another": 0}
    assert load_settings().prices["runpod"] == {"per_second": 0.0003}


def test_prices_may_stand_in_a_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is no JSON object is the path of one, and begins at the project root."""
    (root / "prices.json").write_text('\ufeff{"duomi": {"a model": 0.02}}\n', encoding="utf-8")
    monkeypatch.chdir(root / "data")
    for path in ("prices.json", str(root / "prices.json")):
        monkeypatch.setenv("IMAGEGEN_PRICES", path)
        assert load_settings().prices == {"duomi": {"a model": 0.02}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"duomi": {"m": "0.01"}}', "duomi 'm' is '0.01', not a number from 0 up"),
        (b'{"duomi": {"m": 0.01}', "it is not JSON"),
        (b"[]", "a JSON object is wanted"),
        (b"\xff\xfe", "it is not text in UTF-8"),
        (b" " * 1_000_001, "it has more than 1,000,000 bytes"),
        (None, "there is no such file"),
    ],
)
def test_a_price_file_that_is_wrong_is_named(
    content: bytes | None, message: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence has the variable, the file, and the entry that is wrong."""
    path = root / "prices.json"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("IMAGEGEN_PRICES", "prices.json")
    with pytest.raises(SetupError) as raised:
        load_settings()
    assert str(raised.value).startswith(f"IMAGEGEN_PRICES has a bad value: {path}: ")
    assert message in str(raised.value)


def test_a_price_file_is_a_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, or the home of a user who is not known, is refused and not read."""
    monkeypatch.setenv("IMAGEGEN_PRICES", "data")
    with pytest.raises(SetupError, match="there is no such file"):
        load_settings()
    monkeypatch.setenv("IMAGEGEN_PRICES", "~nobody-of-that-name/prices.json")
    with pytest.raises(SetupError, match="home folder of an unknown user"):
        load_settings()


def test_without_limits_and_budgets_there_are_none() -> None:
    """What is not set limits nothing."""
    settings = load_settings()
    assert settings.limits("duomi") == settings.limits("runpod") == Limits(None, None, None)
    assert not settings.limits("duomi").is_set
    assert settings.budget == Budget(None, None)
    assert not settings.budget.is_set


def test_a_limit_is_for_each_service_or_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare number limits both services; a named one only its own."""
    monkeypatch.setenv("IMAGEGEN_IN_FLIGHT", " 4 ")
    monkeypatch.setenv("IMAGEGEN_RATE_PER_MINUTE", "duomi=2, runpod = 30")
    monkeypatch.setenv("IMAGEGEN_RATE_PER_DAY", "duomi=400")
    settings = load_settings()
    assert settings.limits("duomi") == Limits(in_flight=4, per_minute=2, per_day=400)
    assert settings.limits("runpod") == Limits(in_flight=4, per_minute=30, per_day=None)
    assert settings.limits("runpod").is_set


def test_a_budget_may_be_nothing_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of 0 is set: nothing may be bought."""
    monkeypatch.setenv("IMAGEGEN_BUDGET_RUN", "0")
    assert load_settings().budget == Budget(run=0.0, day=None)
    assert load_settings().budget.is_set
    monkeypatch.setenv("IMAGEGEN_BUDGET_DAY", "12.50")
    assert load_settings().budget == Budget(run=0.0, day=12.5)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("IMAGEGEN_CONCURENCY", "IMAGEGEN_CONCURRENCY"),
        ("IMAGEGEN_OUTPUT", "IMAGEGEN_OUTPUT_DIR"),
        ("IMAGEGEN_TIMEOUT_DOWNLOADS", "IMAGEGEN_TIMEOUT_DOWNLOAD"),
        ("imagegen_data_dir", "IMAGEGEN_DATA_DIR"),
    ],
)
def test_a_typo_names_the_nearest_setting(
    typo: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of ours that is none is refused, with the one that was probably meant."""
    monkeypatch.setenv(typo, "5")
    with pytest.raises(SetupError, match=f"{typo} is not a setting") as raised:
        load_settings()
    assert f"Did you mean {meant}?" in raised.value.remedy


def test_settings_of_the_server_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is kept out of sight, and origins are written as browsers send them."""
    monkeypatch.setenv("IMAGEGEN_TOKEN", " a-word-of-24-characters ")
    monkeypatch.setenv("IMAGEGEN_CORS", "https://Pictures.example/, http://127.0.0.1:5173")
    settings = load_settings()
    assert settings.token is not None
    assert settings.token.get_secret_value() == "a-word-of-24-characters"
    assert "a-word" not in repr(settings)
    assert settings.cors == ("https://pictures.example", "http://127.0.0.1:5173")


def test_the_env_file_is_read_and_never_overrides(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``.env`` at the root fills in what the environment has not, even an empty variable."""
    (root / ".env").write_text(
        "IMAGEGEN_CONCURRENCY=3\nDUOMI_API_KEY=from-the-file\nIMAGEGEN_SIMULATOR=1\n"
    )
    for name in ("IMAGEGEN_CONCURRENCY", "DUOMI_API_KEY"):  # put back what load_dotenv sets
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("IMAGEGEN_SIMULATOR", "")
    settings = load_settings()
    assert settings.concurrency == 3
    assert _key(settings, "duomi") == "from-the-file"
    assert settings.simulator is False
    monkeypatch.setenv("IMAGEGEN_CONCURRENCY", "5")
    assert load_settings().concurrency == 5
    assert os.environ["DUOMI_API_KEY"] == "from-the-file", "Dagster's EnvVar sees it too"


def test_a_typo_in_the_env_file_is_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``.env`` is held to the same names."""
    (root / ".env").write_text("IMAGEGEN_BUDGETS=3\n")
    monkeypatch.setenv("IMAGEGEN_BUDGETS", "")
    monkeypatch.delenv("IMAGEGEN_BUDGETS")
    with pytest.raises(SetupError, match="IMAGEGEN_BUDGETS is not a setting"):
        load_settings()


def test_an_env_file_that_is_no_text_is_refused(root: Path) -> None:
    """A file that cannot be decoded is named."""
    (root / ".env").write_bytes(b"DUOMI_API_KEY=\xff\xfe\n")
    with pytest.raises(SetupError, match=r"\.env cannot be read"):
        load_settings()


@pytest.mark.parametrize("value", ["1", "true", "YES", "on", "http://127.0.0.1:8188/"])
def test_the_simulator_keeps_everything_apart(
    value: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Switched on, results go below ``simulated/`` whatever else is set, and keys are its own."""
    monkeypatch.setenv("IMAGEGEN_SIMULATOR", value)
    monkeypatch.setenv("DUOMI_API_KEY", "live")
    for name in ("IMAGEGEN_OUTPUT_DIR", "IMAGEGEN_LOG_DIR"):
        monkeypatch.setenv(name, str(root / "live"))
    monkeypatch.setenv("IMAGEGEN_LEDGER_URL", "sqlite:///live.db")
    settings = load_settings()
    apart = root / "data" / "simulated"
    assert settings.simulator is True
    assert settings.base_dir == root / "data"
    for place in (settings.output_dir, settings.log_dir, settings.base_images_dir):
        assert place.is_relative_to(apart)
    assert settings.ledger_url == f"sqlite:///{apart}/imagegen.db"
    assert _simulated_key("duomi") == "simulated-duomi-key"
    assert settings.simulator_url == ("http://127.0.0.1:8188" if "http" in value else None)


@pytest.mark.parametrize("value", ["0", "false", "No", "off"])
def test_the_simulator_can_be_switched_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual words for no mean a live run."""
    monkeypatch.setenv("IMAGEGEN_SIMULATOR", value)
    assert load_settings().simulator is False


def _key(settings: Settings, provider: str) -> str:
    """The key that a provider's client would get."""
    return settings.provider_settings(provider).required_key("api_key").get_secret_value()


def _simulated_key(provider: str) -> str:
    """The key that the simulator is sent."""
    simulated = registry().get(provider).simulated_settings("http://127.0.0.1:9")
    return str(simulated.required_key("api_key").get_secret_value())


def _check(settings: Settings, provider: str) -> None:
    """Raises what keeps a provider from being used."""
    registry().get(provider).check_settings(settings.provider_settings(provider))


def test_a_live_run_needs_keys_and_an_endpoint() -> None:
    """What is missing is named by its variable."""
    settings = load_settings()
    for provider, name in (("duomi", "DUOMI_API_KEY"), ("runpod", "RUNPOD_API_KEY")):
        with pytest.raises(MissingKeyError, match=name):
            _check(settings, provider)
    settings = load_settings(providers={"runpod": {"api_key": "a-key"}})
    with pytest.raises(MissingKeyError, match="RUNPOD_SERVER_100_ID"):
        _check(settings, "runpod")


def test_blanks_around_a_key_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break that was copied along does no harm."""
    monkeypatch.setenv("DUOMI_API_KEY", " sk-1234\r\n")
    assert _key(load_settings(), "duomi") == "sk-1234"


@pytest.mark.parametrize("key", ["two words", "schlüssel", "sk-\x7f", "“sk-1234”"])
def test_what_cannot_be_a_key_is_refused_unseen(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No header could carry it; the sentence names the variable and not the value."""
    monkeypatch.setenv("RUNPOD_API_KEY", key)
    settings = load_settings()
    with pytest.raises(SetupError, match="RUNPOD_API_KEY is not a key") as raised:
        _check(settings, "runpod")
    assert key not in raised.value.sentence
    assert key not in repr(settings)


def test_an_endpoint_is_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address in the id's place would send the key somewhere else."""
    monkeypatch.setenv("RUNPOD_SERVER_100_ID", "https://api.runpod.ai/v2/abc")
    monkeypatch.setenv("RUNPOD_API_KEY", "a-key")
    with pytest.raises(SetupError, match="no endpoint's id"):
        _check(load_settings(), "runpod")


def test_a_home_that_nobody_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """``~somebody`` must be a user of this machine."""
    monkeypatch.setenv("IMAGEGEN_DATA_DIR", "~nobody-of-that-name/data")
    with pytest.raises(SetupError, match="home folder of an unknown user"):
        _ = load_settings().data_dir


def test_a_deleted_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current folder that has been deleted raises SetupError."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SetupError, match="The current folder no longer exists"):
        project_root()
