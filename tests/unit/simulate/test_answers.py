"""What a request asks for, and the bodies that answer it."""

import base64
import hashlib
import struct

import msgspec
import pytest

from nightkiln.simulate import answers
from nightkiln.simulate.answers import Ask, prompt_hash, read_chat, read_embedding


def asked(content: object = "hi", *, wanted: int = 16, **more: object) -> Ask:
    body = {"messages": [{"role": "user", "content": content}]} | more
    return read_chat(msgspec.json.encode(body), wanted_tokens=wanted)


def events(ask: Ask, step: int = 1) -> list[dict[str, object]]:
    raw = b"".join(answers.stream_events(ask, created=1, step=step))
    lines = [line.removeprefix(b"data: ") for line in raw.split(b"\n\n") if line]
    assert lines[-1] == b"[DONE]"
    return [msgspec.json.decode(line) for line in lines[:-1]]


def streamed_text(ask: Ask, step: int = 1) -> str:
    raw = msgspec.json.encode(events(ask, step))
    choices = msgspec.json.decode(raw)
    return "".join(c["delta"].get("content", "") for e in choices for c in e["choices"])


def test_the_hash_is_blake2b_of_the_last_text() -> None:
    assert prompt_hash("grüße") == hashlib.blake2b("grüße".encode(), digest_size=8).hexdigest()


def test_content_parts_hash_as_the_text_of_the_last_one() -> None:
    parts = [{"type": "image_url"}, {"type": "text", "text": "what is it?"}]
    assert prompt_hash(parts) == prompt_hash("what is it?")
    assert prompt_hash([{"content": [{"text": "deep"}]}]) == prompt_hash("deep")


def test_anything_else_hashes_as_sorted_json() -> None:
    assert prompt_hash([{"b": 1, "a": 2}]) == prompt_hash([{"a": 2, "b": 1}])
    assert prompt_hash(["a", "b"]) == hashlib.blake2b(b'["a","b"]', digest_size=8).hexdigest()


def test_a_chat_answer_has_hash_length_usage_and_reason() -> None:
    body = msgspec.json.decode(answers.chat_body(asked("x" * 40, model='"m"'), created=5))
    message = body["choices"][0]["message"]
    assert message["content"].startswith("h:" + prompt_hash("x" * 40) + " ")
    assert len(message["content"]) == 16 * 4
    assert body["usage"] == {"prompt_tokens": 10, "completion_tokens": 16, "total_tokens": 26}
    assert (body["model"], body["created"]) == ('"m"', 5)
    assert body["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_requests_own_limit_cuts_the_answer(name: str) -> None:
    ask = asked(wanted=100, **{name: 8})
    body = msgspec.json.decode(answers.chat_body(ask, created=1))
    assert len(body["choices"][0]["message"]["content"]) == 8 * 4
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 8


def test_json_mode_answers_with_json() -> None:
    ask = asked("q", response_format={"type": "json_object"})
    body = msgspec.json.decode(answers.chat_body(ask, created=1))
    assert msgspec.json.decode(body["choices"][0]["message"]["content"]) == {"h": prompt_hash("q")}


@pytest.mark.parametrize("step", [1, 5, 4096])
@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_a_stream_joins_to_the_unstreamed_answer(step: int, kind: str) -> None:
    ask = asked("q", wanted=33, response_format={"type": kind})
    whole = msgspec.json.decode(answers.chat_body(ask, created=1))
    assert streamed_text(ask, step) == whole["choices"][0]["message"]["content"]


def test_a_stream_tells_its_usage_only_when_asked() -> None:
    with_usage = asked(stream=True, stream_options={"include_usage": True})
    assert events(with_usage)[-1]["choices"] == []
    assert "usage" in events(with_usage)[-1]
    assert not any("usage" in event for event in events(asked(stream=True)))


def test_an_embedding_is_the_same_for_the_same_text() -> None:
    ask = read_embedding(b'{"input":["a","b","a"]}')
    body = msgspec.json.decode(answers.embedding_body(ask, dimensions=16))
    first, second, third = (row["embedding"] for row in body["data"])
    assert first == third != second
    assert len(first) == 16
    assert all(-1 <= number <= 1 for number in first)


def test_an_embedding_may_be_packed() -> None:
    plain = read_embedding(b'{"input":"a"}')
    packed = read_embedding(b'{"input":"a","encoding_format":"base64"}')
    rows = [
        msgspec.json.decode(answers.embedding_body(ask, dimensions=4))["data"][0]["embedding"]
        for ask in (plain, packed)
    ]
    assert struct.unpack("<4f", base64.b64decode(rows[1])) == pytest.approx(rows[0])


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"messages":[]}', b'{"messages":[{"content":3}]}']
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        read_chat(body, wanted_tokens=1)


def test_an_embedding_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="input"):
        read_embedding(b'{"input":[]}')
