"""The OpenAPI document in the form that the bundled Swagger UI reads: 3.0, without 422."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from imagegen_pipeline.domain.comfy.limits import LARGEST_SEED

_NEVER_ANSWERED = "422"
_ABOUT = """
Base images of actors, and the gallery of everything that was made.

Every answer that is no picture is JSON. What went wrong has `status` FAILED and an `error`
that says the cause and what to do. What is paid for is never lost: a client that went away
finds its picture again at `GET /api/base-images/{actorName}`.
"""


def document(app: FastAPI, *, with_token: bool) -> dict[str, Any]:
    """The document of ``app``'s routes."""
    found = get_openapi(
        title="imagegen",
        version=_version(),
        description=_ABOUT.strip(),
        routes=app.routes,
    )
    found["openapi"] = "3.0.3"
    for methods in found["paths"].values():
        for operation in methods.values():
            operation["responses"].pop(_NEVER_ANSWERED, None)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    if with_token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    plain: dict[str, Any] = _as_3_0(found)
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
    found = {name: _as_3_0(value) for name, value in node.items()}
    options = found.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [one for one in options if one != {"type": "null"}]
        found.pop("anyOf")
        found |= rest[0] if len(rest) == 1 and "$ref" not in rest[0] else {"anyOf": rest}
        found["nullable"] = True
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
    if "const" in found and "type" in found:
        found["enum"] = [found.pop("const")]
    return found
