"""JSONL in: lines kept as they came, and keys collected; bad ones are in test_bad_input."""

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.core.errors import InputError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import Block, Place
from nightkiln.tables.jsonl_in import JsonlReader

Source = Callable[..., SourceSpec]


def blocks_of(spec: SourceSpec, *, rows: int = 1000, start: Place | None = None) -> list[Block]:
    return list(JsonlReader(spec).blocks(start or Place(), rows=rows))


def lines_of(blocks: list[Block]) -> list[str]:
    return [line for block in blocks for line in block.rows.column("line").to_pylist()]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
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


def test_nesting_up_to_the_limit_and_brackets_in_strings_are_taken(source: Source) -> None:
    deep = b'{"a":' + b"[" * 127 + b"]" * 127 + b"}"
    brackets = b'{"a":"' + b"[" * 1000 + b'"}'
    assert len(lines_of(blocks_of(source("jsonl", deep + b"\n" + brackets)))) == 2


def test_a_pretty_printed_file_is_told_how_to_become_jsonl(source: Source) -> None:
    (block,) = blocks_of(source("jsonl", b'[\n  {"a": 1}\n]\n'))
    assert "jq -c" in block.bad[0].hint


def test_an_integer_of_any_length_keeps_its_digits(source: Source) -> None:
    line = '{"a":' + "9" * 5000 + "}"
    (block,) = blocks_of(source("jsonl", line.encode(), id_column="a"))
    assert lines_of([block]) == [line]
    assert block.bad == ()
    assert block.ids is not None
    assert block.ids.to_pylist() == ["9" * 5000]


def test_a_backslash_before_u0000_is_no_nul(source: Source) -> None:
    (block,) = blocks_of(source("jsonl", rb'{"a":"\\u0000"}'))
    assert block.bad == ()


def test_an_empty_file_is_refused(source: Source) -> None:
    with pytest.raises(InputError, match="the file is empty"):
        blocks_of(source("jsonl", b""))


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (rb'{"id":1,"z":NaN,"q":"\u00e9"}', '{"id":1,"z":null,"q":"é"}'),
        (rb'{"id":1,"z":[1e999],"n":1.50}', '{"id":1,"z":null,"n":1.5}'),
        (rb'{"id":1,"z":{"deep":"\ud800"}}', '{"id":1,"z":null}'),
        (rb'{"id":1,"\udc00":2}', '{"id":1}'),
        (rb'{"id":1,"z":"a\u0000","y":"\\u0000"}', '{"id":1,"z":null,"y":"\\\\u0000"}'),
        (rb'{"id":1,"z":NaN,"n":' + b"9" * 5000 + b"}", "{}"),
        (rb"[NaN]", "{}"),
        (rb'{"id":1,', "{}"),
    ],
)
def test_what_could_be_read_of_a_bad_line_is_kept(source: Source, line: bytes, kept: str) -> None:
    (block,) = blocks_of(source("jsonl", b'{"id":0}\n' + line + b"\n"), rows=9)
    assert [bad.row for bad in block.bad] == [1]
    found = block.rows.column(0)[1].as_py()
    assert json.loads(found) == json.loads(kept)
    assert set(json.loads(found)) <= set(block.end.columns)
