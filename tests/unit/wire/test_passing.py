"""Bodies that came whole: sent as they are, renamed, or taken apart for a dialect of our own."""

import json

import msgspec
import pytest

from nightkiln.core.errors import UsageError
from nightkiln.core.job import Sampling, Task
from nightkiln.core.request import WireBody
from nightkiln.wire.chat import ChatEncoder
from nightkiln.wire.passing import body_for, chat_of
from nightkiln.wire.tasks import DIALECTS

BODY = b'{ "messages": [ {"role":"user","content":"\\u00fc"} ], "model": "m-1", "x": 1.10 }'


def test_a_body_for_the_model_it_names_is_sent_as_it_came() -> None:
    assert ChatEncoder("m-1", None, Sampling()).encode(WireBody(BODY)) == BODY


def test_another_model_is_put_in_and_every_value_keeps_its_bytes() -> None:
    made = body_for(WireBody(BODY), b'"m-2"')
    assert json.loads(made) == {**json.loads(BODY), "model": "m-2"}
    assert b'[ {"role":"user","content":"\\u00fc"} ]' in made
    assert b"1.10" in made


def test_a_body_without_a_model_gets_one() -> None:
    assert body_for(WireBody(b'{"input":"x"}'), b'"m"') == b'{"input":"x","model":"m"}'


@pytest.mark.parametrize("task", Task)
def test_every_dialect_passes_bodies_on(task: Task) -> None:
    assert DIALECTS[task].path.startswith("/")
    for body in (b'{"model":"m"}', b'{"model":"m","a":[1, 2]}'):
        assert body_for(WireBody(body), b'"m"') == body


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model"', b'"x"'])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(UsageError, match="no JSON object"):
        body_for(WireBody(body), b'"m"')


def test_a_chat_is_taken_apart_into_messages_and_sampling() -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "max_completion_tokens": 5,
        "temperature": 0,
        "seed": 4,
        "top_p": 0.5,
        "stop": None,
        "user": "u",
        "n": 1,
        "stream": False,
    }
    messages, sampling = chat_of(WireBody(json.dumps(body).encode()))
    assert json.loads(bytes(messages)) == body["messages"]
    assert sampling == Sampling(
        max_tokens=5, temperature=0, seed=4, extra={"top_p": msgspec.Raw(b"0.5")}
    )


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b'{"prompt":"x"}', "messages"),
        (b'{"messages":[],"seed":"x"}', "seed"),
        (b'{"messages":[],"temperature":true}', "temperature"),
        (b"[]", "JSON object"),
    ],
)
def test_what_is_no_chat_is_refused(body: bytes, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        chat_of(WireBody(body))
