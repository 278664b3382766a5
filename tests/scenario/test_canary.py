"""A credential of a provider is used and is found nowhere: not in what is kept, said or shown.

The provider echoes what it was sent, as gateways do: whole, without its scheme, inside
of JSON, as text, and for a failure in the middle of a list.
"""

import http.server
import io
import json
import os
import sqlite3
import threading
import urllib.error
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.scenario.place import DEADLINE_S, Place, until
from tests.scenario.test_serve import key_of, serving

BY_ENV, BY_FILE = "canaryEnvSecret7f3a9d1e", "canary.file~secret+5b2c8e"
IN_HEADER, BY_KEYRING = "canaryHeaderSecret0c4d", "canaryKeyringSecret9e2b"
SECRETS = (BY_ENV, BY_FILE, IN_HEADER, BY_KEYRING)
MODELS = ("m", "n", "k")  # each at an endpoint of its own, with a credential from elsewhere
JSON = "application/json"
NOT_FOUND = 404
KINDS = ("fine", "echo", "bare", "text", "nested", "limit", "teapot")


class Echo(http.server.BaseHTTPRequestHandler):
    """A provider whose errors repeat the headers of the request."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[Counter[str]] = Counter()
    tried: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        sent = self.headers.get("authorization", "")
        self.seen[sent.removeprefix("Bearer ")] += 1
        self.seen[self.headers.get("x-gateway", "")] += 1
        kind = next(kind for kind in KINDS if f"kind {kind}" in body)
        self.tried[body] += 1
        status, said, mime = self._said(kind, sent, first=self.tried[body] == 1)
        self.send_response(status)
        self.send_header("content-type", mime)
        self.send_header("content-length", str(len(said)))
        self.send_header("x-request-id", f"req-{sent.removeprefix('Bearer ')}")
        self.end_headers()
        self.wfile.write(said)

    def _said(self, kind: str, sent: str, *, first: bool) -> tuple[int, bytes, str]:
        token, gateway = sent.removeprefix("Bearer "), self.headers.get("x-gateway", "")
        if kind == "text":
            return 413, f"<html>no: {sent} {token} {gateway}</html>".encode(), "text/html"
        errors: dict[str, tuple[int, Any]] = {
            "echo": (400, {"error": {"message": f"you sent Authorization: {sent}, {gateway}"}}),
            "bare": (422, {"error": {"message": f"wrong key {token}", "code": token}}),
            "nested": (422, {"detail": [{"loc": ["header"], "input": {"authorization": sent}}]}),
            "teapot": (418, {"headers": dict(self.headers)}),
        }
        if first:
            errors["limit"] = 429, {"error": {"message": f"slow down, {token}", "code": token}}
        if kind in errors:
            status, error = errors[kind]
            return status, json.dumps(error).encode(), JSON
        reply = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "well"},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        return 200, json.dumps(reply).encode(), JSON

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    Echo.seen.clear()
    Echo.tried.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join(DEADLINE_S)


@pytest.fixture
def place(tmp_path: Path, echo: str) -> Iterator[Place]:
    (tmp_path / "secret.txt").write_text(BY_FILE + "\n")
    (tmp_path / "nightkiln.toml").write_text(
        f'[endpoints.one]\nurl = "{echo}"\nkey = "env:CANARY"\nmodels = ["m"]\n'
        f'headers = {{ x-gateway = "env:GATEWAY" }}\n'
        f'[endpoints.two]\nurl = "{echo}"\nkey = "file:secret.txt"\nmodels = ["n"]\n'
        f'[endpoints.three]\nurl = "{echo}"\nkey = "keyring:canary/team"\nmodels = ["k"]\n'
    )
    with Place(tmp_path, echo) as here:
        here.environ |= {"CANARY": BY_ENV, "GATEWAY": IN_HEADER}
        here.environ["PYTHONPATH"] = os.pathsep.join(
            [str(keyring_in(tmp_path)), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        yield here


def keyring_in(folder: Path) -> Path:
    """A folder with a package that stands for the keyring of the system, with one entry."""
    package = folder / "packages" / "keyring"
    package.mkdir(parents=True)
    entry = {("canary", "team"): BY_KEYRING}
    (package / "__init__.py").write_text(
        f"def get_password(service, user):\n    return {entry}.get((service, user))\n"
    )
    (package / "errors.py").write_text("class KeyringError(Exception):\n    pass\n")
    return package.parent


class Asking:
    """Requests to the server; what it says is kept to be looked through."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.heard = io.BytesIO()
        self._key = key

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Any:
        """Ask for what is there, whatever comes of it."""
        status, said = self._said(path, body, headers)
        assert status != NOT_FOUND, path
        return said

    def lacks(self, path: str) -> bool:
        """Ask for what nobody has."""
        return self._said(path, None, {})[0] == NOT_FOUND

    def _said(self, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {self._key}", **headers}
        request = urllib.request.Request(
            self.url + path, body, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
                status, said, about = reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as refused:
            with refused:
                status, said, about = refused.code, refused.read(), refused.headers
        self.heard.write(bytes(about) + said)
        try:
            return status, json.loads(said)
        except ValueError:
            return status, said

    def batch(self, model: str) -> dict[str, Any]:
        """An OpenAI batch of every kind of request, to its end."""
        lines = b"".join(
            json.dumps(
                {
                    "custom_id": kind,
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": {"model": model, "messages": [message(kind)]},
                }
            ).encode()
            + b"\n"
            for kind in KINDS
        )
        edge = "edge"
        form = (
            f'--{edge}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{edge}\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
        ).encode()
        mime = f"multipart/form-data; boundary={edge}"
        whole = form + lines + f"\r\n--{edge}--\r\n".encode()
        file = self.ask("/v1/files", whole, content_type=mime)
        wanted = {
            "input_file_id": file["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        made = self.ask("/v1/batches", json.dumps(wanted).encode(), content_type=JSON)
        until(
            lambda: self.ask(f"/v1/batches/{made['id']}").get("status") in ("completed", "failed")
        )
        batch: dict[str, Any] = self.ask(f"/v1/batches/{made['id']}")
        return batch


def message(kind: str) -> dict[str, str]:
    return {"role": "user", "content": f"kind {kind}"}


def test_a_credential_is_found_nowhere_but_where_it_was_put(place: Place) -> None:
    with serving(place) as (process, url):
        api = Asking(url, key_of(place))
        for model in MODELS:
            batch = api.batch(model)
            assert batch["status"] == "completed", batch
            assert (batch["request_counts"]["completed"], batch["request_counts"]["total"]) == (
                2,
                7,
            )
            for file in (batch["output_file_id"], batch["error_file_id"]):
                assert api.ask(f"/v1/files/{file}/content")
        jobs = [run_job(api, model) for model in MODELS]
        messages(api)
        look_everywhere(api, jobs)
        argv = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        exports(place, jobs)
        databases = dumped(place.home)
        running = b"".join(kept(place.home))
        process.terminate()
        out, err = process.communicate(timeout=DEADLINE_S)
    assert all(Echo.seen[secret] for secret in SECRETS), "the credentials were used"
    places = {
        "answers": api.heard.getvalue(),
        "argv": argv,
        "log": (out + err).encode(),
        "database": databases,
        "home while it ran": running,
        "home": b"".join(kept(place.home)),
        "exports": b"".join(readable(path) for path in place.folder.glob("out*")),
    }
    for where, said in places.items():
        assert said or where == "log", where
        for secret in SECRETS:
            assert secret.encode() not in said, (where, context_of(said, secret.encode()))


def context_of(said: bytes, secret: bytes) -> bytes:
    at = said.index(secret)
    return said[max(0, at - 200) : at + 100]


def run_job(api: Asking, model: str) -> str:
    rows = [{"text": f"kind {kind} of a job"} for kind in KINDS]
    wanted = {
        "input": {"from": "rows", "rows": rows},
        "model": model,
        "prompt": {"template": "{text}"},
    }
    made = api.ask("/api/v1/jobs", json.dumps(wanted).encode(), content_type=JSON)
    assert "job" in made, made
    job: str = made["job"]["id"]
    until(lambda: api.ask(f"/api/v1/jobs/{job}")["state"] == "completed_with_errors")
    return job


def messages(api: Asking) -> None:
    """An Anthropic batch of all models, to its end."""
    requests = [
        {
            "custom_id": f"{kind}-{model}",
            "params": {"model": model, "max_tokens": 5, "messages": [message(kind)]},
        }
        for kind in KINDS
        for model in MODELS
    ]
    body = json.dumps({"requests": requests}).encode()
    version = {"anthropic_version": "2026-10-21"}
    path = "/v1/messages/batches"
    made = api.ask(path, body, content_type=JSON, **version)
    one = f"{path}/{made['id']}"
    until(lambda: api.ask(one, None, **version)["processing_status"] == "ended")
    assert api.ask(one, None, **version)["request_counts"]["succeeded"] == 2 * len(MODELS)
    assert api.ask(f"{one}/results", None, **version)


def look_everywhere(api: Asking, jobs: list[str]) -> None:
    """What a reader may ask, and errors of every face."""
    for path in ("/metrics", "/api/v1/fleet", "/api/v1/jobs", "/api/v1/usage", "/v1/models"):
        assert api.ask(path)
    for job in jobs:
        for path in ("", "/rows", "/events", "/results?format=csv", "/bad-rows"):
            assert api.ask(f"/api/v1/jobs/{job}{path}")
        faults = api.ask(f"/api/v1/jobs/{job}/faults?rows=100&show_input=true")
        assert faults["failed"] == len(KINDS) - 2, faults
        assert api.ask(f"/api/v1/jobs/{job}/results")
    for path in ("/v1/batches/none", "/v1/files/none", "/api/v1/jobs/none", "/v1/nothing"):
        assert api.lacks(path), path
    api.ask("/v1/batches", b"{", content_type=JSON)
    refused = {"input": {"from": "rows", "rows": [{"text": "x"}]}, "endpoint": "one", "key": BY_REF}
    api.ask("/api/v1/jobs", json.dumps(refused).encode(), content_type=JSON)


BY_REF = "env:CANARY_THAT_IS_NOT_SET"


def exports(place: Place, jobs: list[str]) -> None:
    for job in jobs:
        for kind in ("csv", "jsonl", "parquet", "xlsx"):
            done = place.nightkiln("jobs", "results", job, "-o", f"out-{job}.{kind}")
            assert done.returncode == 0, done.stderr
        said = place.nightkiln("jobs", "errors", job, "--rows", "10")
        (place.folder / f"out-{job}.txt").write_text(said.stdout + said.stderr)
        shown = place.nightkiln("jobs", "show", job, "--json")
        (place.folder / f"out-{job}-shown.txt").write_text(shown.stdout + shown.stderr)


def dumped(home: Path) -> bytes:
    """Every table of every database, as text."""
    said = []
    for path in home.rglob("*.db"):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'"):
            said += [repr(row) for row in connection.execute(f'select * from "{table}"')]
        connection.close()
    assert said
    return "\n".join(said).encode()


def kept(home: Path) -> Iterator[bytes]:
    """Every file of a home, journals, parts and write-ahead logs among them, as it is and read."""
    for path in home.rglob("*"):
        if path.is_file():
            yield readable(path)


def readable(path: Path) -> bytes:
    """A file's bytes, and what is compressed inside of them."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # a journal whose part is real by now
        return b""
    if data[:4] == b"PAR1":
        import pyarrow.parquet as pq

        data += repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
    elif data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            data += b"".join(book.read(name) for name in book.namelist())
    return data
