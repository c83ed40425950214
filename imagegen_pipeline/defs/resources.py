"""Dagster resources: the pipeline of a process, and one resource for each provider.

A provider's settings come from the environment when a run or a sensor starts; a deployment may set
them on its resource instead, a key as ``dg.EnvVar``. The fields are empty by default: an ``EnvVar``
by default would fail every run in a process that has no key, those that send no request too.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import dagster as dg
from pydantic import Field, PrivateAttr

from imagegen_pipeline.domain.requests import ProviderName
from imagegen_pipeline.providers.base import Provider
from imagegen_pipeline.providers.registry import registry

if TYPE_CHECKING:
    from imagegen_pipeline.pipeline import Pipeline

    _OfPipeline = dg.ConfigurableResource[Pipeline]
    _OfProvider = dg.ConfigurableResource[Any]
else:  # the type that a resource provides is for the type checker alone
    _OfPipeline = _OfProvider = dg.ConfigurableResource


class ProviderResource(_OfProvider):
    """Base of the providers' resources: one text field for each of the provider's settings.

    An empty field means the environment's value.
    """

    provider_name: ClassVar[ProviderName]

    @property
    def values(self) -> dict[str, str]:
        """The settings that are not empty, by field name."""
        fields = registry().get(self.provider_name).settings_model.model_fields
        return {name: value for name in fields if (value := getattr(self, name))}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"  # a field may hold a key

    __str__ = __repr__


class PipelineResource(_OfPipeline):
    """Sources, ledger and picture store, from the environment's settings.

    ``pipeline_resource`` makes a subclass with a field for each provider's resource.
    """

    _opened: "Pipeline | None" = PrivateAttr(default=None)

    def get(self) -> "Pipeline":
        """The pipeline of this process, opened when first asked for.

        Raises SetupError for an invalid value in a provider's resource.
        """
        if self._opened is None:
            from imagegen_pipeline.pipeline import Pipeline

            opened = Pipeline()
            for name in type(self).model_fields:
                provider = getattr(self, name)
                if isinstance(provider, ProviderResource):
                    opened.override_settings(provider.provider_name, provider.values)
            self._opened = opened
        return self._opened

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """Close what was opened, when the run or tick ends."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def provider_resources() -> dict[str, ProviderResource]:
    """The resource of each provider that can be loaded, by the provider's name."""
    return {_field_name(one.name): _provider_resource(one) for one in registry().loadable()}


def pipeline_resource(providers: dict[str, ProviderResource]) -> PipelineResource:
    """The pipeline, with the settings of these providers' resources."""
    body: dict[str, Any] = {
        "__doc__": PipelineResource.__doc__,
        "__module__": __name__,
        "__annotations__": {name: type(resource) for name, resource in providers.items()},
    }
    kind = type("PipelineWithProviders", (PipelineResource,), body)
    made: PipelineResource = kind(**providers)
    return made


def _provider_resource(provider: Provider[Any]) -> ProviderResource:
    model = provider.settings_model
    body: dict[str, Any] = {
        "__doc__": f"{provider.title}'s settings.",
        "__module__": __name__,
        "__annotations__": dict.fromkeys(model.model_fields, str)
        | {"provider_name": ClassVar[ProviderName]},
        "provider_name": provider.name,
    }
    for name in model.model_fields:
        body[name] = Field("", description=f"Empty: the value of {model.variable(name)}.")
    name = f"{provider.title.replace(' ', '')}Resource"
    kind: type[ProviderResource] = type(name, (ProviderResource,), body)
    return kind()


def _field_name(provider: ProviderName) -> str:
    return provider.replace("-", "_")
