"""`nightkiln serve`: the server, in the foreground until a signal.

The first SIGTERM or Ctrl-C drains: no new connection is taken, requests under way get
up to 10 s, then the command ends with 0, because being told to stop is no failure of a
server. The second leaves at once with 143 or 130, which loses nothing durable.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nightkiln.cli.setting import home_option, run_async, settings

if TYPE_CHECKING:
    from nightkiln.app.serving import ServedHome
    from nightkiln.http.parts import Parts
    from nightkiln.http.running import Listening
    from nightkiln.http.settings import ServerSettings

_EXTRA: Final = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
_EXIT_CODES: Final = {signal.SIGINT: 130, signal.SIGTERM: 143}
_ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - no name that anybody asks for
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8078,
    show_default=True,
    help="0 takes any that is free.",
)
@click.option(
    "--no-worker",
    is_flag=True,
    help="Take jobs in, and ask no row of them; cancels and pauses are obeyed.",
)
@click.option("--behind-proxy", is_flag=True, help="A proxy in front of us speaks TLS.")
@click.option("--tls-cert", type=_FILE, help="Speak TLS with this certificate (PEM).")
@click.option("--tls-key", type=_FILE, help="The key of the certificate (PEM).")
@click.option(
    "--allow-host",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="Answer to this host name too (*: any); may be repeated. Loopback names always work.",
)
@click.option(
    "--window",
    "windows",
    multiple=True,
    default=("24h",),
    show_default=True,
    metavar="SPAN",
    help="A completion window that OpenAI's batches may ask for, as 24h or 7d; may be repeated.",
)
@click.option(
    "--max-upload-gb",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="GB",
    help="The largest file that is taken, in GiB.",
)
@click.option(
    "--any-sampling",
    is_flag=True,
    help="Take temperature, top_p and top_k in every version of Anthropic's API.",
)
@home_option
def serve(
    host: str,
    port: int,
    no_worker: bool,
    behind_proxy: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    allowed: tuple[str, ...],
    windows: tuple[str, ...],
    max_upload_gb: float,
    any_sampling: bool,
) -> int:
    """Run the server of this home: OpenAI's and Anthropic's batch APIs, and our own.

    It prints one line with its URL once it is ready. Every request needs a key; the first
    start writes one for this machine to admin.key in the home. SIGTERM and Ctrl-C drain.
    """
    from nightkiln.core.extras import Extra

    for module in _EXTRA:
        Extra(name="server", purpose="the server").module(module)
    import nightkiln.app  # noqa: F401 - before http, or Arrow begins with an allocator of its own
    from nightkiln.http.running import Listening, check
    from nightkiln.http.settings import GIB, ServerSettings

    listening = Listening(
        host=host, port=port, tls_cert=tls_cert, tls_key=tls_key, behind_proxy=behind_proxy
    )
    check(listening)
    _check_windows(windows)
    names = frozenset(name.lower() for name in (*allowed, host) if name not in _ANY_ADDRESS)
    _log_to_stderr()
    limits = ServerSettings(
        allowed_hosts=names,
        secure=listening.is_secure or behind_proxy,
        anthropic_sampling=any_sampling,
        completion_windows=windows,
        max_upload_bytes=int(max_upload_gb * GIB),
    )
    return run_async(_serve(listening, limits, work=not no_worker))


def _check_windows(windows: tuple[str, ...]) -> None:
    """Refuse what is no span, before any batch asks for it. Raises UsageError."""
    from nightkiln.core.errors import UsageError
    from nightkiln.wire.openai.spans import span_seconds

    for window in windows:
        if not span_seconds(window):
            raise UsageError(f"--window cannot be {window!r}", hint="write it as 24h or 7d")


def parts_of(opened: "ServedHome", limits: "ServerSettings") -> "Parts":
    """What the routes of an opened home stand on."""
    from nightkiln.http.parts import Parts, Standing

    return Parts(
        context=opened.context,
        store=opened.store,
        home=opened.home,
        settings=limits,
        models=opened.models,
        taking=opened.taking,
        counting=opened.counting,
        reaching=opened.reaching,
        outward=opened.outward,
        standing=Standing(),
        roster=opened.roster,
        tended=opened.tended,
    )


async def _serve(listening: "Listening", limits: "ServerSettings", *, work: bool) -> int:
    from nightkiln.app.serving import open_server
    from nightkiln.core.ids import DEFAULT_PROJECT
    from nightkiln.http.app import make_app
    from nightkiln.http.running import serve
    from nightkiln.http.starting import starting
    from nightkiln.service.keys import ensure_admin_key, hash_of
    from nightkiln.web import routes as web

    stop, root = asyncio.Event(), settings().home
    with _signals(stop):
        async with (
            starting(listening) as early,
            open_server(root, environ=os.environ, settings=settings(), work=work) as opened,
        ):
            admin_key = await ensure_admin_key(opened.context(DEFAULT_PROJECT))
            parts = parts_of(opened, limits)

            def on_ready(url: str) -> None:
                opened.announce(url)
                click.echo(f"the admin key is in {admin_key}", err=True)
                print(_ready_line(url), flush=True)
                if sys.stderr.isatty():  # never into a log: who has the link is the admin
                    text = admin_key.read_text(encoding="ascii").strip()
                    link = parts.sessions.new_link(hash_of(text), now=parts.clock())
                    click.echo(f"pages, once within 10 minutes: {url}/sign-in/{link}", err=True)

            app, drain_s = make_app(parts), limits.drain_s
            for router in web.ROUTERS:
                app.include_router(router)
            await serve(
                app,
                listening,
                drain_s=drain_s,
                on_ready=on_ready,
                stop=stop,
                listener=early.hand_over(),
            )
    return 0


def _ready_line(url: str) -> str:
    return f"ready: {url} (OpenAI: {url}/v1, Anthropic: {url}/anthropic, our own: {url}/api/v1)"


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """The first signal asks for the end; the second is the end."""
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(_EXIT_CODES[number])
        click.echo("stopping: requests under way get up to 10 s to end", err=True)
        stop.set()

    for number in _EXIT_CODES:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in _EXIT_CODES:
            loop.remove_signal_handler(number)


class _Lines(logging.Formatter):
    """One line an event: when, how bad, what, and its ids."""

    _USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, with what was given as `extra`."""
        line = super().format(record)
        said = {name: value for name, value in vars(record).items() if name not in self._USUAL}
        return " ".join([line, *(f"{name}={value}" for name, value in said.items())])


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
