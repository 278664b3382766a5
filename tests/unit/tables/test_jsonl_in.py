"""JSONL in: lines kept as they came, keys collected, and every refusal with its line."""

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.core.errors import InputError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import MAX_LINE_BYTES, Block, Place
from nightkiln.tables.jsonl_in import JsonlReader

Source = Callable[..., SourceSpec]


def blocks_of(spec: SourceSpec, *, rows: int = 1000, start: Place | None = None) -> list[Block]:
    return list(JsonlReader(spec).blocks(start or Place(), rows=rows))


def lines_of(blocks: list[Block]) -> list[str]:
    return [line for block in blocks for line in block.rows.column("line").to_pylist()]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
OBJECTS = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT, max_size=4)


@given(objects=st.lists(OBJECTS, max_size=10), size=st.integers(1, 4), ascii_only=st.booleans())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_line_comes_back_from_every_place(
    source: Source, objects: list[dict[str, object]], size: int, ascii_only: bool
) -> None:
    lines = [json.dumps(value, ensure_ascii=ascii_only) for value in objects]
    spec = source("jsonl", b"\xef\xbb\xbf" + "\r\n\n".join(lines).encode())

    blocks = blocks_of(spec, rows=size)

    assert lines_of(blocks) == lines
    if blocks:
        assert blocks[-1].end.columns == tuple(dict.fromkeys(key for one in objects for key in one))
    for number, block in enumerate(blocks, 1):
        assert blocks_of(spec, rows=size, start=block.end) == blocks[number:]


def test_a_row_keeps_its_bytes(source: Source) -> None:
    line = '{ "n": 1.50e3, "big": 123456789012345678901234567890, "n": "\\u00e9" }'
    (block,) = blocks_of(source("jsonl", f"  {line}\t\r\n".encode()))
    assert lines_of([block]) == [line]
    assert block.end.columns == ("n", "big")


def test_rows_know_their_lines_across_empty_ones(source: Source) -> None:
    (block,) = blocks_of(source("jsonl", b'\n{"a":1}\n \n{"b":2}\n\n'))
    assert block.starts == (2, 4)
    assert block.lines == (2, 4)


def test_ids_are_strings_or_whole_numbers(source: Source) -> None:
    (block,) = blocks_of(
        source("jsonl", b'{"id":"x"}\n{"id":12345678901234567890}', id_column="id")
    )
    assert block.ids is not None
    assert block.ids.to_pylist() == ["x", "12345678901234567890"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", 'no key "id" to take the id from; the input has no columns'),
        ('{"id":""}', 'the id in "id" is empty'),
        ('{"id":null}', 'the id in "id" is empty'),
        ('{"id":1.5}', 'the id in "id" is neither a string nor a whole number'),
        ('{"id":true}', 'the id in "id" is neither a string nor a whole number'),
    ],
)
def test_a_missing_id_is_named_with_its_line(source: Source, line: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        blocks_of(source("jsonl", b'{"id":"x"}\n' + line.encode(), id_column="id"))
    assert caught.value.message == f"in.jsonl, line 2: {message}"


GOLDEN = [
    (b'{"a":1', "not JSON: Expecting ',' delimiter at character 7"),
    (b"{'a':1}", "not JSON: Expecting property name enclosed in double quotes at character 2"),
    (b'{"a":1} {}', "not JSON: Extra data at character 9"),
    (b"[1]", "a JSON list where an object is needed"),
    (b'"text"', "a JSON value that is no object"),
    (b'{"a":NaN}', "NaN is not JSON"),
    (b'{"a":[-Infinity]}', "-Infinity is not JSON"),
    (b'{"a":1e999}', "a number too large to keep"),
    (b'{"a":' + b"9" * 5000 + b"}", "a number too large to keep"),
    (b'{"a":"\\ud800"}', "half of a surrogate pair, which is no character"),
    (b'{"a":"\xff"}', "not UTF-8: byte 0xff at offset 15 of the file"),
    (b'{"a":"\xed\xa0\x80"}', "not UTF-8: byte 0xed at offset 15 of the file"),
    (b'{"a":"\x00"}', "not JSON: Invalid control character at at character 7"),
    (b'{"a":' + b"[" * 128 + b"]" * 128 + b"}", "nested deeper than 128 levels"),
    (b'{"a":' * 129 + b"1" + b"}" * 129, "nested deeper than 128 levels"),
    (b'{"a":' + b"[" * 99_999 + b"]" * 99_999 + b"}", "nested deeper than 128 levels"),
]


@pytest.mark.parametrize(("line", "message"), GOLDEN, ids=[line[:12].hex() for line, _ in GOLDEN])
def test_what_cannot_be_taken_is_named_with_its_line(
    source: Source, line: bytes, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        blocks_of(source("jsonl", b'{"a": 1}\n' + line + b"\n"))
    assert caught.value.message == f"in.jsonl, line 2: {message}"
    assert caught.value.line == 2


def test_nesting_up_to_the_limit_and_brackets_in_strings_are_taken(source: Source) -> None:
    deep = b'{"a":' + b"[" * 127 + b"]" * 127 + b"}"
    brackets = b'{"a":"' + b"[" * 1000 + b'"}'
    assert len(lines_of(blocks_of(source("jsonl", deep + b"\n" + brackets)))) == 2


def test_a_pretty_printed_file_is_told_how_to_become_jsonl(source: Source) -> None:
    with pytest.raises(InputError) as caught:
        blocks_of(source("jsonl", b'[\n  {"a": 1}\n]\n'))
    assert "jq -c" in caught.value.hint


def test_an_endless_line_is_refused(source: Source) -> None:
    with pytest.raises(InputError, match="line 1: the record that begins here is longer than"):
        blocks_of(source("jsonl", b'{"a":"' + b"x" * MAX_LINE_BYTES))


def test_an_empty_file_is_refused(source: Source) -> None:
    with pytest.raises(InputError, match="the file is empty"):
        blocks_of(source("jsonl", b""))
