"""Runs the server on a port until it is told to stop."""

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
    """A uvicorn server that says when it answers, and ends without losing a picture."""

    def __init__(
        self,
        pipeline: Pipeline,
        options: ServeOptions,
        *,
        on_ready: Callable[[str], None] = lambda _url: None,
    ) -> None:
        """Bind the port at once; raises SetupError for an address that is refused or taken."""
        options.check()
        self._listener = _listen(options)
        port = self._listener.getsockname()[1]
        host = LOOPBACK if is_unspecified(options.host) else options.host
        self.url = f"http://{_shown(host)}:{port}"
        app = create_app(pipeline, options)
        self.studio: AppState = app.state.gallery
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
                proxy_headers=False,  # anybody can write them
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=15,
            )
        )
        self._on_ready = on_ready

    def answer(self) -> None:
        """Serve until ``stop``; returns when every answer under way has come. Blocks."""
        open_log(self.studio.pipeline.settings.log_dir)
        _show_requests()
        try:
            self.studio.start()
            self.run(sockets=[self._listener])
        finally:
            self._listener.close()
            self.studio.stop()
            self.studio.join()

    def stop(self) -> None:
        """Make ``answer`` return soon; callable from a signal's handler and from any thread."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then say so."""
        # More threads only wait for each other, and each holds a connection to the ledger.
        current_default_thread_limiter().total_tokens = _THREADS
        await super().startup(sockets=sockets)
        self._on_ready(self.url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Send nothing more and end the streams; then wait for the answers that are under way."""
        self.studio.stop()
        await super().shutdown(sockets=sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command's."""
        yield


def _listen(options: ServeOptions) -> socket.socket:
    family, address = options.place()
    try:
        listener = socket.create_server((address, options.port), family=family, backlog=_BACKLOG)
        # Connections inherit it. Without it each answer's body waits 40 ms for its head's ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise SetupError(
            f"Nothing can listen at {_shown(options.host)}:{options.port}: "
            f"{error.strerror or error}.",
            remedy="Another server may run there: stop it, or choose another --port (0 for any).",
        ) from error


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _show_requests() -> None:
    """What changes something or is refused, a line each on stderr."""
    said = logging.getLogger("imagegen.requests")
    if not said.handlers:
        handler = _ToStderr()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        said.addHandler(handler)
        said.setLevel(logging.INFO)
        said.propagate = False


class _ToStderr(logging.Handler):
    """Writes to what stderr is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            print(self.format(record), file=sys.stderr)  # noqa: T201 - the command's own log


@contextmanager
def running(pipeline: Pipeline, options: ServeOptions) -> Iterator[GalleryServer]:
    """Serve in a thread of this process for the length of a ``with``."""
    ready = threading.Event()
    server = GalleryServer(pipeline, options, on_ready=lambda _url: ready.set())
    thread = threading.Thread(target=server.answer, name="gallery", daemon=True)
    thread.start()
    try:
        if not ready.wait(30):
            raise RuntimeError("the gallery did not start within 30 s")
        yield server
    finally:
        server.stop()
        thread.join(60)
