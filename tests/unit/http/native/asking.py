"""Asks our own API the way a client does, and waits for what it said."""

import json
import time
from typing import Any

from tests.serving import Said, Served

from nightkiln.service.context import Context

DEADLINE_S = 60.0
STEP_S = 0.05
OVER = ("succeeded", "completed_with_errors", "cancelled", "expired", "failed")


class Asking:
    """A server's native API, as one key sees it."""

    def __init__(self, server: Served, endpoint: str, *, key: str | None = None) -> None:
        self.server = server
        self.endpoint = endpoint
        self._key = key

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Said:
        """Send JSON, or bytes as they are."""
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers.setdefault("content_type", "application/json")
        return self.server.ask(method, "/api/v1" + path, sent, key=self._key, **headers)

    def get(self, path: str) -> Any:
        """What a GET gives, which has to be good."""
        said = self.ask("GET", path)
        assert said.status == 200, said.body
        return said.json

    def new(self, rows: list[Any] | None = None, **more: Any) -> dict[str, Any]:
        """The body of a submission to the provider."""
        given = ["one", "two", "three"] if rows is None else rows
        return {
            "input": {"from": "rows", "rows": given},
            "model": "sim",
            "endpoint": self.endpoint,
            **more,
        }

    def submitted(self, body: dict[str, Any]) -> str:
        """The id of a new job."""
        said = self.ask("POST", "/jobs", body)
        assert said.status == 201, said.body
        job: str = said.json["job"]["id"]
        return job

    def until(self, job: str, *states: str) -> dict[str, Any]:
        """The job once it is in one of these states, or over."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            found: dict[str, Any] = self.get(f"/jobs/{job}")
            if found["state"] in (states or OVER):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(STEP_S)

    def spooled(self) -> list[str]:
        """What lies in the spool of the server's home."""

        async def names(context: Context) -> list[str]:
            return [path.name for path in context.home.spool.iterdir()]

        return self.server.do(names)
