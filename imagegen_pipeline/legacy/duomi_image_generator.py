"""The guides' Python class, implemented with the pipeline."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.errors import (
    ImagegenError,
    NameTakenError,
    RequestRefusedError,
    SetupError,
    SourceError,
    StoreError,
)
from imagegen_pipeline.domain.parameters import PromptParameters, file_time
from imagegen_pipeline.domain.partition_keys import safe_file_stem
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import Outcome, Status
from imagegen_pipeline.legacy.logs import (
    open_log,
    problem_result,
    user_result,
    write_results_log,
)
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.providers.duomi import provider as duomi
from imagegen_pipeline.sources.scanner import ScanResult
from imagegen_pipeline.sources.typed_prompts import typed_prompt

_log = logging.getLogger(__name__)
_WIRE_NAMES = {
    "model": "model",
    "image_size": "image_size",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "seed": "seed",
    "negative_prompt": "negative_prompt",
}
_PROVIDER = duomi.NAME
_WHOLE_NUMBERS = ("num_inference_steps", "seed")


class DuomiImageGenerator:
    """Generates images with Duomi from typed prompts, SQLite or JSON files.

    ``default_params`` holds the parameters under Duomi's names and may be assigned to. Every image
    is stored before a method returns it. An image that exists already is reused at no cost.
    """

    def __init__(self, api_key: str | None = None, *, pipeline: Pipeline | None = None) -> None:
        """The key comes from ``DUOMI_API_KEY`` unless given. Raises SetupError for bad settings."""
        self._pipeline = pipeline or Pipeline()
        if api_key:
            self._pipeline.use_key(_PROVIDER, api_key)
        base = PromptParameters(provider=_PROVIDER)
        self.default_params: dict[str, Any] = {
            wire: getattr(base, name) for wire, name in _WIRE_NAMES.items()
        }
        self.default_params["batch_size"] = 1

    def __repr__(self) -> str:
        return f"DuomiImageGenerator(model={self.default_params['model']!r})"

    def generate_image(self, prompt: str, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        """Generate and store one image; returns the guides' result dictionary.

        ``kwargs`` are Duomi's names: ``image_size`` ("1024x1024"), ``guidance_scale``,
        ``num_inference_steps``, ``seed`` (-1 draws one), ``negative_prompt``, ``model``.
        A refusal by the provider is not raised: ``success`` is False, and ``error`` holds the
        message and the remedy. Raises MissingKeyError and SetupError for wrong use.
        """
        parameters = self._parameters(kwargs)
        if not isinstance(prompt, str):
            raise SetupError(f"The prompt is {prompt!r}, not a text.", remedy="Give it as a str.")
        try:
            item = typed_prompt(prompt)
        except SourceError as error:
            outcome = _failure("prompt", error)
            stand_in = Prompt("prompt", prompt, "single_prompt", "typed", "")
            return user_result(stand_in, outcome)
        self._pipeline.register(item)
        try:
            return self._batch([item], parameters, delay=0.0)[0]
        except RequestRefusedError as error:
            return user_result(item, _failure(item.key, error))

    def save_generated_image(
        self, result: dict[str, Any], filename_prefix: str = "generated"
    ) -> str | None:
        """Give a result's image a second name, ``{filename_prefix}_{time}``; returns its path.

        Nothing is downloaded. Returns None for a result without an image. Raises StoreError.
        """
        path = result.get("saved_path")
        if not result.get("success") or not path:
            _log.error("There is no image to save: %s", result.get("error"))
            return None
        store, pipeline = self._pipeline.store, self._pipeline
        folder = store.relative(pipeline.settings.output_dir)
        base = f"{safe_file_stem(filename_prefix)}_{file_time(time.time())}"
        about = {"key": result.get("key"), "same_picture_as": Path(path).name}
        for stem in (base, *(f"{base}_{number}" for number in range(2, 10_000))):
            if store.is_taken(folder, stem) or pipeline.ledger.attempts.is_reserved(folder, stem):
                continue
            try:
                stored = store.share(store.relative(Path(path)), folder, stem, about)
            except NameTakenError:  # by another process
                continue
            return str(store.absolute(stored.path))
        raise StoreError(
            f"{base}_2 to {base}_9999 are all taken in {pipeline.settings.output_dir}."
        )

    def get_prompts_from_database(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The database's prompts with the columns of the users' query. Raises SourceError."""
        return [
            {
                "id": prompt.row_id,
                "image_id": prompt.image_id,
                "prompt": prompt.text,
                "original_filename": prompt.original_filename,
                "descriptive_name": prompt.descriptive_name,
            }
            for prompt in self._scan_database().prompts[: _checked_limit(limit)]
        ]

    def get_prompts_from_json_files(
        self, json_dir: str | Path | None = None
    ) -> list[dict[str, Any]]:
        """The prompts of a folder's JSON files. Raises SourceError."""
        return [
            {
                "filename": prompt.filename,
                "prompt": prompt.text,
                "pic_name": prompt.pic_name,
                "image_url": prompt.image_url,
            }
            for prompt in self._scan_json(json_dir).prompts
        ]

    def batch_generate_from_database(
        self, limit: int | None = None, delay: float = 1.0
    ) -> list[dict[str, Any]]:
        """Generate an image for each prompt of the database, ``delay`` seconds or more apart.

        Returns the guides' result dictionaries in source order, unreadable rows last.
        """
        return self._batch_of(self._scan_database(), limit, delay, "database")

    def batch_generate_from_json(
        self,
        json_dir: str | Path | None = None,
        delay: float = 1.0,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Generate an image for each JSON file; see ``batch_generate_from_database``."""
        return self._batch_of(self._scan_json(json_dir), limit, delay, "json")

    def save_results_log(
        self, results: Sequence[dict[str, Any]], output_file: str | Path | None = None
    ) -> str:
        """Write results as JSON to ``output_file`` or to the log folder; returns its path."""
        folder = self._pipeline.settings.log_dir
        path = Path(output_file) if output_file else None
        return str(write_results_log(results, folder, time.time(), path))

    def close(self) -> None:
        """Close the ledger."""
        self._pipeline.close()

    def _parameters(self, changes: dict[str, Any]) -> PromptParameters:
        params = {**self.default_params, **changes}
        if params.pop("batch_size", 1) != 1:
            raise SetupError(
                "batch_size is 1: each image has its own name, seed and cost.",
                remedy="Call once for each image, with different seeds.",
            )
        unknown = sorted(set(params) - set(_WIRE_NAMES))
        if unknown:
            raise SetupError(
                f"Unknown parameters: {', '.join(unknown)}.",
                remedy=f"Known are {', '.join(_WIRE_NAMES)}.",
            )
        for name, value in params.items():
            _check_kind(name, value)
        values = {_WIRE_NAMES[name]: value for name, value in params.items()}
        return PromptParameters(provider=_PROVIDER, **values)

    def _scan_database(self) -> ScanResult:
        return _check_readable(self._pipeline.scan_prompts(json_files=False))

    def _scan_json(self, json_dir: str | Path | None) -> ScanResult:
        folder = Path(json_dir).absolute() if json_dir else None
        return _check_readable(self._pipeline.scan_prompts(database=False, json_dir=folder))

    def _batch_of(
        self, scan: ScanResult, limit: int | None, delay: float, source: str
    ) -> list[dict[str, Any]]:
        prompts = scan.prompts[: _checked_limit(limit)]
        results = self._batch(prompts, self._parameters({}), delay)
        return results + [problem_result(problem, source) for problem in scan.problems]

    def _batch(
        self, prompts: Sequence[Prompt], parameters: PromptParameters, delay: float
    ) -> list[dict[str, Any]]:
        pipeline = self._pipeline
        open_log(pipeline.settings.log_dir)
        batch = pipeline.generate_images(prompts, parameters, pipeline.order(delay=delay))
        outcomes: dict[str, Outcome] = {}
        try:
            for outcome in batch:
                outcomes[outcome.item_key] = outcome
        except BaseException:  # Ctrl-C: the queued items must not be requested
            batch.stop(leave_jobs=True)
            raise
        return [user_result(prompt, outcomes[prompt.key]) for prompt in prompts]


def _check_readable(scan: ScanResult) -> ScanResult:
    if scan.unreadable:
        problem = scan.unreadable[0]
        raise SourceError(problem.message, remedy=problem.remedy)
    return scan


def _check_kind(name: str, value: object) -> None:
    """Raises SetupError for a parameter of the wrong type."""
    if name == "guidance_scale":
        kind, is_right = "a number", isinstance(value, int | float)
    elif name in _WHOLE_NUMBERS:
        kind, is_right = "a whole number", isinstance(value, int)
    else:
        kind, is_right = "a text", isinstance(value, str)
    if not is_right or isinstance(value, bool):
        raise SetupError(f"{name} is {value!r}, not {kind}.", remedy=f"Give {kind}.")


def _checked_limit(limit: int | None) -> int | None:
    if limit is not None and (not isinstance(limit, int) or limit < 0):
        raise SetupError(
            f"limit is {limit!r}, not a whole number from 0 up.",
            remedy="Leave it out, or None, for all.",
        )
    return limit


def _failure(key: str, error: ImagegenError) -> Outcome:
    return Outcome(
        key,
        Status.FAILED,
        error_kind=error.kind,
        error=str(error),
        remedy=error.remedy,
    )
