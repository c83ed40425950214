"""The OpenAPI document as version 3.0, which the bundled Swagger UI reads, without 422."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from imagegen_pipeline.domain.comfy.limits import LARGEST_SEED

_UNUSED_STATUS = "422"
_ABOUT = """
Base images of actors, and the gallery of all images.

Responses are JSON or images. An error has `status` FAILED and an `error` that says the cause and
the remedy. A paid image is never lost: a client that was disconnected gets it from
`GET /api/base-images/{actorName}`.
"""


def document(app: FastAPI, *, with_token: bool) -> dict[str, Any]:
    """The document of ``app``'s routes."""
    spec = get_openapi(
        title="imagegen",
        version=_version(),
        description=_ABOUT.strip(),
        routes=app.routes,
    )
    spec["openapi"] = "3.0.3"
    for methods in spec["paths"].values():
        for operation in methods.values():
            operation["responses"].pop(_UNUSED_STATUS, None)
    schemas = spec.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    if with_token:
        spec["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        spec["security"] = [{"token": []}]
    plain: dict[str, Any] = _as_3_0(spec)
    return plain


def _version() -> str:
    from importlib.metadata import version

    return version("imagegen-pipeline")


def _as_3_0(node: Any) -> Any:  # noqa: ANN401 - any JSON
    """JSON Schema as OpenAPI 3.0 spells it: ``nullable``, ``enum``, no ``examples`` list."""
    if isinstance(node, float) and node.is_integer():
        return LARGEST_SEED if node == float(LARGEST_SEED) else int(node)
    if isinstance(node, list):
        return [_as_3_0(one) for one in node]
    if not isinstance(node, dict):
        return node
    spec = {name: _as_3_0(value) for name, value in node.items()}
    options = spec.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [one for one in options if one != {"type": "null"}]
        spec.pop("anyOf")
        spec |= rest[0] if len(rest) == 1 and "$ref" not in rest[0] else {"anyOf": rest}
        spec["nullable"] = True
        if "enum" in spec:
            spec["enum"] = [*spec["enum"], None]
    if "const" in spec and "type" in spec:
        spec["enum"] = [spec.pop("const")]
    return spec
