"""Settings: the only reader of the environment and of ``.env``.

Relative paths resolve from the project root, the nearest parent that holds
``dagster.yaml``, so that a command run elsewhere does not open a second ledger.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import load_dotenv
from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from imagegen_pipeline.domain.errors import MissingKeyError, SetupError
from imagegen_pipeline.domain.generation import ServiceName

SIMULATED_DUOMI_KEY = "simulated-duomi-key"
SIMULATED_RUNPOD_KEY = "simulated-runpod-key"
SIMULATED_ENDPOINT = "simulated-endpoint"
KEY_VARIABLES: dict[ServiceName, str] = {"duomi": "DUOMI_API_KEY", "runpod": "RUNPOD_API_KEY"}


def project_root() -> Path:
    """The nearest parent of the current folder, else of this package, with a ``dagster.yaml``."""
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "dagster.yaml").is_file():
                return folder
    return Path.cwd()


def _empty_is_unset(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


OptionalInt = Annotated[int | None, BeforeValidator(_empty_is_unset)]
OptionalPath = Annotated[Path | None, BeforeValidator(_empty_is_unset)]
CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]


class Settings(BaseSettings):
    """Every setting with its default; see the README for the table."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    duomi_api_key: SecretStr | None = Field(None, validation_alias="DUOMI_API_KEY")
    duomi_base_url: str = Field("https://duomiapi.com", validation_alias="DUOMI_BASE_URL")
    duomi_mode: Literal["auto", "sync", "async"] = Field(
        "auto", validation_alias="IMAGEGEN_DUOMI_MODE"
    )
    runpod_api_key: SecretStr | None = Field(None, validation_alias="RUNPOD_API_KEY")
    runpod_endpoint: str | None = Field(None, validation_alias="RUNPOD_SERVER_100_ID")
    runpod_base_url: str = Field("https://api.runpod.ai/v2", validation_alias="RUNPOD_BASE_URL")

    base_data_dir: Path = Field(Path("data"), validation_alias="IMAGEGEN_DATA_DIR")
    prompt_db_path: OptionalPath = Field(None, validation_alias="IMAGEGEN_PROMPT_DB")
    prompt_json_path: OptionalPath = Field(None, validation_alias="IMAGEGEN_PROMPT_JSON_DIR")
    actors_path: OptionalPath = Field(None, validation_alias="IMAGEGEN_ACTORS_DIR")
    output_path: OptionalPath = Field(None, validation_alias="IMAGEGEN_OUTPUT_DIR")
    log_path: OptionalPath = Field(None, validation_alias="IMAGEGEN_LOG_DIR")
    ledger_address: str | None = Field(None, validation_alias="IMAGEGEN_LEDGER_URL")
    workflow_path: Path = Field(
        Path("workflows/normal_image_v4_workflow.json"), validation_alias="IMAGEGEN_WORKFLOW"
    )

    concurrency: int = Field(8, ge=1, le=512, validation_alias="IMAGEGEN_CONCURRENCY")
    timeout_connect: float = Field(10, gt=0, validation_alias="IMAGEGEN_TIMEOUT_CONNECT")
    timeout_read: float = Field(120, gt=0, validation_alias="IMAGEGEN_TIMEOUT_READ")
    timeout_queue: float = Field(900, gt=0, validation_alias="IMAGEGEN_TIMEOUT_QUEUE")
    timeout_run: float = Field(900, gt=0, validation_alias="IMAGEGEN_TIMEOUT_RUN")
    timeout_download: float = Field(60, gt=0, validation_alias="IMAGEGEN_TIMEOUT_DOWNLOAD")
    prices: dict[str, Any] = Field(default_factory=dict, validation_alias="IMAGEGEN_PRICES")
    on_unknown: Literal["resubmit", "hold"] = Field(
        "resubmit", validation_alias="IMAGEGEN_ON_UNKNOWN"
    )
    sensor_backlog: Literal["register", "launch"] = Field(
        "register", validation_alias="IMAGEGEN_SENSOR_BACKLOG"
    )
    allow_private_hosts: CommaList = Field((), validation_alias="IMAGEGEN_ALLOW_PRIVATE_HOSTS")
    dagster_home: str = Field("", validation_alias="DAGSTER_HOME")
    simulator_setting: str = Field("", validation_alias="IMAGEGEN_SIMULATOR")

    @field_validator("duomi_base_url", "runpod_base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("an address that begins with http:// or https:// is wanted")
        return value.rstrip("/")

    @cached_property
    def simulator(self) -> bool:
        """Whether both services are the local simulator."""
        return self.simulator_setting.strip().lower() not in ("", "0", "false", "no", "off")

    @cached_property
    def simulator_url(self) -> str | None:
        """A simulator that runs already, when the setting is its address instead of ``1``."""
        address = self.simulator_setting.strip().rstrip("/")
        return address if address.startswith("http://") else None

    @cached_property
    def root(self) -> Path:
        """The project root: relative paths start here."""
        return project_root()

    def _resolve(self, path: Path) -> Path:
        return Path(os.path.normpath(self.root / path.expanduser()))

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
    def ledger_url(self) -> str:
        """The SQLAlchemy URL of the ledger."""
        if self.simulator or self.ledger_address is None:
            return f"sqlite:///{self.data_dir / 'imagegen.db'}"
        prefix = "sqlite:///"
        if self.ledger_address.startswith(prefix):
            return prefix + str(self._resolve(Path(self.ledger_address.removeprefix(prefix))))
        return self.ledger_address

    @cached_property
    def workflow_file(self) -> Path:
        """The ComfyUI graph for base images."""
        return self._resolve(self.workflow_path)

    def key_for(self, service: ServiceName) -> SecretStr:
        """The service's key; raises MissingKeyError when a live run has none."""
        if self.simulator:
            simulated = {"duomi": SIMULATED_DUOMI_KEY, "runpod": SIMULATED_RUNPOD_KEY}
            return SecretStr(simulated[service])
        key = {"duomi": self.duomi_api_key, "runpod": self.runpod_api_key}[service]
        if key is None or not key.get_secret_value().strip():
            raise MissingKeyError(KEY_VARIABLES[service])
        return key

    def endpoint(self) -> str:
        """The RunPod endpoint for base images; raises MissingKeyError when there is none."""
        if self.simulator:
            return SIMULATED_ENDPOINT
        if not (self.runpod_endpoint or "").strip():
            raise MissingKeyError("RUNPOD_SERVER_100_ID")
        return str(self.runpod_endpoint).strip()


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - any setting, by field name
    """Read the environment (and the root's ``.env``) now; raises SetupError for a bad value.

    ``.env`` is put into the process's environment, never over what is there, so that
    Dagster's own ``EnvVar`` sees the same keys.
    """
    load_dotenv(project_root() / ".env", override=False)
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SetupError(
            f"{name} has a bad value: {first['msg']}.", remedy="See the table in the README."
        ) from None


def variable_is_set(name: str) -> bool:
    """Whether an environment variable has a value: resources name keys without reading them."""
    return bool(os.environ.get(name, "").strip())
