"""Each provider is a Dagster resource whose fields take the place of the environment's settings."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from imagegen_pipeline.defs.resources import (
    PipelineResource,
    ProviderResource,
    pipeline_resource,
    provider_resources,
)
from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.providers.registry import registry
from imagegen_pipeline_tests.conftest import Project

KEY = "key-of-the-test-4711"


def configured(name: str, **values: str) -> ProviderResource:
    """The resource of a provider with these values."""
    kind: Any = type(provider_resources()[name])
    resource: ProviderResource = kind(**values)
    return resource


def opened(**values: str) -> Pipeline:
    """The pipeline of a deployment that sets these values on Duomi's resource."""
    return pipeline_resource({"duomi": configured("duomi", **values)}).get()


def test_every_provider_has_a_resource() -> None:
    """The code location offers one resource per registered provider, beside the pipeline."""
    from imagegen_pipeline.definitions import defs

    assert set(defs.resources or {}) == {"pipeline", *registry().names}


def test_a_field_names_its_variable_and_holds_no_value(live_project: Project) -> None:
    """A set key is not copied into the resource; its description names the variable."""
    resource = provider_resources()["duomi"]
    assert resource.values == {}
    assert "DUOMI_API_KEY" in str(type(resource).model_fields["api_key"].description)


def test_values_of_the_resource_are_used(
    live_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment without variables of ours sets key and address on the resource."""
    monkeypatch.delenv("DUOMI_API_KEY")
    with closing(opened(api_key=KEY, base_url="http://127.0.0.1:9")) as pipeline:
        assert pipeline.provider("duomi").endpoint.startswith("http://127.0.0.1:9")
        pipeline.check_provider("prompt")


def test_an_empty_field_is_the_environments_value(live_project: Project) -> None:
    """Fields that are not set keep the environment's settings."""
    with closing(opened()) as pipeline:
        address = live_project.environment["DUOMI_BASE_URL"]
        assert pipeline.provider("duomi").endpoint.startswith(address)


def test_the_simulator_ignores_the_resource(project: Project) -> None:
    """With the simulator on, no value of a resource reaches a client."""
    with closing(opened(api_key=KEY, base_url="http://127.0.0.1:9")) as pipeline:
        assert not pipeline.provider("duomi").endpoint.startswith("http://127.0.0.1:9")


def test_a_bad_value_is_refused_by_name(live_project: Project) -> None:
    """An address that is none is one sentence that names the setting."""
    with pytest.raises(SetupError, match=r"DUOMI_BASE_URL|base_url"):
        opened(base_url="not an address")


def test_no_resource_shows_its_key(live_project: Project) -> None:
    """Neither text nor representation of a resource contains a key that was set on it."""
    resource = configured("duomi", api_key=KEY)
    pipeline: PipelineResource = pipeline_resource({"duomi": resource})
    for shown in (resource, pipeline):
        assert KEY not in f"{shown} {shown!r}"
