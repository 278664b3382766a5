"""A server with two projects: A owns one thing of every kind, B has nothing but its keys."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.scenario.place import DEADLINE_S, Provider, until
from tests.scenario.tenants.rules import (
    BATCH,
    FORM,
    JOB,
    LINES,
    MESSAGES,
    WEBHOOK,
    Door,
    doors_of,
    form_of,
)
from tests.serving import Said, Served, served

from nightkiln.core.access import Scope
from nightkiln.core.ids import ProjectId
from nightkiln.service import keys
from nightkiln.web import routes as web

A: Final = ProjectId("a-owns-it")
B: Final = ProjectId("b-does-not")
SECRET: Final = "the words of nobody but A"
VERSION: Final = "2023-06-01"
_CONFIGURATION: Final = """
[endpoints.simulated]
url = "{url}"
models = ["m"]
concurrency = 8
"""


class Town:
    """The server, its keys, and what A owns."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.doors: list[Door] = doors_of(server.app)
        self.a = {scope: server.new_key(scope=scope, project=A, name=SECRET) for scope in Scope}
        self.b = {scope: server.new_key(scope=scope, project=B) for scope in Scope}
        self.bad = {"none": "", "made up": "nk_" + "x" * 43, **self._over()}
        self.number = 0
        self.owned = {
            "file": self.new("file"),
            "upload": self.new("upload"),
            "batch": self.new("batch"),
            "messages": self.new("messages"),
            "job": self.new("job"),
            "key": self.new("key"),
            "webhook": self.new("webhook"),
        }
        self.part = self._part(self.owned["upload"])
        self._wait()
        found = self.ask("GET", f"/api/v1/jobs/{self.owned['job']}/dataset", key=self.a[Scope.READ])
        self.part_name: str = found.json["files"][0]["name"]

    def ask(
        self, verb: str, path: str, body: bytes | None = None, *, key: str, **headers: str
    ) -> Said:
        """Send a request with what every dialect wants."""
        headers.setdefault("content_type", "application/json")
        headers.setdefault("anthropic_version", VERSION)
        return self.server.ask(verb, path, body, key=key, **headers)

    def knock(self, door: Door, verb: str, name: str, *, key: str) -> Said:
        """Ask a route for one thing, with the body of its rule; any verb."""
        path = door.at(name, name=self.part_name) if "dataset" in door.path else door.at(name)
        if verb not in door.verbs or verb == "HEAD":
            return self.ask(verb, path, key=key)
        rule = door.rule(verb)
        return self.ask(verb, path + rule.query, rule.body, key=key, content_type=rule.content_type)

    def new(self, kind: str) -> str:
        """The id of a new thing of A, unlike all before."""
        self.number += 1
        made: dict[str, Callable[[], str]] = {
            "file": self._file,
            "upload": self._upload,
            "batch": self._batch,
            "messages": self._messages,
            "job": self._job,
            "key": self._key,
            "webhook": lambda: self._made("/api/v1/webhooks", WEBHOOK),
        }
        return made[kind]()

    def _file(self) -> str:
        text = LINES.replace("hello", f"{SECRET} {self.number}")
        body = form_of(purpose="batch", file=text)
        said = self.ask("POST", "/v1/files", body, key=self.a[Scope.WRITE], content_type=FORM)
        return str(self._good(said)["id"])

    def _upload(self) -> str:
        wanted = {"bytes": 9, "filename": f"{SECRET}.jsonl", "mime_type": "a/b", "purpose": "batch"}
        return self._made("/v1/uploads", wanted)

    def _part(self, upload: str) -> str:
        said = self.ask(
            "POST",
            f"/v1/uploads/{upload}/parts",
            form_of(data="12345678\n"),
            key=self.a[Scope.WRITE],
            content_type=FORM,
        )
        return str(self._good(said)["id"])

    def _batch(self) -> str:
        return self._made("/v1/batches", {**BATCH, "input_file_id": self._file()})

    def _messages(self) -> str:
        text = json.dumps(MESSAGES).replace("hello", f"{SECRET} {self.number}")
        return self._made("/v1/messages/batches", json.loads(text))

    def _job(self) -> str:
        rows = [f"{SECRET} {self.number}", "two"]
        body = json.dumps({**JOB, "input": {"from": "rows", "rows": rows}}).encode()
        said = self.ask("POST", "/api/v1/jobs", body, key=self.a[Scope.WRITE])
        return str(self._good(said)["job"]["id"])

    def _key(self) -> str:
        return str(self.server.make_key(project=A, name=SECRET).key.id)

    def _made(self, path: str, body: dict[str, Any]) -> str:
        said = self.ask("POST", path, json.dumps(body).encode(), key=self.a[Scope.WRITE])
        return str(self._good(said)["id"])

    def _good(self, said: Said) -> Any:
        assert said.status in (200, 201), said
        return said.json

    def _over(self) -> dict[str, str]:
        revoked = self.server.make_key(project=A)
        self.server.do(lambda context: keys.revoke(context, revoked.key.id), project=A)
        expired = self.server.make_key(project=A, lives_s=0.001)
        until(lambda: time.time() > (expired.key.expires_at or 0.0))
        return {"revoked": revoked.text, "expired": expired.text}

    def _wait(self) -> None:
        """Until all that A submitted is over, so that there is something at every address."""
        for path in (
            f"/v1/messages/batches/{self.owned['messages']}/results",
            f"/api/v1/jobs/{self.owned['job']}/results",
            f"/api/v1/jobs/{self.owned['job']}/dataset",
        ):
            deadline = time.monotonic() + DEADLINE_S
            while (said := self.ask("GET", path, key=self.a[Scope.READ])).status != 200:
                assert time.monotonic() < deadline, (path, said)


@contextmanager
def town(folder: Path, provider: Provider) -> Iterator[Town]:
    """The town, until the block ends."""
    (folder / "nightkiln.toml").write_text(_CONFIGURATION.format(url=provider.url))
    with served(
        folder / "home",
        work=True,
        routers=web.ROUTERS,
        environ={"NIGHTKILN_PRIVATE_WEBHOOKS": "true"},
    ) as server:
        yield Town(server)
