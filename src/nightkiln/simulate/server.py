"""The simulated provider as a server: its socket, its start and its end.

It listens on 127.0.0.1 only and stops with every connection closed.
"""

import asyncio
import gc
import resource
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from nightkiln.core.errors import UsageError
from nightkiln.simulate.connection import Connection
from nightkiln.simulate.provider import Provider
from nightkiln.simulate.settings import SimulatorSettings
from nightkiln.simulate.stats import SimulatorStats

HOST: Final = "127.0.0.1"
BACKLOG: Final = 8192
STOP_LIMIT_S: Final = 5.0
YOUNG_OBJECTS: Final = 50_000  # garbage is rare here; looking for it often costs latency


class Simulator:
    """A simulated provider on the running event loop, for as long as the block lasts."""

    def __init__(
        self,
        settings: SimulatorSettings | None = None,
        *,
        port: int = 0,
        tls_dir: Path | None = None,
    ) -> None:
        self._settings = settings or SimulatorSettings()
        self._port = port
        self._tls_dir = tls_dir
        self._provider: Provider | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        tls = _tls_context(self._tls_dir) if self._tls_dir is not None else None
        provider = Provider(self._settings, loop)
        try:
            self._server = await loop.create_server(
                lambda: Connection(provider, self._connections),
                HOST,
                self._port,
                backlog=BACKLOG,
                ssl=tls,
            )
        except OSError as error:
            raise UsageError(
                f"cannot listen on {HOST}:{self._port}: {error.strerror}",
                hint="name another port with --port; 0 takes a free one",
            ) from error
        self._provider = provider
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is None or self._provider is None:
            return
        self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        await asyncio.wait_for(self._server.wait_closed(), STOP_LIMIT_S)
        self._provider.wheel.close()

    @property
    def url(self) -> str:
        """The base URL, with `/v1`."""
        scheme = "https" if self._tls_dir is not None else "http"
        return f"{scheme}://{HOST}:{self._port}/v1"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def settings(self) -> SimulatorSettings:
        """How it behaves now."""
        return self._running().settings

    def configure(self, settings: SimulatorSettings) -> None:
        """Behave differently from now on."""
        self._running().configure(settings)

    def reset(self) -> None:
        """Set all counters to zero."""
        self._running().reset()

    def stats(self) -> SimulatorStats:
        """All counters at this moment."""
        return self._running().stats()

    def prompts(self) -> dict[str, int]:
        """How many requests each prompt had, by `prompt_hash`; empty without tracking."""
        return self._running().tally.requests_per_prompt()

    def _running(self) -> Provider:
        if self._provider is None:
            raise RuntimeError("the simulator is not started; use `async with`")
        return self._provider


def run_simulator(
    settings: SimulatorSettings,
    *,
    port: int,
    tls_dir: Path | None,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM; calls `on_ready` with the base URL once it listens."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(Simulator(settings, port=port, tls_dir=tls_dir), on_ready))


async def _serve(simulator: Simulator, on_ready: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with simulator:
        on_ready(simulator.url)
        await stop.wait()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _tls_context(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"cannot read cert.pem and key.pem in {folder}: {error}",
            hint="make them with: openssl req -x509 -newkey rsa:2048 -nodes "
            "-keyout key.pem -out cert.pem -subj /CN=localhost",
        ) from error
    return context
