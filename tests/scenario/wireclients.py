"""Clients of a server that may be away: each makes batches in one dialect and reads their ends.

Official clients retry by themselves, as their users have them; of our own API the
`Idempotency-Key` makes a repetition harmless. What only reads is asked again here.
"""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

import anthropic
import httpx2
import openai
from tests.scenario.place import DEADLINE_S

T = TypeVar("T")
Answers = list[tuple[str, str]]  # the name of a row and what was answered, in order
AWAY = (
    openai.APIConnectionError,
    anthropic.APIConnectionError,
    httpx2.TransportError,
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
)
RETRIES = 10
STARTING = 503
URL: Final = "/v1/chat/completions"


class Dialect(Protocol):
    """What every client can do."""

    def make(self, name: str, prompts: list[str]) -> str:
        """A batch of these prompts; its id. Safe against a server that goes away meanwhile."""
        ...

    def counts(self, batch: str) -> tuple[int, int] | None:
        """How many rows there are and how many were answered; None while it is not over."""
        ...

    def answers(self, batch: str) -> Answers:
        """What came of it."""
        ...

    def known(self) -> list[str]:
        """The ids of all that the server knows."""
        ...


def again(call: Callable[[], T]) -> T:
    """Ask until the server is there to answer. Only for what changes nothing when repeated."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return call()
        except AWAY:
            if time.monotonic() > deadline:
                raise
            tick = 0.05
            time.sleep(tick)


class OverOpenai:
    """OpenAI's batches."""

    def __init__(self, url: str, key: str) -> None:
        self._client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=RETRIES)

    def make(self, name: str, prompts: list[str]) -> str:
        """A file, then a batch over it."""
        lines = [json.dumps(self._line(name, *one)) for one in enumerate(prompts)]
        data = "\n".join(lines).encode()
        file = self._client.files.create(file=(f"{name}.jsonl", data), purpose="batch")
        made = self._client.batches.create(
            input_file_id=file.id, endpoint=URL, completion_window="24h"
        )
        return made.id

    def counts(self, batch: str) -> tuple[int, int] | None:
        """Of the batch; one that did not complete is nobody's fault but ours."""
        found = again(lambda: self._client.batches.retrieve(batch))
        assert found.status in ("validating", "in_progress", "finalizing", "completed"), found
        if found.status != "completed":
            return None
        assert found.error_file_id is None
        assert found.request_counts is not None
        assert found.request_counts.failed == 0
        return found.request_counts.total, found.request_counts.completed

    def answers(self, batch: str) -> Answers:
        """The lines of the output file."""
        output = again(lambda: self._client.batches.retrieve(batch)).output_file_id
        assert output is not None
        text = again(lambda: self._client.files.content(output).text)
        lines = [json.loads(line) for line in text.splitlines()]
        return [
            (one["custom_id"], one["response"]["body"]["choices"][0]["message"]["content"])
            for one in lines
        ]

    def known(self) -> list[str]:
        """Over all pages."""
        return [one.id for one in self._client.batches.list(limit=7)]

    @staticmethod
    def _line(name: str, row: int, prompt: str) -> dict[str, Any]:
        body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
        return {"custom_id": f"{name}-{row}", "method": "POST", "url": URL, "body": body}


class OverAnthropic:
    """Anthropic's batches of messages."""

    def __init__(self, url: str, key: str) -> None:
        made = anthropic.Anthropic(base_url=url, api_key=key, max_retries=RETRIES)
        self._batches = made.messages.batches

    def make(self, name: str, prompts: list[str]) -> str:
        """One document."""
        asked: list[Any] = [self._request(name, *one) for one in enumerate(prompts)]
        return self._batches.create(requests=asked).id

    def counts(self, batch: str) -> tuple[int, int] | None:
        """Of the batch."""
        found = again(lambda: self._batches.retrieve(batch))
        if found.processing_status != "ended":
            return None
        said = found.request_counts
        return said.succeeded + said.errored + said.canceled + said.expired, said.succeeded

    def answers(self, batch: str) -> Answers:
        """The stream of results."""
        results = again(lambda: list(self._batches.results(batch)))
        return [(one.custom_id, _text_of(one.result)) for one in results]

    def known(self) -> list[str]:
        """Over all pages."""
        return [one.id for one in self._batches.list(limit=7)]

    @staticmethod
    def _request(name: str, row: int, prompt: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}]
        params = {"model": "m", "max_tokens": 50, "messages": messages}
        return {"custom_id": f"{name}-{row}", "params": params}


def _text_of(result: Any) -> str:
    assert result.type == "succeeded", result
    text: str = result.message.content[0].text
    return text


class OverOurs:
    """Jobs of our own API."""

    def __init__(self, url: str, key: str) -> None:
        self._url = f"{url}/api/v1"
        self._key = key

    def make(self, name: str, prompts: list[str]) -> str:
        """A job of rows, under an idempotency key."""
        rows = [{"id": f"{name}-{row}", "text": prompt} for row, prompt in enumerate(prompts)]
        body = {
            "input": {"from": "rows", "rows": rows},
            "id_column": "id",
            "prompt": {"columns": ["text"]},
            "model": "m",
        }
        said = again(lambda: self._ask("/jobs", body, name))
        job: str = json.loads(said)["job"]["id"]
        return job

    def counts(self, batch: str) -> tuple[int, int] | None:
        """Of the job."""
        found = json.loads(again(lambda: self._ask(f"/jobs/{batch}")))
        assert found["state"] not in ("failed", "cancelled", "expired"), found
        over = found["state"] in ("succeeded", "completed_with_errors")
        return (found["rows"], found["totals"]["ok"]) if over else None

    def answers(self, batch: str) -> Answers:
        """The table."""
        said = again(lambda: self._ask(f"/jobs/{batch}/results?format=jsonl"))
        lines = [json.loads(line) for line in said.splitlines()]
        return [(one["id"], one["answer"]) for one in lines]

    def known(self) -> list[str]:
        """Every job of the project, those of batches too."""
        found: list[str] = []
        after = ""
        while True:
            page = json.loads(self._ask(f"/jobs?limit=9{after}"))
            found += [one["id"] for one in page["data"]]
            if not page["has_more"]:
                return found
            after = f"&after={page['after']}"

    def _ask(self, path: str, body: Any = None, key: str = "") -> bytes:
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        if key:
            headers["idempotency-key"] = key
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
                said: bytes = reply.read()
        except urllib.error.HTTPError as refused:
            with refused:
                if refused.code == STARTING:
                    raise ConnectionError("it is not ready yet") from refused
                raise AssertionError(refused.read().decode()) from refused
        return said
