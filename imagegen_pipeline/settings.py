"""Settings: the only reader of the environment and of ``.env``.

Relative paths resolve from the project root, the nearest parent that holds
``dagster.yaml``, so that a command run elsewhere does not open a second ledger. A variable
that is set to nothing counts as unset; one that is not known is refused rather than ignored.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import load_dotenv
from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from imagegen_pipeline.domain.errors import MissingKeyError, SetupError
from imagegen_pipeline.domain.limits import Budget, Limits, parse_budget, parse_limit
from imagegen_pipeline.domain.prices import Prices, parse_prices
from imagegen_pipeline.domain.requests import ProviderName
from imagegen_pipeline.domain.validators import (
    SecretAddress,
    is_address,
    is_one_word,
    price_file_text,
    split_commas,
)

SIMULATED_DUOMI_KEY = "simulated-duomi-key"
SIMULATED_RUNPOD_KEY = "simulated-runpod-key"
SIMULATED_ENDPOINT = "simulated-endpoint"
KEY_VARIABLES: dict[ProviderName, str] = {"duomi": "DUOMI_API_KEY", "runpod": "RUNPOD_API_KEY"}
OURS = "IMAGEGEN_"
SHORTEST_TOKEN = 16
"""Characters: fewer could be guessed."""
_ON, _OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_LONGEST_TIMEOUT = 7 * 24 * 3600


def project_root() -> Path:
    """The nearest parent of the current folder, else of this package, with a ``dagster.yaml``.

    Raises SetupError when the current folder has been deleted.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise SetupError(
            "The current folder does not exist any more.", remedy="Change into another one."
        ) from None
    for start in (here, Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "dagster.yaml").is_file():
                return folder
    return here


def _read_prices(value: object) -> object:
    """The price table, from JSON or a file of it; a ValueError says what of it is wrong."""
    if isinstance(value, Mapping):
        Prices(value)
        return value
    text = str(value).strip()
    if text.startswith("{"):
        return parse_prices(text)
    path = _below(project_root(), Path(text))
    try:
        return parse_prices(price_file_text(path))
    except ValueError as error:
        raise ValueError(f"{str(path)[:300]}: {error}") from None


def _below(root: Path, path: Path) -> Path:
    try:
        return Path(os.path.normpath(root / path.expanduser()))
    except RuntimeError:
        raise SetupError(
            f"{path} begins with the home of a user who is not known here.",
            remedy="Write the whole path.",
        ) from None


Seconds = Annotated[float, Field(gt=0, le=_LONGEST_TIMEOUT, allow_inf_nan=False)]
CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]
PriceTable = Annotated[dict[str, Any], NoDecode, BeforeValidator(_read_prices)]
CountByService = Annotated[dict[ProviderName, int], NoDecode, BeforeValidator(parse_limit)]
Money = Annotated[float, BeforeValidator(parse_budget)]


class Settings(BaseSettings):
    """Every setting with its default; see the README for the table."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, populate_by_name=True, case_sensitive=True
    )

    duomi_api_key: SecretStr | None = Field(None, validation_alias="DUOMI_API_KEY")
    duomi_base_url: str = Field("https://duomiapi.com", validation_alias="DUOMI_BASE_URL")
    duomi_mode: Literal["auto", "sync", "async"] = Field(
        "auto", validation_alias="IMAGEGEN_DUOMI_MODE"
    )
    runpod_api_key: SecretStr | None = Field(None, validation_alias="RUNPOD_API_KEY")
    runpod_endpoint: str | None = Field(None, validation_alias="RUNPOD_SERVER_100_ID")
    runpod_base_url: str = Field("https://api.runpod.ai/v2", validation_alias="RUNPOD_BASE_URL")

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
    in_flight: CountByService = Field({}, validation_alias="IMAGEGEN_IN_FLIGHT")
    rate_per_minute: CountByService = Field({}, validation_alias="IMAGEGEN_RATE_PER_MINUTE")
    rate_per_day: CountByService = Field({}, validation_alias="IMAGEGEN_RATE_PER_DAY")
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
    token: SecretStr | None = Field(None, validation_alias="IMAGEGEN_TOKEN")
    cors: CommaList = Field((), validation_alias="IMAGEGEN_CORS")
    dagster_url: str = Field("http://127.0.0.1:3000", validation_alias="IMAGEGEN_DAGSTER_URL")
    gallery_url: str = Field("http://127.0.0.1:8000", validation_alias="IMAGEGEN_GALLERY_URL")
    backup_path: Path | None = Field(None, validation_alias="IMAGEGEN_BACKUP_DIR")
    failure_webhook: SecretAddress | None = Field(None, validation_alias="IMAGEGEN_FAILURE_WEBHOOK")
    dagster_home: str = Field("", validation_alias="DAGSTER_HOME")
    simulator_setting: str = Field("", validation_alias="IMAGEGEN_SIMULATOR")

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic's raw input
        return {
            name: value
            for name, value in values.items()
            if not (isinstance(value, str) and not value.strip())
        }

    @field_validator("duomi_base_url", "runpod_base_url", "dagster_url", "gallery_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not is_address(value.strip(), ("http", "https")):
            raise ValueError("an address that begins with http:// or https:// is wanted")
        return value.strip().rstrip("/")

    @field_validator("cors")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not is_address(origin, ("http", "https")) or urlsplit(origin).path not in ("", "/"):
                raise ValueError(
                    f"{origin[:100]!r} is not an origin such as https://pictures.example; any "
                    "page of a named origin can spend money, so * is none"
                )
        return tuple(origin.rstrip("/").lower() for origin in value)

    @field_validator("token")
    @classmethod
    def _is_hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        if not is_one_word(value) or len(value.get_secret_value().strip()) < SHORTEST_TOKEN:
            raise ValueError(
                f"a token is one word of at least {SHORTEST_TOKEN} letters, digits and signs, "
                "such as `openssl rand -hex 24` prints"
            )
        return SecretStr(value.get_secret_value().strip())

    @field_validator("ledger_address")
    @classmethod
    def _outlives_the_process(cls, value: str | None) -> str | None:
        if value is None:
            return None
        scheme, _, place = value.strip().partition("://")
        if scheme.startswith("sqlite") and place.strip("/").partition("?")[0] in ("", ":memory:"):
            raise ValueError("a ledger in memory would forget what was paid; name a file")
        return value.strip()

    @field_validator("simulator_setting")
    @classmethod
    def _is_a_switch(cls, value: str) -> str:
        word = value.strip().lower()
        if word not in _ON + _OFF and not is_address(value.strip(), ("http",)):
            raise ValueError("it is 1, 0, or the http:// address of a simulator that runs")
        return value.strip()

    @cached_property
    def simulator(self) -> bool:
        """Whether both services are the local simulator."""
        return self.simulator_setting.lower() not in _OFF

    @cached_property
    def simulator_url(self) -> str | None:
        """A simulator that runs already, when the setting is its address instead of ``1``."""
        address = self.simulator_setting.rstrip("/")
        return address if address.startswith("http://") else None

    @cached_property
    def root(self) -> Path:
        """The project root: relative paths start here."""
        return project_root()

    def _resolve(self, path: Path) -> Path:
        return _below(self.root, path)

    def limits(self, provider: ProviderName) -> Limits:
        """What may be sent to a service, by all processes on the ledger."""
        return Limits(
            in_flight=self.in_flight.get(provider),
            per_minute=self.rate_per_minute.get(provider),
            per_day=self.rate_per_day.get(provider),
        )

    @property
    def budget(self) -> Budget:
        """What may be spent, by all processes on the ledger."""
        return Budget(run=self.budget_run, day=self.budget_day)

    @cached_property
    def base_dir(self) -> Path:
        """``IMAGEGEN_DATA_DIR``, where the sources lie in live and simulated work alike."""
        return self._resolve(self.base_data_dir)

    @cached_property
    def data_dir(self) -> Path:
        """Where results go: the data folder, or ``simulated/`` in it with the simulator on."""
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
        """Where base images go: beside the actors, or apart with the simulator on."""
        return self.data_dir / "actors" if self.simulator else self.actors_dir

    @cached_property
    def output_dir(self) -> Path:
        """Where pictures of prompts go. With the simulator on, always under ``simulated/``."""
        if self.simulator or self.output_path is None:
            return self.data_dir / "generated_images"
        return self._resolve(self.output_path)

    @cached_property
    def log_dir(self) -> Path:
        """Where the users' two logs go."""
        if self.simulator or self.log_path is None:
            return self.data_dir / "logs"
        return self._resolve(self.log_path)

    @cached_property
    def backup_dir(self) -> Path | None:
        """Where backups go; with the simulator on, in the folder of what is simulated."""
        if self.simulator:
            return self.data_dir / "backup"
        return None if self.backup_path is None else self._resolve(self.backup_path)

    @cached_property
    def ledger_url(self) -> str:
        """The SQLAlchemy URL of the ledger; a relative SQLite file lies below the root."""
        if self.simulator or self.ledger_address is None:
            return f"sqlite:///{self.data_dir / 'imagegen.db'}"
        scheme, mark, place = self.ledger_address.partition(":///")
        if mark and scheme.startswith("sqlite"):
            return f"{scheme}:///{self._resolve(Path(place))}"
        return self.ledger_address

    @cached_property
    def workflow_file(self) -> Path:
        """The ComfyUI graph for base images."""
        return self._resolve(self.workflow_path)

    def key_for(self, provider: ProviderName) -> SecretStr:
        """The service's key; raises MissingKeyError when a live run has none, and SetupError."""
        if self.simulator:
            simulated = {"duomi": SIMULATED_DUOMI_KEY, "runpod": SIMULATED_RUNPOD_KEY}
            return SecretStr(simulated[provider])
        key = {"duomi": self.duomi_api_key, "runpod": self.runpod_api_key}[provider]
        if key is None:
            raise MissingKeyError(KEY_VARIABLES[provider])
        return SecretStr(checked_key(key, KEY_VARIABLES[provider]))

    def endpoint(self) -> str:
        """The RunPod endpoint for base images; raises MissingKeyError when there is none."""
        if self.simulator:
            return SIMULATED_ENDPOINT
        if self.runpod_endpoint is None:
            raise MissingKeyError("RUNPOD_SERVER_100_ID")
        endpoint = self.runpod_endpoint.strip()
        if not re.fullmatch(r"[A-Za-z0-9_-]+", endpoint):
            raise SetupError(
                f"RUNPOD_SERVER_100_ID is {endpoint!r}, which is no endpoint's id.",
                remedy="The id is the last part of the endpoint's address in RunPod's console.",
            )
        return endpoint


def checked_key(key: SecretStr, name: str) -> str:
    """``key`` without the blanks around it; raises SetupError, without it, for what is no key."""
    if not is_one_word(key):
        raise SetupError(
            f"{name} is not a key: a key is one word of plain letters, digits and signs.",
            remedy="Copy it anew, without blanks, line breaks or quotation marks.",
        )
    return key.get_secret_value().strip()


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - any setting, by field name
    """Read the environment (and the root's ``.env``) now; raises SetupError for a bad value.

    ``.env`` is put into the process's environment, never over what is there, so that
    Dagster's own ``EnvVar`` sees the same keys.
    """
    _load_env_file(project_root() / ".env")
    _refuse_unknown_variables()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        fault = first["msg"].removeprefix("Value error, ")
        raise SetupError(
            f"{name} has a bad value: {fault}.", remedy="See the table in the README."
        ) from None


def _load_env_file(path: Path) -> None:
    try:
        load_dotenv(path, override=False)
    except (OSError, ValueError) as error:  # a UnicodeDecodeError is a ValueError
        raise SetupError(
            f"{path} cannot be read ({type(error).__name__}).",
            remedy="Write NAME=value lines in UTF-8, or remove the file.",
        ) from None


def _refuse_unknown_variables() -> None:
    """What is set and would be silently ignored is refused: a typo in a limit costs money."""
    fields = {str(field.validation_alias) for field in Settings.model_fields.values()}
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
    """Whether an environment variable has a value: resources name keys without reading them."""
    return bool(os.environ.get(name, "").strip())
