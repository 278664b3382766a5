"""Text in: a line is a row, whatever is or is not on it."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.core.errors import UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import Block, Place
from nightkiln.tables.text_in import TextReader

Source = Callable[..., SourceSpec]


def blocks_of(spec: SourceSpec, *, rows: int = 1000, start: Place | None = None) -> list[Block]:
    return list(TextReader(spec).blocks(start or Place(), rows=rows))


def texts_of(blocks: list[Block]) -> list[str]:
    return [text for block in blocks for text in block.rows.column("text").to_pylist()]


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ("one\ntwo", ["one", "two"]),
        ("one\ntwo\n", ["one", "two"]),
        ("one\n\n\ntwo\n\n", ["one", "", "", "two", ""]),
        ("one\r\n\r\n", ["one", ""]),
        ("a\u2028b\x85c\x0bd\re\n", ["a\u2028b\x85c\x0bd\re"]),
        ("\ufeff  007 \n", ["  007 "]),
    ],
)
def test_lines_end_at_newlines_only(source: Source, data: str, texts: list[str]) -> None:
    assert texts_of(blocks_of(source("text", data.encode()))) == texts


@given(
    texts=st.lists(st.sampled_from(["", "a", "é\u2028", " b\r "]), min_size=1),
    size=st.integers(1, 3),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_reading_goes_on_from_every_place(source: Source, texts: list[str], size: int) -> None:
    spec = source("text", "".join(f"{text}\n" for text in texts).encode())
    blocks = blocks_of(spec, rows=size)
    assert texts_of(blocks) == texts
    for number, block in enumerate(blocks, 1):
        assert blocks_of(spec, rows=size, start=block.end) == blocks[number:]


def test_the_limit_takes_the_first_lines(source: Source) -> None:
    (block,) = blocks_of(source("text", b"a\nb\nc\n", limit=2))
    assert texts_of([block]) == ["a", "b"]
    assert block.lines == (1, 2)
    assert block.starts == (1, 2)


def test_text_has_no_ids(source: Source) -> None:
    with pytest.raises(UsageError, match='no column "id"'):
        TextReader(source("text", b"a", id_column="id"))
