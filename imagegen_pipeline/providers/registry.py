"""The registered providers: the built-in ones, and those of installed packages.

A package registers a provider by an entry point of the group ``imagegen_pipeline.providers``
whose name is the provider's and whose object is a ``Provider`` class. It is loaded when it is
first needed, so that a broken package fails its own provider only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.domain.prices import PriceModel
from imagegen_pipeline.domain.requests import ProviderName
from imagegen_pipeline.providers.base import Provider

GROUP = "imagegen_pipeline.providers"
BUILT_IN: Mapping[ProviderName, str] = {
    "duomi": "imagegen_pipeline.providers.duomi.provider:Duomi",
    "runpod": "imagegen_pipeline.providers.runpod.provider:RunPod",
    "comfyui": "imagegen_pipeline.providers.comfyui.provider:ComfyUI",
}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class ProviderRegistry:
    """Providers by name. A built-in name cannot be taken by a package."""

    def __init__(self, installed: Iterable[EntryPoint]) -> None:
        built_in = (EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items())
        self._entries: dict[ProviderName, list[EntryPoint]] = {
            entry.name: [entry] for entry in built_in
        }
        for entry in installed:
            if _NAME.fullmatch(entry.name):
                self._entries.setdefault(entry.name, []).append(entry)
        self._loaded: dict[ProviderName, Provider[Any]] = {}

    @property
    def names(self) -> tuple[ProviderName, ...]:
        """All names, the built-in ones first."""
        return tuple(self._entries)

    def get(self, name: ProviderName) -> Provider[Any]:
        """The provider of that name; raises SetupError for an unknown or broken one."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def loadable(self) -> Iterator[Provider[Any]]:
        """All providers but those that cannot be loaded."""
        for name in self.names:
            try:
                yield self.get(name)
            except SetupError:
                continue

    def _load(self, name: ProviderName) -> Provider[Any]:
        entries = self._entries.get(name)
        if entries is None:
            raise SetupError(
                f"There is no provider {name[:60]!r}.",
                remedy=f"Registered are {', '.join(self.names)}.",
            )
        if len({entry.value for entry in entries}) > 1:
            values = ", ".join(entry.value for entry in entries)
            raise SetupError(
                f"More than one provider is registered as {name!r}: {values}.",
                remedy="Uninstall all packages but one of these.",
            )
        (entry, *_) = entries
        try:
            loaded = entry.load()
            provider = loaded() if isinstance(loaded, type) else loaded
        except Exception as error:
            raise _broken(entry, f"{type(error).__name__}: {error}") from error
        if not isinstance(provider, Provider):
            raise _broken(entry, "it is not a Provider")
        if provider.name != name:
            raise _broken(entry, f"it calls itself {provider.name!r}")
        return provider


def _broken(entry: EntryPoint, reason: str) -> SetupError:
    package = entry.dist.name if entry.dist is not None else "this package"
    return SetupError(
        f"The provider {entry.name!r} ({entry.value}) cannot be loaded: {reason}.",
        remedy=f"Repair or uninstall {package}, or choose another provider.",
    )


class _PriceModels(Mapping[ProviderName, PriceModel]):
    """The providers' price models; a provider is loaded when its model is read."""

    def __init__(self, registry: ProviderRegistry) -> None:
        self._registry = registry

    def __getitem__(self, name: ProviderName) -> PriceModel:
        if name not in self._registry.names:
            raise KeyError(name)
        return self._registry.get(name).price_model

    def __contains__(self, name: object) -> bool:
        return name in self._registry.names

    def __iter__(self) -> Iterator[ProviderName]:
        return iter(self._registry.names)

    def __len__(self) -> int:
        return len(self._registry.names)


@lru_cache(maxsize=1)
def registry() -> ProviderRegistry:
    """The providers of this process. ``registry.cache_clear()`` reads the entry points again."""
    return ProviderRegistry(entry_points(group=GROUP))


def price_models() -> Mapping[ProviderName, PriceModel]:
    """The price model of each registered provider."""
    return _PriceModels(registry())
