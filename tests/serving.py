"""A real server on loopback for tests: its own thread and loop, a real home, uvicorn.

    with served(tmp_path / "home") as server:
        server.get("/api/v1/jobs")

Nothing here says what should come of it.
"""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter, FastAPI

from nightkiln.app.serving import ServedHome, open_server
from nightkiln.app.settings import load_settings
from nightkiln.cli.serve import parts_of
from nightkiln.core.ids import DEFAULT_PROJECT, ProjectId
from nightkiln.http.app import make_app
from nightkiln.http.running import Listening, serve
from nightkiln.http.settings import ServerSettings
from nightkiln.service import keys
from nightkiln.service.context import Context
from nightkiln.service.keys import KeyWish, NewKey

T = TypeVar("T")
DEADLINE_S = 60.0
DRAIN_S = 10.0


class Said(msgspec.Struct, frozen=True):
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A server that runs."""

    def __init__(
        self, app: FastAPI, opened: ServedHome, url: str, *, key: str, stop: Callable[[], object]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._opened = opened
        self.app = app
        self.url = url
        self.stop = stop  # asks for the end, as a signal does
        self.key = key

    def do(self, use: Callable[[Context], Awaitable[T]], *, project: str = DEFAULT_PROJECT) -> T:
        """Run something on the server's own loop, in the context of a project."""

        async def work() -> T:
            return await use(self._opened.context(ProjectId(project)))

        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(DEADLINE_S)

    def make_key(self, **wish: Any) -> NewKey:
        """A new key; the arguments are those of `KeyWish`."""
        return self.do(lambda context: keys.create(context, KeyWish(**wish)))

    def new_key(self, **wish: Any) -> str:
        """The text of a new key."""
        return self.make_key(**wish).text

    def get(self, path: str, *, key: str | None = None, **headers: str) -> Said:
        """GET a path as the admin, or with another key; an empty one sends none."""
        return self.ask("GET", path, None, key=key, **headers)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        *,
        key: str | None = None,
        **headers: str,
    ) -> Said:
        """Send a request. In names of headers `_` stands for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key != "":
            sent.setdefault("authorization", f"Bearer {key or self.key}")
        request = urllib.request.Request(self.url + path, body, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
                return _said(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return _said(refused.code, refused.headers, refused.read())


def _said(status: int, headers: Any, body: bytes) -> Said:
    return Said(status, {name.lower(): value for name, value in headers.items()}, body)


@contextmanager
def served(
    home: Path,
    *,
    limits: ServerSettings | None = None,
    routers: tuple[APIRouter, ...] = (),
    work: bool = False,
    environ: Mapping[str, str] | None = None,
    listening: Listening | None = None,
) -> Iterator[Served]:
    """Serve a home until the block ends.

    `routers` are added without a prefix. Jobs are run only with `work`. `environ` are
    the variables that say what is configured.
    """
    there, ready = threading.Event(), list[Served]()
    ends: list[Callable[[], object]] = []
    trouble: list[BaseException] = []

    async def serving() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        ends.append(lambda: loop.call_soon_threadsafe(stop.set))
        settings = load_settings(environ or {}, home.parent, {})
        async with open_server(home, environ=environ or {}, settings=settings, work=work) as opened:
            path = await keys.ensure_admin_key(opened.context(DEFAULT_PROJECT))
            key = path.read_text().strip()
            app = make_app(parts_of(opened, limits or ServerSettings()))
            for router in routers:
                app.include_router(router)

            def on_ready(url: str) -> None:
                opened.announce(url)
                ready.append(Served(app, opened, url, key=key, stop=ends[0]))
                there.set()

            place = listening or Listening(port=0)
            await serve(app, place, drain_s=DRAIN_S, on_ready=on_ready, stop=stop)

    def run() -> None:
        try:
            asyncio.run(serving())
        except BaseException as error:
            trouble.append(error)
        finally:
            there.set()

    thread = threading.Thread(target=run, name="served")
    thread.start()
    try:
        assert there.wait(DEADLINE_S), "the server did not start in time"
        if trouble:
            raise trouble[0]
        yield ready[0]
    finally:
        if thread.is_alive():
            ends[0]()
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the server did not stop in time"
    if trouble:
        raise trouble[0]  # while it served, or when it stopped
