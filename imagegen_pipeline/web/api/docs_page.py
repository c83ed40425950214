"""The API's documentation page: Swagger UI from local files, without inline scripts."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from imagegen_pipeline.web.api.responses import PlainJSON

router = APIRouter(include_in_schema=False)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>imagegen: the API</title>
<link rel="icon" href="/docs/files/favicon-32x32.png">
<link rel="stylesheet" href="/docs/files/swagger-ui.css">
</head>
<body>
<div id="swagger-ui">The API as <a href="/openapi.json">/openapi.json</a>.</div>
<script src="/docs/files/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  validatorUrl: null,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
});
"""


@router.get("/docs")
def docs() -> HTMLResponse:
    """The interactive documentation."""
    return HTMLResponse(_PAGE)


@router.get("/docs/start.js")
def start_script() -> Response:
    """The script that starts Swagger UI."""
    return Response(_START, media_type="text/javascript")


@router.get("/openapi.json")
def document(request: Request) -> PlainJSON:
    """The OpenAPI document."""
    return PlainJSON(request.app.openapi())


def mount_files(app: FastAPI) -> None:
    """Serve Swagger UI's own files."""
    app.mount("/docs/files", StaticFiles(directory=swagger_ui_path), name="swagger-ui")
