"""Embeddings: what is said for a row, and what a 200 really says."""

import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.answer import Reply
from nightkiln.core.errors import UsageError
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import Sampling
from nightkiln.core.usage import Usage
from nightkiln.wire.embedding import EmbeddingEncoder, parse_embedding


def encoder(**sampling: Any) -> EmbeddingEncoder:
    return EmbeddingEncoder("m-1", Sampling(**sampling))


def text_of(body: bytes) -> str:
    found = parse_embedding(body)
    assert isinstance(found, Reply), found
    return found.text


def items(*vectors: object) -> bytes:
    data = [{"index": number, "embedding": one} for number, one in enumerate(vectors)]
    return json.dumps({"data": data}).encode()


@given(st.text())
def test_a_text_becomes_the_input(prompt: str) -> None:
    body = json.loads(encoder(extra={"dimensions": msgspec.Raw(b"8")}).encode(prompt))
    assert body == {"model": "m-1", "dimensions": 8, "encoding_format": "float", "input": prompt}


@pytest.mark.parametrize("name", ["max_tokens", "temperature", "seed"])
def test_what_only_generation_has_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="--" + name.replace("_", "-")):
        encoder(**{name: 1})


def test_the_digits_are_those_of_the_server() -> None:
    body = (
        b'{"data":[{"embedding":[0.10, -1e-3,2]}],"model":"m","usage":{"prompt_tokens":5,'
        b'"total_tokens":5}}'
    )
    found = parse_embedding(body)
    assert found == Reply(text="[0.10,-1e-3,2]", usage=Usage(input_tokens=5), model="m")
    assert found.finish_reason == ""


def test_a_packed_vector_is_spelled_out_exactly() -> None:
    numbers = struct.unpack("<3f", struct.pack("<3f", 0.1, -2.5, 1e-30))
    packed = base64.b64encode(struct.pack("<3f", *numbers)).decode()
    shown = json.loads(text_of(items(packed)))
    assert struct.pack("<3f", *shown) == struct.pack("<3f", *numbers)


def test_several_inputs_are_a_list_of_vectors_in_the_order_of_their_index() -> None:
    body = b'{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}]}'
    assert text_of(body) == "[[1],[2]]"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_body"),
        (b"oops", "malformed_json"),
        (b"{}", "no_embedding"),
        (items(), "no_embedding"),
        (items([]), "empty_embedding"),
        (items(""), "empty_embedding"),
        (items("not base64!"), "unexpected_shape"),
        (items("AAA="), "unexpected_shape"),
        (items([1, "2"]), "unexpected_shape"),
        (items([[1]]), "unexpected_shape"),
        (items(None), "unexpected_shape"),
        (items(base64.b64encode(struct.pack("<f", float("nan"))).decode()), "unexpected_shape"),
        (b'{"data":[{}]}', "malformed_json"),
        (b'{"error":"overloaded"}', "error_in_200"),
    ],
)
def test_what_is_no_vector_is_a_fault(body: bytes, code: str) -> None:
    found = parse_embedding(body)
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultClass.PROTOCOL, code)


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    assert isinstance(parse_embedding(body), Fault)
