"""Models are found on disk or at a hub; the hub is a small one of ours on loopback."""

import asyncio
import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nightkiln.backends.engines.base import EngineSettings
from nightkiln.backends.engines.extra import needed
from nightkiln.backends.engines.messages import Load
from nightkiln.backends.engines.model_files import IR_FILE, find_model
from nightkiln.backends.engines.openvino import OpenVINOEngine
from nightkiln.backends.engines.openvino_machine import OpenVINOMachine
from nightkiln.core.answer import Reply
from nightkiln.core.errors import UnreachableError, UsageError
from nightkiln.core.fault import Fault
from nightkiln.core.job import JobSpec
from nightkiln.core.request import Request

COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """Holds one repository, `org/tiny`."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.files = files
        self.url = f"http://127.0.0.1:{self.server_port}"


class Page(BaseHTTPRequestHandler):
    """The few pages of a hub that a download reads."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        file = path.rpartition("/")[2]
        if path.startswith("/api/models/org/tiny") and "/tree/" in path:
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                for name, data in self.server.files.items()
            ]
            self.reply(200, json.dumps(tree).encode())
        elif path.startswith("/api/models/org/tiny"):
            about = {
                "id": "org/tiny",
                "sha": COMMIT,
                "siblings": [{"rfilename": name} for name in self.server.files],
            }
            self.reply(200, json.dumps(about).encode())
        elif path.startswith("/org/tiny/resolve/") and file in self.server.files:
            self.reply(200, self.server.files[file])
        else:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep the tests' output quiet."""


@pytest.fixture
def hub(model: Path) -> Iterator[Hub]:
    hub = Hub({"tiny.gguf": model.read_bytes(), "README.md": b"a model"})
    thread = threading.Thread(target=hub.serve_forever)
    thread.start()
    yield hub
    hub.shutdown()
    thread.join()
    hub.server_close()


@pytest.mark.parametrize("name", ["hf:org/tiny", "hf:org/tiny:tiny.gguf"])
def test_a_model_is_fetched_from_a_hub(hub: Hub, model: Path, tmp_path: Path, name: str) -> None:
    found = find_model(name, hub_url=hub.url, cache=tmp_path)
    assert found.read_bytes() == model.read_bytes()


def test_a_repository_of_several_models_asks_for_one(hub: Hub, tmp_path: Path) -> None:
    hub.files["other.gguf"] = hub.files["tiny.gguf"]
    with pytest.raises(UsageError, match="holds 2 GGUF files"):
        find_model("hf:org/tiny", hub_url=hub.url, cache=tmp_path)


def test_a_repository_the_hub_does_not_show_is_a_wrong_name(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shows us no hf:org/absent"):
        find_model("hf:org/absent", hub_url=hub.url, cache=tmp_path)


def test_a_hub_out_of_reach_is_said_to_be_so(hub: Hub, tmp_path: Path) -> None:
    url = hub.url.replace(str(hub.server_port), "1")
    for name in ("hf:org/tiny", "hf:org/tiny:tiny.gguf"):
        with pytest.raises(UnreachableError, match="cannot be fetched") as caught:
            find_model(name, hub_url=url, cache=tmp_path)
        assert "--model" in caught.value.hint


@pytest.mark.parametrize("name", ["hf:org/tiny", "hf:org/tiny:tiny.gguf"])
def test_what_was_fetched_before_is_used_when_the_hub_is_gone(
    hub: Hub, model: Path, tmp_path: Path, name: str
) -> None:
    find_model(name, hub_url=hub.url, cache=tmp_path)
    gone, told = hub.url.replace(str(hub.server_port), "1"), list[str]()
    found = find_model(name, hub_url=gone, cache=tmp_path, tell=told.append)
    assert found.read_bytes() == model.read_bytes()
    assert len(told) == (name == "hf:org/tiny")
    assert all("out of reach" in text and "fetched before" in text for text in told)


@pytest.mark.parametrize("name", ["no/such/file.gguf", "hf:nothing", "hf:/x"])
def test_a_name_that_leads_nowhere_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        find_model(name)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(UsageError, match="not a GGUF file"):
        find_model(str(tmp_path / "model.gguf"))
    with pytest.raises(UsageError, match=IR_FILE.replace(".", r"\.")):
        find_model(str(tmp_path))


@pytest.fixture
def own_form(model: Path, tmp_path: Path) -> Path:
    """The model as OpenVINO writes it, without its tokenizer."""
    copy = tmp_path / "tiny.gguf"
    shutil.copy(model, copy)
    saving: dict[str, str | bool] = {"enable_save_ov_model": True}
    OpenVINOMachine(
        Load(machine="", model=str(copy), context=512, own_tokens=True, properties=saving)
    )
    return tmp_path


async def test_a_model_in_openvinos_own_form_answers(
    own_form: Path, spec_of: Callable[..., JobSpec]
) -> None:
    needed("openvino_genai").Tokenizer(own_form / "tiny.gguf", enable_save_ov_model=True)
    (own_form / "tiny.gguf").unlink()
    assert find_model(str(own_form)) == own_form
    engine = OpenVINOEngine(EngineSettings(model=own_form, precision="f32"))
    try:
        await engine.start()
        body = engine.encoder(spec_of({"max_tokens": 8, "logprobs": True}))("hello world")
        deadline = asyncio.get_running_loop().time() + 60
        reply = await engine.answer(Request(0, body), deadline=deadline)
        long = engine.encoder(spec_of({"max_tokens": 8}))("word " * 3000)
        fault = await engine.answer(Request(1, long), deadline=deadline)
    finally:
        await engine.aclose()
    assert "engine's own tokenizer" in engine.notices[0]
    assert isinstance(reply, Reply)
    assert reply.usage.output_tokens <= 8
    told = json.loads(reply.body or b"{}")["choices"][0]["logprobs"]["content"]
    assert all(one["logprob"] <= 0 for one in told)
    assert isinstance(fault, Fault)
    assert fault.code == "context_length_exceeded"


async def test_a_model_without_its_tokenizer_is_refused_at_the_start(own_form: Path) -> None:
    (own_form / "tiny.gguf").unlink()
    engine = OpenVINOEngine(EngineSettings(model=own_form, precision="f32"))
    with pytest.raises(UsageError, match="no tokenizer"):
        await engine.start()
    await engine.aclose()
