"""Runs the simulator on a port."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from imagegen_pipeline.simulator.app import SimulatorApp
from imagegen_pipeline.simulator.options import SimulatorOptions

ANY_PORT = 0


class SimulatorServer(uvicorn.Server):
    """A uvicorn server that reports when it is ready, and stops when it is idle."""

    def __init__(
        self,
        options: SimulatorOptions,
        *,
        host: str = "127.0.0.1",
        port: int = ANY_PORT,
        on_ready: Callable[[int], None] | None = None,
        idle_exit: float | None = None,
    ) -> None:
        """Bind the port at once, so that it is known; OSError when it is taken."""
        self._app = SimulatorApp(options)
        super().__init__(
            uvicorn.Config(
                self._app,
                http=self._app.connections.protocol_class(),
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="critical",
                access_log=False,
                backlog=2048,
                timeout_graceful_shutdown=1,
            )
        )
        self._listener = socket.create_server((host, port), backlog=2048)
        # Connections inherit it. Without it each answer's body waits 40 ms for its head's ACK.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._listener.getsockname()[1]
        self._on_ready = on_ready
        self._idle_exit = idle_exit

    def answer(self) -> None:
        """Serve until stopped; blocks."""
        self.run(sockets=[self._listener])

    def stop(self) -> None:
        """Make `answer` return soon; callable from another thread."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then report it."""
        await super().startup(sockets=sockets)
        if self._on_ready is not None:
            self._on_ready(self.port)

    async def on_tick(self, counter: int) -> bool:
        """Stop also when idle for too long."""
        if self._idle_exit is not None and self._app.idle_seconds > self._idle_exit:
            self.should_exit = True
        return await super().on_tick(counter)


def serve(
    options: SimulatorOptions,
    *,
    host: str = "127.0.0.1",
    port: int = ANY_PORT,
    on_ready: Callable[[int], None] | None = None,
    idle_exit: float | None = None,
) -> None:
    """Serve until interrupted, or for ``idle_exit`` seconds after the last request.

    Port 0 picks a free one; ``on_ready`` is called with the port once it answers.
    Raises OSError when the port is taken.
    """
    server = SimulatorServer(options, host=host, port=port, on_ready=on_ready, idle_exit=idle_exit)
    with contextlib.suppress(KeyboardInterrupt):
        server.answer()


@contextlib.contextmanager
def running(options: SimulatorOptions | None = None, *, port: int = ANY_PORT) -> Iterator[str]:
    """Serve in a thread of this process for the length of a ``with``; gives the root URL."""
    ready = threading.Event()
    server = SimulatorServer(
        options or SimulatorOptions(), port=port, on_ready=lambda _port: ready.set()
    )
    thread = threading.Thread(target=server.answer, name="simulator", daemon=True)
    thread.start()
    try:
        if not ready.wait(30):
            raise RuntimeError("the simulator did not start within 30 s")
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
        thread.join(10)
