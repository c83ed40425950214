"""Runs the HTTP server until it is stopped."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from anyio.to_thread import current_default_thread_limiter

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.legacy.logs import open_log
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web.app import create_app
from imagegen_pipeline.web.app_state import AppState
from imagegen_pipeline.web.options import LOOPBACK, ServeOptions
from imagegen_pipeline.web.security.allowed_hosts import is_unspecified
from imagegen_pipeline.web.security.slow_clients import timeout_protocol

_THREADS = 12
_BACKLOG = 512


class GalleryServer(uvicorn.Server):
    """A uvicorn server that reports when it is ready and waits for running jobs when it stops."""

    def __init__(
        self,
        pipeline: Pipeline,
        options: ServeOptions,
        *,
        on_ready: Callable[[str], None] = lambda _url: None,
    ) -> None:
        """Bind the port; raises SetupError for an address that is not allowed or in use."""
        options.check()
        self._listener = _listen(options)
        port = self._listener.getsockname()[1]
        host = LOOPBACK if is_unspecified(options.host) else options.host
        self.url = f"http://{_url_host(host)}:{port}"
        app = create_app(pipeline, options)
        self.app_state: AppState = app.state.app_state
        super().__init__(
            uvicorn.Config(
                app,
                http=timeout_protocol(options.head_seconds),
                loop="asyncio",
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="critical",
                access_log=False,
                proxy_headers=False,  # any client can send them
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=15,
            )
        )
        self._on_ready = on_ready

    def serve_until_stopped(self) -> None:
        """Serve until ``stop``, then wait for running jobs. Blocks."""
        open_log(self.app_state.pipeline.settings.log_dir)
        _log_requests()
        try:
            self.app_state.start()
            self.run(sockets=[self._listener])
        finally:
            self._listener.close()
            self.app_state.stop()
            self.app_state.join()

    def stop(self) -> None:
        """Make ``serve_until_stopped`` return; callable from signal handlers and any thread."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then call ``on_ready``."""
        # Each thread holds a connection to the ledger; more of them only wait for each other.
        current_default_thread_limiter().total_tokens = _THREADS
        await super().startup(sockets=sockets)
        self._on_ready(self.url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop jobs and event streams, then wait for open requests."""
        self.app_state.stop()
        await super().shutdown(sockets=sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the command."""
        yield


def _listen(options: ServeOptions) -> socket.socket:
    family, address = options.resolve_address()
    try:
        listener = socket.create_server((address, options.port), family=family, backlog=_BACKLOG)
        # Connections inherit it. Without it each response's body waits 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise SetupError(
            f"Cannot listen at {_url_host(options.host)}:{options.port}: "
            f"{error.strerror or error}.",
            remedy="Stop the server that may be running there, or choose another --port (0: any).",
        ) from error


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _log_requests() -> None:
    """Log changing and refused requests to stderr, one line each."""
    log = logging.getLogger("imagegen.requests")
    if not log.handlers:
        handler = _StderrHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False


class _StderrHandler(logging.Handler):
    """Writes to the present ``sys.stderr``."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        with contextlib.suppress(OSError, ValueError):  # stderr is closed
            print(self.format(record), file=sys.stderr)  # noqa: T201 - the command's own log


@contextmanager
def running(pipeline: Pipeline, options: ServeOptions) -> Iterator[GalleryServer]:
    """Serve in a thread of this process during a ``with`` block."""
    ready = threading.Event()
    server = GalleryServer(pipeline, options, on_ready=lambda _url: ready.set())
    thread = threading.Thread(target=server.serve_until_stopped, name="gallery", daemon=True)
    thread.start()
    try:
        if not ready.wait(30):
            raise RuntimeError("the gallery did not start within 30 s")
        yield server
    finally:
        server.stop()
        thread.join(60)
