"""Composition root: settings in; sources, ledger, picture store and providers wired once.

Dagster assets, the command line, the HTTP API and the Python class work through ``Pipeline``; none
of them has generation logic of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.comfy.workflow import Workflow
from imagegen_pipeline.domain.errors import DecisionError, SetupError, StoreError
from imagegen_pipeline.domain.parameters import PromptParameters, parse_size
from imagegen_pipeline.domain.prices import Prices
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import (
    Attempt,
    GenerationRequest,
    ItemKind,
    Outcome,
    ProviderName,
    Status,
)
from imagegen_pipeline.engine import (
    Batch,
    BatchOptions,
    Deadlines,
    EngineContext,
    ImageTask,
    generate,
)
from imagegen_pipeline.engine.dry_run import DryRun, dry_run
from imagegen_pipeline.engine.request_builder import RequestBuilder
from imagegen_pipeline.ledger import Decision, Item, Ledger, SourceRecord
from imagegen_pipeline.ledger.lease_owner import new_owner
from imagegen_pipeline.providers.base import (
    ClientOptions,
    ProviderClient,
    ProviderSettings,
    Timeouts,
)
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline.providers.registry import price_models, registry
from imagegen_pipeline.providers.simulator_process import ensure_simulator
from imagegen_pipeline.settings import Settings, load_settings, parse_provider_settings
from imagegen_pipeline.sources.scanner import ScanResult, SourceScanner
from imagegen_pipeline.sources.workflow_file import load_workflow
from imagegen_pipeline.storage.pictures import LocalStore

__all__ = ["Pipeline"]


class Pipeline:
    """Everything that the entry points need. Opening it reads no source and needs no key."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or load_settings()
        self.store = LocalStore(self.settings.data_dir)
        self.request_builder = RequestBuilder(self.settings, self.store, lambda: self.workflow)
        self._clients: dict[ProviderName, ProviderClient] = {}
        self._overrides: dict[ProviderName, dict[str, Any]] = {}
        self._opening = threading.Lock()

    def with_timeouts(self, seconds: float) -> Pipeline:
        """A pipeline on the same ledger whose connect, read and download time-outs are at most
        ``seconds``.
        """
        given = self.settings
        waits = {
            name: min(getattr(given, name), seconds)
            for name in ("timeout_connect", "timeout_read", "timeout_download")
        }
        hurried = Pipeline(given.model_copy(update=waits))
        hurried.ledger = self.ledger
        return hurried

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, opened when first asked for."""
        return Ledger(self.settings.ledger_url)

    @cached_property
    def workflow(self) -> Workflow:
        """The ComfyUI graph; raises WorkflowError."""
        return load_workflow(self.settings.workflow_file)

    @cached_property
    def simulator_address(self) -> str:
        """The local simulator's address; starts it if necessary."""
        return self.settings.simulator_url or ensure_simulator(self.settings.data_dir)

    @property
    def timeouts(self) -> Timeouts:
        """The time-outs of every call, from the settings."""
        given = self.settings
        return Timeouts(given.timeout_connect, given.timeout_read, given.timeout_download)

    def use(self, client: ProviderClient) -> None:
        """Use this client for its provider."""
        self._clients[client.name] = client

    def provider(self, name: ProviderName) -> ProviderClient:
        """The client of a provider; raises MissingKeyError and SetupError."""
        with self._opening:
            if name not in self._clients:
                self._clients[name] = self.open_client(name)
            return self._clients[name]

    def open_client(self, name: ProviderName, **changes: Any) -> ProviderClient:  # noqa: ANN401
        """A new client, with ``changes`` of its provider's settings; raises as ``provider``."""
        given = self.settings
        options = ClientOptions(
            timeouts=self.timeouts,
            workflow=lambda: self.workflow,
            queue_seconds=given.timeout_queue,
            run_seconds=given.timeout_run,
        )
        settings = self._provider_settings(name).model_copy(update=changes)
        return registry().get(name).open_client(settings, options)

    def override_settings(self, name: ProviderName, values: Mapping[str, str]) -> None:
        """Use these settings of a provider, by field name, in place of the environment's.

        Raises SetupError for an invalid value. The simulator has settings of its own, so with it
        on they are not used.
        """
        self._overrides[name] = parse_provider_settings(name, values)

    def use_key(self, name: ProviderName, key: str) -> None:
        """Use this key for a provider; raises SetupError for a provider that takes none.

        The simulator accepts its own keys only, so with it on the key is not used.
        """
        field = registry().get(name).key_field
        if field is None:
            raise SetupError(f"{registry().get(name).title} takes no key.")
        if not self.settings.simulator:
            self.use(self.open_client(name, **{field: SecretStr(key)}))

    def check_provider(self, kind: ItemKind) -> None:
        """Raises MissingKeyError when images of this kind cannot be generated, and SetupError."""
        name = self.settings.provider_of(kind)
        if not self.settings.simulator:
            registry().get(name).check_settings(self._provider_settings(name))

    def _provider_settings(self, name: ProviderName) -> ProviderSettings:
        if self.settings.simulator:
            settings: ProviderSettings = (
                registry().get(name).simulated_settings(self.simulator_address)
            )
            return settings
        settings = self.settings.provider_settings(name)
        return settings.model_copy(update=self._overrides.get(name, {}))

    def check_request(self, request: GenerationRequest) -> None:
        """Raises RequestRefusedError for a request that its provider is known to refuse."""
        registry().get(request.provider).check_request(request, lambda: self.workflow)

    def prompt_parameters(self, **changes: Any) -> PromptParameters:  # noqa: ANN401
        """The chosen provider's defaults for images of prompts, with ``changes``."""
        chosen = registry().get(self.settings.prompt_provider)
        return replace(chosen.prompt_parameters, **changes)

    @cached_property
    def engine_context(self) -> EngineContext:
        """The engine's dependencies."""
        given = self.settings
        allowed = given.allow_private_hosts
        if given.simulator:
            allowed = (*allowed, "127.0.0.1")
        return EngineContext(
            ledger=self.ledger,
            store=self.store,
            provider=self.provider,
            downloader=Downloader(timeouts=self.timeouts, allow_private_hosts=allowed),
            prices=Prices(given.prices, price_models()),
            deadlines=Deadlines(
                queue=given.timeout_queue,
                run=given.timeout_run,
                # Headers and body have the read time-out each; the rest is for a busy machine.
                answer=given.timeout_connect + 2 * given.timeout_read + 10,
            ),
            on_unknown=given.on_unknown,
            as_sent=self._as_sent,
            limits=given.limits,
            budget=given.budget,
            simulated=given.simulator,
        )

    @cached_property
    def sources(self) -> SourceScanner:
        """The scanner of the prompts' and actors' sources, which records in the ledger."""
        return SourceScanner(self.settings, lambda: self.ledger)

    def scan_prompts(
        self,
        *,
        database: bool = True,
        json_files: bool = True,
        json_dir: Path | None = None,
        record: bool = True,
    ) -> ScanResult:
        """All prompts of these sources; see ``SourceScanner.scan_prompts``."""
        return self.sources.scan_prompts(
            database=database, json_files=json_files, json_dir=json_dir, record=record
        )

    def scan_actors(self) -> ScanResult:
        """All actors; see ``SourceScanner.scan_actors``."""
        return self.sources.scan_actors()

    def register(self, source_item: Prompt | Actor) -> None:
        """Record a prompt or actor that comes from no scan, such as a typed prompt."""
        kind: ItemKind = "prompt" if isinstance(source_item, Prompt) else "actor"
        record = SourceRecord(kind, source_item.container, [(source_item, None)])
        self.ledger.items.record(record)

    def prompts(self, keys: Sequence[str]) -> dict[str, Prompt]:
        """The prompts of these keys that their source had at its last scan."""
        present = self.present(self.ledger.items.get(keys))
        return {
            k: source_item for k, source_item in present.items() if isinstance(source_item, Prompt)
        }

    def present(self, items: Mapping[str, Item]) -> dict[str, Prompt | Actor]:
        """Of these items, by key, those that their source had at its last scan."""
        unreadable = {problem.location for problem in self.ledger.items.problems()}
        return {
            key: item.source_item
            for key, item in items.items()
            if not item.gone and item.source_item.location not in unreadable
        }

    def order(self, **options: object) -> BatchOptions:
        """Batch options with the settings' concurrency, changed by ``options``."""
        base = BatchOptions(concurrency=self.settings.concurrency)
        return replace(base, **{k: v for k, v in options.items() if v is not None})  # type: ignore[arg-type]

    def generate_images(
        self, prompts: Iterable[Prompt], parameters: PromptParameters, order: BatchOptions
    ) -> Batch:
        """A batch of images of prompts; raises as ``make``, and RequestRefusedError, at once, for
        an invalid size.
        """
        parse_size(parameters.image_size)
        tasks = (self.request_builder.image(one, parameters) for one in prompts)
        return self.make("prompt", parameters.provider, tasks, order)

    def generate_base_images(
        self, actors: Iterable[Actor], order: BatchOptions, *, own: str | None = None
    ) -> Batch:
        """A batch of base images; ``own`` as in ``ImageTask``. Raises as ``make``, and
        WorkflowError, at once, for a graph that cannot be bound.
        """
        provider = self.settings.actor_provider
        if registry().get(provider).uses_workflow:
            _ = self.workflow
        tasks = (self.request_builder.base_image(one, own) for one in actors)
        return self.make("actor", provider, tasks, order)

    def make(
        self,
        kind: ItemKind,
        provider: ProviderName,
        tasks: Iterable[ImageTask],
        order: BatchOptions,
    ) -> Batch:
        """A batch of images for items of one kind, all by one provider.

        Raises, at once, MissingKeyError in a live run without a key, and StoreError for a folder
        that cannot be written.
        """
        self.provider(provider)
        given = self.settings
        folder = given.output_dir if kind == "prompt" else given.base_images_dir
        self._check_folder(self.store.relative(folder))
        return generate(self.engine_context, tasks, order)

    def dry_run(self, wanted: Iterable[ImageTask], *, regenerate: bool) -> DryRun:
        """What ``make`` would do and cost; needs no key."""
        return dry_run(self.engine_context, wanted, regenerate=regenerate)

    def dry_run_images(
        self, prompts: Iterable[Prompt], parameters: PromptParameters, *, regenerate: bool
    ) -> DryRun:
        """What ``generate_images`` would do and cost; needs no key."""
        wanted = (self.request_builder.image(one, parameters) for one in prompts)
        return self.dry_run(wanted, regenerate=regenerate)

    def _check_folder(self, folder: str) -> None:
        """Raises StoreError for a folder that cannot be written, or that has disappeared with its
        images.
        """
        kept = (
            0 if self.store.absolute(folder).exists() else self.ledger.attempts.pictures_in(folder)
        )
        if kept:
            raise StoreError(
                f"{self.store.absolute(folder)} is not there, and {kept} pictures were kept in it.",
                remedy="Mount it, or put it back. Create the folder to generate all images again.",
            )
        self.store.check_writable(folder)

    def base_image_request(self, actor: Actor) -> GenerationRequest:
        """The request for an actor's base image, with the current workflow."""
        return self.request_builder.base_image_request(actor)

    def collect(self, *, after: int = 0, limit: int = 1000) -> Batch:
        """A batch that collects jobs that were sent for any item and are finished.

        It sends nothing and waits for no job. ``after`` is the id of the attempt to start behind.
        Raises MissingKeyError, at the item, in a live run without the key of its provider.
        """
        newest: dict[str, Attempt] = {}
        for attempt in self.ledger.attempts.unfinished(after=after, limit=limit):
            newest[attempt.item_key] = attempt
        wanted = filter(None, map(self._as_sent, newest.values()))
        return generate(self.engine_context, list(wanted), self.order(collect_only=True))

    def _as_sent(self, attempt: Attempt) -> ImageTask | None:
        """The task of an item as ``attempt`` sent it; None for an unknown item."""
        item = self.ledger.items.get([attempt.item_key]).get(attempt.item_key)
        return None if item is None else self.request_builder.as_sent(attempt, item.source_item)

    def resolve(self, key: str, decision: Decision) -> int:
        """Apply a user's decision to the held attempts of an item; see
        ``DecisionRepository.decide``.

        Allowing a retry also resets the count of failures in a row. Raises DecisionError, also
        when another process works on the item.
        """
        owner = new_owner()
        if self.ledger.leases.acquire([f"item:{key}"], owner) is None:
            raise DecisionError(
                f"Another process is at {key} just now.", remedy="Try again when it is done."
            )
        try:
            if decision is Decision.ALLOW_RETRY and self.ledger.failures.of([key]):
                return self.ledger.failures.forgive(key)
            return self.ledger.decisions.decide(key, decision)
        finally:
            self.ledger.leases.release(owner)

    def picture_path(self, attempt: Attempt) -> Path:
        """Where a user finds the image of an attempt: a base image at its fixed path."""
        if attempt.kind == "actor":
            folder = self.settings.base_images_dir / attempt.item_key / "base_image"
            return folder / f"{attempt.item_key}_base.png"
        return self.store.absolute(attempt.path or "")

    def current_outcome(self, key: str) -> Outcome | None:
        """The item's current image as a reused outcome; None when its file is missing."""
        attempt = self.ledger.attempts.current(key)
        if attempt is None or not self.picture_path(attempt).is_file():
            return None
        return Outcome(key, Status.REUSED, attempt=attempt, path=str(self.picture_path(attempt)))

    def out_of_date(self) -> list[str]:
        """The items that have changed since their current image was generated, in their order."""
        current = self.ledger.attempts.maybe_out_of_date()
        items = self.ledger.items.get([one.item_key for one in current])
        return [
            one.item_key
            for one in current
            if self.request_builder.made_from(one, items[one.item_key].source_item) is None
        ]

    @property
    def results_file(self) -> Path:
        """The results table."""
        return self.settings.data_dir / "generation_results.parquet"

    @property
    def approved_file(self) -> Path:
        """The table of the approved images."""
        return self.settings.data_dir / "approved_pictures.parquet"

    def close(self) -> None:
        """Close the ledger, if it was opened."""
        if "ledger" in self.__dict__:
            self.ledger.close()
