"""The application: routes, and what every request passes before it reaches one."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web import (
    access,
    answers,
    base_image_api,
    docs_page,
    gallery_api,
    job_api,
    live,
    openapi,
    pages,
)
from imagegen_pipeline.web import (
    files as picture_files,
)
from imagegen_pipeline.web.guard import Bodies, Guard, Headed
from imagegen_pipeline.web.hosts import OwnNames
from imagegen_pipeline.web.options import ServeOptions
from imagegen_pipeline.web.studio import Studio


def create_app(pipeline: Pipeline, options: ServeOptions) -> FastAPI:
    """The server's application. Nothing runs by itself until ``app.state.gallery.start()``."""
    keys = access.Access(options.token)
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=_middleware(options, keys),
        redirect_slashes=False,
    )
    app.state.gallery = Studio(pipeline, options)
    app.state.access = keys
    answers.install(app)
    for part in (
        base_image_api,
        job_api,
        gallery_api,
        picture_files,
        live,
        access,
        docs_page,
        pages,
    ):
        app.include_router(part.router)
    docs_page.mount_files(app)
    static = files("imagegen_pipeline.web") / "static"
    app.mount("/static", StaticFiles(directory=str(static)), name="static")

    @cache
    def described() -> dict[str, Any]:
        return openapi.document(app, with_token=options.token is not None)

    app.openapi = described  # type: ignore[method-assign]
    return app


def _middleware(options: ServeOptions, keys: access.Access) -> list[Middleware]:
    """From outside in."""
    found = [
        Middleware(Headed, cors=options.cors),
        Middleware(answers.Faults),
        Middleware(Guard, OwnNames(options), cors=options.cors),
    ]
    if options.cors:
        found.append(
            Middleware(
                CORSMiddleware,
                allow_origins=options.cors,
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type"],
                expose_headers=["location", "retry-after"],
            )
        )
    return [
        *found,
        Middleware(access.TokenWanted, keys),
        Middleware(Bodies, seconds=options.body_seconds),
    ]
