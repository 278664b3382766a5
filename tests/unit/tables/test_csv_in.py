"""CSV in: what is taken, what is refused in which words, and that every place resumes."""

import csv
import io
import tracemalloc
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import BLOCK_BYTES, MAX_LINE_BYTES, Block, Place
from nightkiln.tables.csv_in import CsvReader

Source = Callable[..., SourceSpec]


def blocks_of(spec: SourceSpec, *, rows: int = 1000, start: Place | None = None) -> list[Block]:
    return list(CsvReader(spec).blocks(start or Place(), rows=rows))


def rows_of(blocks: list[Block]) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for block in blocks for row in block.rows.to_pylist()]


NASTY = st.lists(
    st.sampled_from(["a", "é", "\U0001f525", ",", '"', "\n", "\r", "\r\n", "\u2028", "\x85", " "]),
    max_size=6,
).map("".join)


@given(
    data=st.data(),
    width=st.integers(1, 4),
    line_end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    size=st.integers(1, 5),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_table_python_writes_comes_back_from_every_place(
    source: Source, data: st.DataObject, width: int, line_end: str, bom: bool, size: int
) -> None:
    table = data.draw(st.lists(st.tuples(*[NASTY] * width), max_size=12))
    buffer = io.StringIO(newline="")
    # Some versions of the csv module leave a lone \r unquoted when lines end with \n.
    loses_cr = line_end == "\n" and any("\r" in value for row in table for value in row)
    quoting: Literal[0, 1] = csv.QUOTE_ALL if loses_cr else csv.QUOTE_MINIMAL
    writer = csv.writer(buffer, lineterminator=line_end, quoting=quoting)
    writer.writerow([f"column {index}\u2028" for index in range(width)])
    writer.writerows(table)
    raw = buffer.getvalue().encode()
    spec = source("csv", b"\xef\xbb\xbf" * bom + raw)

    blocks = blocks_of(spec, rows=size)

    assert rows_of(blocks) == table
    assert all(block.rows.num_rows <= size for block in blocks)
    for number, block in enumerate(blocks, 1):
        assert blocks_of(spec, rows=size, start=block.end) == blocks[number:]


def test_values_stay_the_strings_they_are(source: Source) -> None:
    spec = source("csv", b"id,when\n007, 1.50 \nTrue,2024-01-01\n")
    assert rows_of(blocks_of(spec)) == [("007", " 1.50 "), ("True", "2024-01-01")]


def test_blank_lines_are_no_rows_and_lines_are_still_counted(source: Source) -> None:
    (block,) = blocks_of(source("csv", b'\n\na,b\n\n1,2\n\n"3\n3",4\n5,6'))
    assert block.rows.num_rows == 3
    assert block.starts == (5, 7, 9)
    assert block.lines == (5, 9)
    assert block.end.line == 9


def test_the_limit_takes_the_first_rows_and_never_looks_further(source: Source) -> None:
    spec = source("csv", b"a,b\n1,2\n3,4\nragged\n", limit=2)
    assert rows_of(blocks_of(spec, rows=1)) == [("1", "2"), ("3", "4")]


def test_a_header_alone_gives_no_rows(source: Source) -> None:
    assert blocks_of(source("csv", b"a,b\n")) == []


def test_another_delimiter_can_be_named(source: Source) -> None:
    spec = source("csv", b"a;b\n1,5;2\n", delimiter=";")
    assert rows_of(blocks_of(spec)) == [("1,5", "2")]


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n"])
def test_a_delimiter_that_cannot_delimit_is_refused(source: Source, delimiter: str) -> None:
    with pytest.raises(UsageError, match="must be one character"):
        CsvReader(source("csv", b"", delimiter=delimiter))


def test_ids_come_from_the_named_column(source: Source) -> None:
    (block,) = blocks_of(source("csv", b"id,text\nx-1,hello\n007,you\n", id_column="id"))
    assert block.ids is not None
    assert block.ids.to_pylist() == ["x-1", "007"]


def test_an_id_column_that_is_not_there_lists_the_columns(source: Source) -> None:
    with pytest.raises(UsageError) as caught:
        blocks_of(source("csv", b"key,text\n1,2\n", id_column="kay"))
    assert caught.value.message == (
        '--id-column names the column "kay", which is not in the input;'
        ' the columns are: "key", "text"'
    )
    assert caught.value.hint == 'did you mean "key"?'


GOLDEN = [
    (b"", "in.csv: the file is empty", None),
    (b"\n\n", "in.csv: the file has no header", None),
    ("a,b\n1,2\n".encode("utf-16"), "in.csv, line 1: the file is UTF-16, not UTF-8", 1),
    (
        b"a,b\n1,2\ncaf\xe9,3\n",
        "in.csv, line 3: not UTF-8: byte 0xe9 at offset 11 of the file",
        3,
    ),
    (
        b'a,b\n"1\n1",2\n3\n',
        "in.csv, line 4: too few fields: 1, where the header has 2",
        4,
    ),
    (b"a,b\n1,2,3\n", "in.csv, line 2: too many fields: 3, where the header has 2", 2),
    (
        b"a,,b\n",
        'in.csv, line 1: column 2 of the header has no name; the columns are: "a", "", "b"',
        1,
    ),
    (b"a,b,a\n", 'in.csv, line 1: the header names "a" more than once', 1),
    (b"a,b\n1,x\0\n", "in.csv, line 2: a NUL byte, which no text has", 2),
    (b'a,b\n1,2\n3,"open\n5,6\n', "in.csv, line 3: a quote is opened here and never closed", 3),
    (b'a,b\n1,"x"y\n', "in.csv, line 2: text follows a closing quote", 2),
    (b"a,b\r1,2\r", "in.csv, line 1: a carriage return outside quotes", 1),
]


@pytest.mark.parametrize(("data", "message", "line"), GOLDEN, ids=[m for _, m, _ in GOLDEN])
def test_what_cannot_be_taken_is_named_with_its_line(
    source: Source, data: bytes, message: str, line: int | None
) -> None:
    with pytest.raises(InputError) as caught:
        blocks_of(source("csv", data))
    assert caught.value.message == message
    assert caught.value.line == line


def test_an_empty_id_is_named_with_its_line(source: Source) -> None:
    with pytest.raises(InputError) as caught:
        blocks_of(source("csv", b'id,b\n"x\ny",2\n,3\n', id_column="id"))
    assert caught.value.message == 'in.csv, line 4: the id in column "id" is empty'


@pytest.mark.parametrize("opening", [b"", b'"'], ids=["without a line end", "within a quote"])
def test_an_endless_record_is_refused_at_its_first_line(source: Source, opening: bytes) -> None:
    piece = b"x" * 999 + (b"\n" if opening else b"x")
    data = b"a\nfine\n" + opening + piece * (MAX_LINE_BYTES // len(piece) + 2)
    with pytest.raises(InputError) as caught:
        blocks_of(source("csv", data))
    assert (
        caught.value.message == "in.csv, line 3: the record that begins here is longer than 32 MB"
    )


def test_a_large_file_is_read_in_bounded_blocks(source: Source) -> None:
    spec = source("csv", b"a\n" + (b"x" * 99_999 + b"\n") * 400)
    tracemalloc.start()
    sizes = [block.rows.nbytes for block in CsvReader(spec).blocks(Place(), rows=1000)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(sizes) == 5
    assert max(sizes) <= BLOCK_BYTES + 200_000
    assert peak <= 4 * BLOCK_BYTES
