"""Builds the ASGI application: middleware and routes."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web.api import (
    base_image_routes,
    change_events,
    docs_page,
    gallery_routes,
    job_routes,
    openapi,
    responses,
)
from imagegen_pipeline.web.app_state import AppState
from imagegen_pipeline.web.gallery import file_routes, pages
from imagegen_pipeline.web.options import ServeOptions
from imagegen_pipeline.web.security import access
from imagegen_pipeline.web.security.allowed_hosts import AllowedHosts
from imagegen_pipeline.web.security.middleware import BodyLimit, CrossOriginGuard, SecurityHeaders


def create_app(pipeline: Pipeline, options: ServeOptions) -> FastAPI:
    """The application. Background threads start with ``app.state.app_state.start()``."""
    policy = access.AccessPolicy(options.token)
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=_middleware(options, policy),
        redirect_slashes=False,
    )
    app.state.app_state = AppState(pipeline, options)
    app.state.access = policy
    responses.install(app)
    for module in (
        base_image_routes,
        job_routes,
        gallery_routes,
        file_routes,
        change_events,
        access,
        docs_page,
        pages,
    ):
        app.include_router(module.router)
    docs_page.mount_files(app)
    static = files("imagegen_pipeline.web") / "static"
    app.mount("/static", StaticFiles(directory=str(static)), name="static")

    @cache
    def openapi_document() -> dict[str, Any]:
        return openapi.document(app, with_token=options.token is not None)

    app.openapi = openapi_document  # type: ignore[method-assign]
    return app


def _middleware(options: ServeOptions, policy: access.AccessPolicy) -> list[Middleware]:
    """Outermost first."""
    middleware = [
        Middleware(SecurityHeaders, cors=options.cors),
        Middleware(responses.InternalErrors),
        Middleware(CrossOriginGuard, AllowedHosts(options), cors=options.cors),
    ]
    if options.cors:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=options.cors,
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type"],
                expose_headers=["location", "retry-after"],
            )
        )
    if not policy.is_open:
        middleware.append(Middleware(access.LoginSessions, policy))
    return [
        *middleware,
        Middleware(access.AuthMiddleware, policy),
        Middleware(BodyLimit, seconds=options.body_seconds),
    ]
