"""The official client, unmodified, against a server that says what we would: on real sockets."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import pytest

from nightkiln.core.fault import Fault
from nightkiln.core.ids import JobId
from nightkiln.wire.anthropic.batch import (
    PATH,
    Batch,
    Counts,
    Status,
    batch_id,
    batch_object,
    batch_page,
    counts_so_far,
    deleted_object,
    message_id,
    results_path,
    tokens_object,
)
from nightkiln.wire.anthropic.create import read_create
from nightkiln.wire.anthropic.errors import Refusal
from nightkiln.wire.anthropic.params import translate, translate_count
from nightkiln.wire.anthropic.results import result_line
from nightkiln.wire.anthropic.rules import HEADER, Rules, Version, version_of
from nightkiln.wire.batchlines import Outcome

JOB = JobId("job_01")
OTHER = JobId("job_00")
PREFIX = "/anthropic"  # clients keep the path of their base URL


class Handler(BaseHTTPRequestHandler):
    """Answers one request; what was created is kept by the class of one test."""

    lines: bytes
    status: Status

    def do_GET(self) -> None:
        if self.path == PREFIX + results_path(JOB):
            self.reply(self.lines)
        elif self.path == f"{PREFIX}{PATH}/{batch_id(JOB)}":
            self.reply(batch_object(self.batch()))
        elif self.path.partition("?")[0] == PREFIX + PATH:
            first = "after_id" not in self.path
            page = [self.batch()] if first else [self.batch(OTHER)]
            self.reply(batch_page(page, has_more=first))
        else:
            self.refuse(Refusal(status=404, message="there is no such batch"))

    def do_DELETE(self) -> None:
        self.reply(deleted_object(JOB))

    def do_POST(self) -> None:
        version = version_of(self.headers.get(HEADER))
        assert isinstance(version, Version)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.endswith("/cancel"):
            type(self).status = Status.CANCELING
            self.reply(batch_object(self.batch()))
        elif self.path.endswith("/count_tokens"):
            counted = translate_count(body, Rules(version=version))
            assert not isinstance(counted, Fault)
            self.reply(tokens_object(len(counted.json)))
        else:
            self.create(body, Rules(version=version))

    def create(self, body: bytes, rules: Rules) -> None:
        created = read_create(body)
        if isinstance(created, Refusal):
            return self.refuse(created)
        type(self).lines = b"".join(
            self.line(row, entry.custom_id, translate(entry.params, rules))
            for row, entry in enumerate(created.requests)
        )
        return self.reply(batch_object(self.batch()))

    def line(self, row: int, custom_id: str, chat: object) -> bytes:
        name = message_id(JOB, row)
        if isinstance(chat, Fault):
            return result_line(
                Outcome(id=name, custom_id=custom_id, fault=chat.kind, message=chat.message)
            )
        said = {"message": {"content": f"answer {row}"}, "finish_reason": "stop"}
        reply = json.dumps({"model": "m", "choices": [said]}).encode()
        return result_line(Outcome(id=name, custom_id=custom_id, status=200, body=reply))

    def batch(self, job: JobId = JOB) -> Batch:
        ended = self.status is Status.ENDED
        return Batch(
            job=job,
            status=self.status,
            counts=Counts(succeeded=1, errored=1) if ended else counts_so_far(2),
            created_at=1.0,
            expires_at=86_401.0,
        )

    def refuse(self, refusal: Refusal) -> None:
        self.reply(refusal.body("req_1"), status=refusal.status)

    def reply(self, body: bytes, *, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("request-id", "req_1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def handler() -> type[Handler]:
    return type("Once", (Handler,), {"lines": b"", "status": Status.IN_PROGRESS})


@pytest.fixture
def client(handler: type[Handler]) -> Iterator[anthropic.Anthropic]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        host, port = server.server_address[:2]
        address = f"http://{host!s}:{port}{PREFIX}"
        with anthropic.Anthropic(api_key="k", base_url=address, max_retries=0) as made:
            yield made
        server.shutdown()
        thread.join()


def test_a_batch_goes_from_its_creation_to_its_results(
    client: anthropic.Anthropic, handler: type[Handler]
) -> None:
    batch = client.messages.batches.create(
        requests=[
            {
                "custom_id": "good",
                "params": {
                    "model": "m",
                    "max_tokens": 5,
                    "messages": [{"role": "user", "content": "hi"}],
                },
            },
            {"custom_id": "bad", "params": {"model": "m", "max_tokens": 0, "messages": []}},
        ]
    )
    assert batch.processing_status == "in_progress"
    assert batch.request_counts.processing == 2
    with pytest.raises(anthropic.AnthropicError, match="results_url"):
        client.messages.batches.results(batch.id)
    handler.status = Status.ENDED
    good, bad = client.messages.batches.results(batch.id)
    assert good.custom_id == "good"
    assert good.result.type == "succeeded"
    assert good.result.message.content[0].type == "text"
    assert good.result.message.content[0].text == "answer 0"
    assert bad.result.type == "errored"
    assert bad.result.error.error.type == "invalid_request_error"


def test_lists_are_walked_page_by_page(client: anthropic.Anthropic) -> None:
    assert [one.id for one in client.messages.batches.list()] == ["msgbatch_01", "msgbatch_00"]


def test_a_batch_is_cancelled_and_deleted(client: anthropic.Anthropic) -> None:
    assert client.messages.batches.cancel("msgbatch_01").processing_status == "canceling"
    assert client.messages.batches.delete("msgbatch_01").type == "message_batch_deleted"


def test_a_refused_batch_is_a_typed_error(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="requests: List should have") as refused:
        client.messages.batches.create(requests=[])
    assert refused.value.type == "invalid_request_error"
    assert refused.value.request_id == "req_1"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve("msgbatch_99")


def test_tokens_are_counted(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "hi"}])
    assert counted.input_tokens > 0
