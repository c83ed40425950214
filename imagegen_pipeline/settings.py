"""Settings: the only reader of the environment and of ``.env``.

Relative paths resolve from the project root, the nearest parent that holds
``dagster.yaml``, so that a command run elsewhere does not open a second ledger. A variable
set to a blank counts as unset. An unknown one is refused.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import load_dotenv
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.domain.limits import Budget, Limits, parse_limit
from imagegen_pipeline.domain.prices import EXAMPLE, Prices, parse_prices
from imagegen_pipeline.domain.requests import DEFAULT_PROVIDERS, ItemKind, ProviderName
from imagegen_pipeline.domain.validators import (
    AccessToken,
    Address,
    CommaList,
    Money,
    Origins,
    Seconds,
    SecretAddress,
    is_address,
)
from imagegen_pipeline.providers.base import Provider, ProviderSettings
from imagegen_pipeline.providers.registry import price_models, registry

OURS = "IMAGEGEN_"
_ON, _OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_LARGEST_PRICE_FILE = 1_000_000


def project_root() -> Path:
    """The nearest parent of the current folder, else of this package, with a ``dagster.yaml``.

    Raises SetupError when the current folder has been deleted.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise SetupError("The current folder no longer exists.", remedy="Change folders.") from None
    for start in (here, Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "dagster.yaml").is_file():
                return folder
    return here


def _read_prices(value: object) -> object:
    """The price table, from JSON or a JSON file; raises ValueError for an invalid one."""
    if isinstance(value, Mapping):
        Prices(value, price_models())
        return value
    text = str(value).strip()
    if text.startswith("{"):
        return parse_prices(text, price_models())
    path = _below(project_root(), Path(text))
    try:
        if not path.is_file():
            raise ValueError(f"there is no such file: write its path, or JSON such as {EXAMPLE}")
        if path.stat().st_size > _LARGEST_PRICE_FILE:
            raise ValueError(f"it has more than {_LARGEST_PRICE_FILE:,} bytes")
        return parse_prices(path.read_text(encoding="utf-8-sig"), price_models())
    except UnicodeDecodeError:
        fault = "it is not text in UTF-8"
    except OSError as error:
        fault = f"it cannot be read ({error.strerror})"
    except ValueError as error:
        fault = str(error)
    raise ValueError(f"{str(path)[:300]}: {fault}")


def _below(root: Path, path: Path) -> Path:
    try:
        return Path(os.path.normpath(root / path.expanduser()))
    except RuntimeError:
        raise SetupError(
            f"{path} begins with the home folder of an unknown user.",
            remedy="Write the whole path.",
        ) from None


PriceTable = Annotated[dict[str, Any], NoDecode, BeforeValidator(_read_prices)]
CountByProvider = Annotated[
    dict[ProviderName, int],
    NoDecode,
    BeforeValidator(lambda value: parse_limit(value, registry().names)),
]


class Settings(BaseSettings):
    """Every setting with its default; see the README for the table."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, populate_by_name=True, case_sensitive=True
    )

    prompt_provider: ProviderName = Field(
        DEFAULT_PROVIDERS["prompt"], validation_alias="IMAGEGEN_PROMPT_PROVIDER"
    )
    actor_provider: ProviderName = Field(
        DEFAULT_PROVIDERS["actor"], validation_alias="IMAGEGEN_ACTOR_PROVIDER"
    )

    base_data_dir: Path = Field(Path("data"), validation_alias="IMAGEGEN_DATA_DIR")
    prompt_db_path: Path | None = Field(None, validation_alias="IMAGEGEN_PROMPT_DB")
    prompt_json_path: Path | None = Field(None, validation_alias="IMAGEGEN_PROMPT_JSON_DIR")
    actors_path: Path | None = Field(None, validation_alias="IMAGEGEN_ACTORS_DIR")
    output_path: Path | None = Field(None, validation_alias="IMAGEGEN_OUTPUT_DIR")
    log_path: Path | None = Field(None, validation_alias="IMAGEGEN_LOG_DIR")
    ledger_address: str | None = Field(None, validation_alias="IMAGEGEN_LEDGER_URL")
    workflow_path: Path = Field(
        Path("workflows/normal_image_v4_workflow.json"), validation_alias="IMAGEGEN_WORKFLOW"
    )

    concurrency: int = Field(8, ge=1, le=512, validation_alias="IMAGEGEN_CONCURRENCY")
    in_flight: CountByProvider = Field({}, validation_alias="IMAGEGEN_IN_FLIGHT")
    rate_per_minute: CountByProvider = Field({}, validation_alias="IMAGEGEN_RATE_PER_MINUTE")
    rate_per_day: CountByProvider = Field({}, validation_alias="IMAGEGEN_RATE_PER_DAY")
    budget_run: Money | None = Field(None, validation_alias="IMAGEGEN_BUDGET_RUN")
    budget_day: Money | None = Field(None, validation_alias="IMAGEGEN_BUDGET_DAY")
    timeout_connect: Seconds = Field(10, validation_alias="IMAGEGEN_TIMEOUT_CONNECT")
    timeout_read: Seconds = Field(120, validation_alias="IMAGEGEN_TIMEOUT_READ")
    timeout_queue: Seconds = Field(900, validation_alias="IMAGEGEN_TIMEOUT_QUEUE")
    timeout_run: Seconds = Field(900, validation_alias="IMAGEGEN_TIMEOUT_RUN")
    timeout_download: Seconds = Field(60, validation_alias="IMAGEGEN_TIMEOUT_DOWNLOAD")
    prices: PriceTable = Field({}, validation_alias="IMAGEGEN_PRICES")
    on_unknown: Literal["resubmit", "hold"] = Field(
        "resubmit", validation_alias="IMAGEGEN_ON_UNKNOWN"
    )
    sensor_backlog: Literal["register", "launch"] = Field(
        "register", validation_alias="IMAGEGEN_SENSOR_BACKLOG"
    )
    allow_private_hosts: CommaList = Field((), validation_alias="IMAGEGEN_ALLOW_PRIVATE_HOSTS")
    token: AccessToken | None = Field(None, validation_alias="IMAGEGEN_TOKEN")
    cors: Origins = Field((), validation_alias="IMAGEGEN_CORS")
    dagster_url: Address = Field("http://127.0.0.1:3000", validation_alias="IMAGEGEN_DAGSTER_URL")
    gallery_url: Address = Field("http://127.0.0.1:8000", validation_alias="IMAGEGEN_GALLERY_URL")
    backup_path: Path | None = Field(None, validation_alias="IMAGEGEN_BACKUP_DIR")
    failure_webhook: SecretAddress | None = Field(None, validation_alias="IMAGEGEN_FAILURE_WEBHOOK")
    dagster_home: str = Field("", validation_alias="DAGSTER_HOME")
    simulator_setting: str = Field("", validation_alias="IMAGEGEN_SIMULATOR")

    _provider_settings: dict[ProviderName, ProviderSettings] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic's raw input
        return {
            name: value
            for name, value in values.items()
            if not (isinstance(value, str) and not value.strip())
        }

    @field_validator("prompt_provider", "actor_provider")
    @classmethod
    def _is_registered(cls, value: str) -> str:
        name = value.strip()
        known = registry().names
        if name not in known:
            raise ValueError(f"{name[:60]!r} is no provider; there are {', '.join(known)}")
        return name

    @field_validator("ledger_address")
    @classmethod
    def _outlives_the_process(cls, value: str | None) -> str | None:
        if value is None:
            return None
        scheme, _, path = value.strip().partition("://")
        if scheme.startswith("sqlite") and path.strip("/").partition("?")[0] in ("", ":memory:"):
            raise ValueError("a ledger in memory would be lost with the process; name a file")
        return value.strip()

    @field_validator("simulator_setting")
    @classmethod
    def _is_a_switch(cls, value: str) -> str:
        word = value.strip().lower()
        if word not in _ON + _OFF and not is_address(value.strip(), ("http",)):
            raise ValueError("it is 1, 0, or the http:// address of a running simulator")
        return value.strip()

    @cached_property
    def simulator(self) -> bool:
        """Whether every provider is the local simulator."""
        return self.simulator_setting.lower() not in _OFF

    @cached_property
    def simulator_url(self) -> str | None:
        """The address of a running simulator, if the setting is an address."""
        address = self.simulator_setting.rstrip("/")
        return address if address.startswith("http://") else None

    @cached_property
    def root(self) -> Path:
        """The project root: relative paths start here."""
        return project_root()

    def _resolve(self, path: Path) -> Path:
        return _below(self.root, path)

    def limits(self, provider: ProviderName) -> Limits:
        """The limits on requests to a provider, for all processes on the ledger."""
        by_limit = (self.in_flight, self.rate_per_minute, self.rate_per_day)
        return Limits(*(limits.get(provider) for limits in by_limit))

    @property
    def budget(self) -> Budget:
        """The limits on spending, for all processes on the ledger."""
        return Budget(run=self.budget_run, day=self.budget_day)

    @cached_property
    def base_dir(self) -> Path:
        """``IMAGEGEN_DATA_DIR``: the folder of the sources, also with the simulator on."""
        return self._resolve(self.base_data_dir)

    @cached_property
    def data_dir(self) -> Path:
        """The folder of results: the data folder, or its ``simulated/`` with the simulator on."""
        return self.base_dir / "simulated" if self.simulator else self.base_dir

    @cached_property
    def prompt_db(self) -> Path:
        """The users' SQLite database; opened read-only."""
        return self._resolve(self.prompt_db_path or self.base_dir / "llm_video_batch.db")

    @cached_property
    def prompt_json_dir(self) -> Path:
        """The folder of JSON prompts; not recursive."""
        return self._resolve(self.prompt_json_path or self.base_dir / "prompt_json")

    @cached_property
    def actors_dir(self) -> Path:
        """The actors' folders with their ``actor.json``."""
        return self._resolve(self.actors_path or self.base_dir / "actors")

    @cached_property
    def base_images_dir(self) -> Path:
        """The folder of base images: the actors' folder, or under ``simulated/``."""
        return self.data_dir / "actors" if self.simulator else self.actors_dir

    @cached_property
    def output_dir(self) -> Path:
        """The folder of prompts' images. With the simulator on, always under ``simulated/``."""
        if self.simulator or self.output_path is None:
            return self.data_dir / "generated_images"
        return self._resolve(self.output_path)

    @cached_property
    def log_dir(self) -> Path:
        """The folder of the guides' two logs."""
        if self.simulator or self.log_path is None:
            return self.data_dir / "logs"
        return self._resolve(self.log_path)

    @cached_property
    def backup_dir(self) -> Path | None:
        """The folder of backups. With the simulator on, always under ``simulated/``."""
        if self.simulator:
            return self.data_dir / "backup"
        return None if self.backup_path is None else self._resolve(self.backup_path)

    @cached_property
    def ledger_url(self) -> str:
        """The SQLAlchemy URL of the ledger; a relative SQLite file lies below the root."""
        if self.simulator or self.ledger_address is None:
            return f"sqlite:///{self.data_dir / 'imagegen.db'}"
        scheme, mark, path = self.ledger_address.partition(":///")
        if mark and scheme.startswith("sqlite"):
            return f"{scheme}:///{self._resolve(Path(path))}"
        return self.ledger_address

    @cached_property
    def workflow_file(self) -> Path:
        """The ComfyUI graph for base images."""
        return self._resolve(self.workflow_path)

    def provider_of(self, kind: ItemKind) -> ProviderName:
        """The provider chosen for items of this kind."""
        return self.prompt_provider if kind == "prompt" else self.actor_provider

    def provider_settings(self, name: ProviderName) -> ProviderSettings:
        """The settings of a provider; raises SetupError for an invalid value."""
        if name not in self._provider_settings:
            self._provider_settings[name] = _read_provider(registry().get(name), {})
        return self._provider_settings[name]

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """All secrets of these and the providers' settings, to be removed from texts."""
        own = (secret for secret in (self.token, self.failure_webhook) if secret is not None)
        return (*own, *(one for read in self._provider_settings.values() for one in read.secrets))


def load_settings(
    *,
    providers: Mapping[ProviderName, Mapping[str, Any]] | None = None,
    **overrides: Any,  # noqa: ANN401 - any setting, by field name
) -> Settings:
    """Read the environment (and the root's ``.env``) now; raises SetupError for a bad value.

    ``overrides`` are settings by field name, ``providers`` those of providers. ``.env`` is loaded
    into the process's environment and overrides no variable.
    """
    _load_env_file(project_root() / ".env")
    _refuse_unknown_variables()
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise _bad_value(error) from None
    for provider in registry().loadable():
        given = (providers or {}).get(provider.name, {})
        settings._provider_settings[provider.name] = _read_provider(provider, given)
    return settings


def _read_provider(provider: Provider[Any], overrides: Mapping[str, Any]) -> ProviderSettings:
    """A provider's settings from the environment; raises SetupError for a bad value."""
    model = provider.settings_model
    try:
        return model(
            **_environment_of(model), **overrides
        )  # not in a local variable, since it has keys
    except ValidationError as error:
        raise _bad_value(error) from None


def parse_provider_settings(name: ProviderName, values: Mapping[str, str]) -> dict[str, Any]:
    """Settings of a provider from texts, by field name; raises SetupError for a bad value."""
    model = registry().get(name).settings_model
    try:
        parsed = model.model_validate(dict(values))
    except ValidationError as error:
        raise _bad_value(error) from None
    return {field: getattr(parsed, field) for field in values}


def _environment_of(model: type[ProviderSettings]) -> dict[str, str]:
    variables = [model.variable(field) for field in model.model_fields]
    return {name: os.environ[name] for name in variables if variable_is_set(name)}


def _bad_value(error: ValidationError) -> SetupError:
    first = error.errors(include_input=False, include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    fault = first["msg"].removeprefix("Value error, ")
    return SetupError(f"{name} has a bad value: {fault}.", remedy="See the table in the README.")


def _load_env_file(path: Path) -> None:
    try:
        load_dotenv(path, override=False)
    except (OSError, ValueError) as error:  # a UnicodeDecodeError is a ValueError
        raise SetupError(
            f"{path} cannot be read ({type(error).__name__}).",
            remedy="Write NAME=value lines in UTF-8, or remove the file.",
        ) from None


def _refuse_unknown_variables() -> None:
    """Raises SetupError for an unknown variable, since a misspelt limit could cost money."""
    models: list[type[BaseModel]] = [Settings]
    models += [provider.settings_model for provider in registry().loadable()]
    fields = {
        str(field.validation_alias) for model in models for field in model.model_fields.values()
    }
    known = sorted(name for name in fields if name.startswith(OURS))
    for name in sorted(os.environ):
        if not name.upper().startswith(OURS) or name in known or not variable_is_set(name):
            continue
        (nearest,) = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)
        raise SetupError(
            f"{name} is not a setting of this program.",
            remedy=f"Did you mean {nearest}? Set that, or unset {name}.",
        )


def variable_is_set(name: str) -> bool:
    """Whether an environment variable has a value that is not blank."""
    return bool(os.environ.get(name, "").strip())
