"""What every route asks of its callers: one line each, so a new route fails until it has one.

The routes themselves come from the application. A line says the scope that the route
needs and a body that gets as far as looking for what the path names.
"""

import json
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from nightkiln.core.access import Scope

VERBS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ANTHROPIC: Final = "/anthropic"  # the second prefix of the same routes
BOUNDARY: Final = "frontier"
NAMED_IN_PATHS: Final = {
    "file_id": "file",
    "upload_id": "upload",
    "batch_id": "batch",
    "job_id": "job",
    "key_id": "key",
    "webhook_id": "webhook",
}
NOBODYS: Final = {"model": "m", "token": "none", "name": "live.js"}  # in paths too


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What a route asks."""

    scope: Scope | None  # None: everybody may come in
    body: bytes | None = None
    content_type: str = "application/json"
    query: str = ""
    also: tuple[int, ...] = ()  # what the owner may hear besides a good answer


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def form_of(**fields: str) -> bytes:
    """A form; the values of `file` and `data` are files."""
    parts = []
    for name, value in fields.items():
        file = '; filename="in.jsonl"' if name in ("file", "data") else ""
        head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(f"{head}{value}\r\n")
    return "".join([*parts, f"--{BOUNDARY}--\r\n"]).encode()


FORM: Final = f"multipart/form-data; boundary={BOUNDARY}"
CHAT: Final = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
LINE: Final = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
LINES: Final = json.dumps(LINE) + "\n"
BATCH: Final = {
    "input_file_id": "file-none",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
}
MESSAGES: Final = {"requests": [{"custom_id": "a", "params": {**CHAT, "max_tokens": 9}}]}
JOB: Final = {"input": {"from": "rows", "rows": ["one", "two"]}, "model": "m"}
WEBHOOK: Final = {"url": "http://10.1.2.3:9/hook"}

_OPEN: Final = Rule(scope=None)
_READ: Final = Rule(scope=Scope.READ)
_WRITE: Final = Rule(scope=Scope.WRITE)
_ADMIN: Final = Rule(scope=Scope.ADMIN)


def _write(value: Any, *also: int) -> Rule:
    return Rule(scope=Scope.WRITE, body=_json(value), also=also)


def _form(*also: int, **fields: str) -> Rule:
    return Rule(scope=Scope.WRITE, body=form_of(**fields), content_type=FORM, also=also)


# 400 and 409 are answers to the owner about a thing that is there: an upload without
# such a part, a job that is over. Nobody else hears them.
_SETTLED: Final = Rule(scope=Scope.WRITE, also=(400, 409))
RULES: Final[dict[str, Rule]] = {
    "GET /healthz": _OPEN,
    "GET /readyz": _OPEN,
    "GET /api/docs": _OPEN,
    "GET /api/openapi.json": _OPEN,
    "GET /sign-in": _OPEN,
    "POST /sign-in": Rule(scope=None, also=(403,)),
    "GET /sign-in/{token}": Rule(scope=None, also=(403,)),
    "GET /static/{name}": _OPEN,
    "POST /sign-out": Rule(scope=Scope.READ, also=(403,)),
    "GET /": _READ,
    "GET /jobs/{job_id}": _READ,
    "GET /jobs/{job_id}/live": _READ,
    "GET /metrics": _READ,
    # OpenAI
    "POST /v1/files": _form(purpose="batch", file=LINES),
    "GET /v1/files": _READ,
    "GET /v1/files/{file_id}": _READ,
    "DELETE /v1/files/{file_id}": _WRITE,
    "GET /v1/files/{file_id}/content": _READ,
    "POST /v1/uploads": _write(
        {"bytes": 9, "filename": "a.jsonl", "mime_type": "application/jsonl", "purpose": "batch"}
    ),
    "POST /v1/uploads/{upload_id}/parts": _form(data="{}\n"),
    "POST /v1/uploads/{upload_id}/complete": _write({"part_ids": ["part_none"]}, 400),
    "POST /v1/uploads/{upload_id}/cancel": _WRITE,
    "POST /v1/batches": _write(BATCH),
    "GET /v1/batches": _READ,
    "GET /v1/batches/{batch_id}": _READ,
    "POST /v1/batches/{batch_id}/cancel": _SETTLED,
    "GET /v1/batches/{batch_id}/lines": _READ,
    "GET /v1/models": _READ,
    "GET /v1/models/{model}": _READ,
    # Anthropic, under both prefixes
    "POST /v1/messages/batches": _write(MESSAGES),
    "GET /v1/messages/batches": _READ,
    "GET /v1/messages/batches/{batch_id}": _READ,
    "DELETE /v1/messages/batches/{batch_id}": _SETTLED,
    "POST /v1/messages/batches/{batch_id}/cancel": _WRITE,
    "GET /v1/messages/batches/{batch_id}/results": _READ,
    "POST /v1/messages/count_tokens": Rule(scope=Scope.READ, body=_json(CHAT)),
    # our own
    "POST /api/v1/jobs": _write(JOB),
    "GET /api/v1/jobs": _READ,
    "POST /api/v1/jobs/plan": _write(JOB),
    "POST /api/v1/jobs/estimate": _write(JOB),
    "GET /api/v1/jobs/{job_id}": _READ,
    "DELETE /api/v1/jobs/{job_id}": _SETTLED,
    "POST /api/v1/jobs/{job_id}/cancel": _SETTLED,
    "POST /api/v1/jobs/{job_id}/pause": _SETTLED,
    "POST /api/v1/jobs/{job_id}/resume": _SETTLED,
    "POST /api/v1/jobs/{job_id}/retry": _SETTLED,
    "GET /api/v1/jobs/{job_id}/rows": _READ,
    "GET /api/v1/jobs/{job_id}/rows/scan": Rule(scope=Scope.READ, query="?text=one"),
    "GET /api/v1/jobs/{job_id}/faults": _READ,
    "GET /api/v1/jobs/{job_id}/bad-rows": _READ,
    "GET /api/v1/jobs/{job_id}/bad-rows/lines": _READ,
    "GET /api/v1/jobs/{job_id}/results": _READ,
    "GET /api/v1/jobs/{job_id}/dataset": _READ,
    "GET /api/v1/jobs/{job_id}/dataset/{name}": _READ,
    "GET /api/v1/jobs/{job_id}/trial": Rule(scope=Scope.READ, also=(404,)),  # none was asked for
    "GET /api/v1/old-jobs": Rule(scope=Scope.READ, query="?older_than_s=0"),
    "GET /api/v1/jobs/{job_id}/answers": _READ,
    "GET /api/v1/jobs/{job_id}/inputs": _READ,
    "GET /api/v1/jobs/{job_id}/events": _READ,
    "GET /api/v1/jobs/{job_id}/events/stream": _READ,
    "PUT /api/v1/files": Rule(
        scope=Scope.WRITE,
        body=b"a\n1\n",
        content_type="application/octet-stream",
        query="?name=a.csv",
    ),
    "GET /api/v1/files": _READ,
    "GET /api/v1/files/{file_id}": _READ,
    "GET /api/v1/files/{file_id}/content": _READ,
    "DELETE /api/v1/files/{file_id}": _WRITE,
    "POST /api/v1/keys": Rule(scope=Scope.ADMIN, body=_json({"name": "n", "scope": "read"})),
    "GET /api/v1/keys": _ADMIN,
    "POST /api/v1/keys/link": _READ,
    "POST /api/v1/keys/{key_id}/rotate": _ADMIN,
    "DELETE /api/v1/keys/{key_id}": _ADMIN,
    "GET /api/v1/fleet": _READ,
    "GET /api/v1/usage": _READ,
    "POST /api/v1/webhooks": _write(WEBHOOK),
    "GET /api/v1/webhooks": _READ,
    "GET /api/v1/webhooks/{webhook_id}": _READ,
    "DELETE /api/v1/webhooks/{webhook_id}": _WRITE,
    "GET /api/v1/webhooks/{webhook_id}/deliveries": _READ,
}


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """One path of the application and the verbs it takes."""

    path: str  # a template
    verbs: frozenset[str]

    def rule(self, verb: str) -> Rule:
        """The rule of a verb. Raises KeyError for one that nobody wrote."""
        return RULES[f"{verb} {self.path.removeprefix(ANTHROPIC)}"]

    @property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """What the path names: parameters, and kinds of things or nothing."""
        steps = [step.strip("{}").partition(":")[0] for step in self.path.split("/") if "{" in step]
        return tuple((step, self._kind(step)) for step in steps)

    def _kind(self, step: str) -> str:
        if step in NOBODYS:
            return ""
        is_messages = step == "batch_id" and "/messages/" in self.path
        return "messages" if is_messages else NAMED_IN_PATHS[step]

    @property
    def kind(self) -> str:
        """The kind of the one thing of a project that the path names; nothing if there is none."""
        return next((kind for _, kind in self.kinds if kind), "")

    def at(self, thing: str, **others: str) -> str:
        """The path of one thing, and of what else the path names."""
        path = self.path
        for step, kind in self.kinds:
            path = path.replace(
                "{" + step + "}", thing if kind else others.get(step, NOBODYS[step])
            )
        return path


def doors_of(app: FastAPI) -> list[Door]:
    """Every path of an application, as it serves them."""
    found: dict[str, set[str]] = {}
    for route in iter_route_contexts(app.routes):
        assert route.path is not None
        assert route.methods is not None, f"{route.path} is no route that we know how to ask"
        found.setdefault(route.path.replace(":path}", "}"), set()).update(route.methods)
    return [Door(path=path, verbs=frozenset(verbs)) for path, verbs in found.items()]
