"""What a schema looks like in a request to an OpenAI-compatible server."""

import msgspec
import pytest

from nightkiln.core.errors import UsageError
from nightkiln.core.job import Sampling
from nightkiln.wire.chat import ChatEncoder
from nightkiln.wire.structured import is_closed

CLOSED = (
    b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],'
    b'"additionalProperties":false}'
)


def test_a_schema_travels_as_response_format_with_its_own_bytes() -> None:
    body = ChatEncoder("m", None, Sampling(), CLOSED).encode("hi")
    asked = msgspec.json.decode(body)["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["strict"] is True
    assert CLOSED in body


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {}}, "additionalProperties": False},
        {"type": "array", "items": {"type": "object", "properties": {}}},
    ],
)
def test_a_schema_that_leaves_something_open_is_not_asked_strictly(schema: object) -> None:
    assert not is_closed(schema)


def test_two_ways_to_say_the_format_are_one_too_many() -> None:
    extra = {"response_format": msgspec.Raw(b"{}")}
    with pytest.raises(UsageError, match="response_format"):
        ChatEncoder("m", None, Sampling(extra=extra), CLOSED)
