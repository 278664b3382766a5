"""An application on a socket, from the first connection to the last: uvicorn, without its manners.

It installs no signal handlers, configures no logging and exits no process: whoever
calls decides when to stop, and hears of trouble as an error.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import uvicorn
from fastapi import FastAPI

from nightkiln.core.errors import UsageError
from nightkiln.http.connections import Strangers
from nightkiln.http.parts import Phase, Standing

_BACKLOG: Final = 1024
_CONNECTIONS: Final = 2000  # at once; the next one is told to come again
_KEEP_ALIVE_S: Final = 65  # longer than the usual proxy keeps an idle connection


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free
    tls_cert: Path | None = None  # a chain in PEM
    tls_key: Path | None = None
    behind_proxy: bool = False  # somebody in front of us speaks TLS

    @property
    def is_secure(self) -> bool:
        """True when we speak TLS ourselves."""
        return self.tls_cert is not None

    def url(self, port: int) -> str:
        """The base URL, with the true port."""
        scheme = "https" if self.is_secure else "http"
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{name}:{port}"


def check(listening: Listening) -> None:
    """Raise UsageError for an address where keys and prompts would travel in the clear."""
    if (listening.tls_cert is None) != (listening.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    if not (listening.is_secure or listening.behind_proxy or is_loopback(listening.host)):
        raise UsageError(
            f"{listening.host} can be reached from other machines, where keys and prompts"
            " would travel unencrypted",
            hint="give --tls-cert and --tls-key, or --behind-proxy when a proxy that speaks TLS"
            " stands in front, or listen on 127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """True for names and addresses that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


async def serve(
    app: FastAPI,
    listening: Listening,
    *,
    drain_s: float,
    on_ready: Callable[[str], None],
    stop: asyncio.Event,
    listener: socket.socket | None = None,
) -> None:
    """Serve until told to stop, then let requests under way end. Raises UsageError.

    `on_ready` hears the base URL once connections are taken. While requests end, new
    ones are still answered, with 503. A `listener` that is bound stays its owner's.
    """
    standing: Standing = app.state.parts.standing
    config = _config(app, listening)
    with contextlib.ExitStack() as stack:
        listener = listener or stack.enter_context(bound(listening))
        port = listener.getsockname()[1]

        def started() -> None:
            standing.phase = Phase.SERVING
            on_ready(listening.url(port))

        server = _Server(config, started)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="http server")
        stopping = asyncio.create_task(stop.wait(), name="stop of the http server")
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            standing.phase = Phase.DRAINING
            stopping.cancel()
            if not serving.done():
                await _drained(server, drain_s)
            server.should_exit = True
            await serving


async def _drained(server: uvicorn.Server, drain_s: float) -> None:
    """Wait until no request is under way, for so long; what is left gets a second more."""
    clock = asyncio.get_running_loop().time
    until = clock() + drain_s
    while (tasks := {*server.server_state.tasks}) and clock() < until:
        await asyncio.wait(tasks, timeout=until - clock())
    server.config.timeout_graceful_shutdown = 1


class _Server(uvicorn.Server):
    """uvicorn's server, but signals are its owner's business, who also hears of its start."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: FastAPI, listening: Listening) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        loop="none",
        http=Strangers(app.state.parts.settings).protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        ssl_certfile=listening.tls_cert,
        ssl_keyfile=listening.tls_key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"the certificate {listening.tls_cert} or its key cannot be used: {error}",
            hint="both are files in PEM, and the key has no password",
        ) from error
    return config


@contextlib.contextmanager
def bound(listening: Listening) -> Iterator[socket.socket]:
    """A socket that is bound, and closed in the end."""
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((listening.host, listening.port))
        except OSError as error:
            raise UsageError(
                f"cannot listen on {listening.host} port {listening.port}: {error.strerror}",
                hint="name another one with --port; --port 0 takes any that is free",
            ) from error
        yield listener
    finally:
        listener.close()
