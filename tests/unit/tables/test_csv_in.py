"""CSV in: what is taken, how it goes on after a bad record, and that every place resumes."""

import csv
import io
import tracemalloc
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.core.errors import UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables.base import BLOCK_BYTES, CLIPPED, MAX_LINE_BYTES, Block, Place
from nightkiln.tables.csv_in import CsvReader, other_delimiter

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


@pytest.mark.parametrize("size", [1, 2, 100])
def test_after_a_bad_record_the_next_one_is_read(source: Source, size: int) -> None:
    data = b'a,b\n1,2\n3\n4,"x"y\n"5\n5",6\n7,8,9\n10,\xff\nna\xc3\xafve,\xc3\xa9\n'
    data += b'\xc3\xa9,13\n"14,\n15,16\n'
    blocks = blocks_of(source("csv", data), rows=size)
    assert rows_of(blocks) == [
        ("1", "2"),
        ("3", None),  # what could be read stays, so that an id is not lost
        (None, None),
        ("5\n5", "6"),
        ("7", "8"),
        ("10", None),
        ("naïve", "é"),
        ("é", "13"),
        (None, None),
    ]
    bad = [bad for block in blocks for bad in block.bad]
    assert [(one.row, one.line) for one in bad] == [(1, 3), (2, 4), (4, 7), (5, 8), (8, 11)]
    assert [one.text for one in bad] == ["3", '4,"x"y', "7,8,9", "10,\ufffd", '"14,']
    for number, block in enumerate(blocks, 1):
        assert blocks_of(source("csv", data), rows=size, start=block.end) == blocks[number:]


@pytest.mark.parametrize(
    ("endless", "after"),
    [
        (b"x" * (MAX_LINE_BYTES + 5) + b",1\n", 4),
        (b'"' + b"x" * (MAX_LINE_BYTES + 5) + b'\nmore"",\n and",1\n', 6),
        (b'"' + (b"x" * 999 + b"\n") * (MAX_LINE_BYTES // 1000 + 3) + b'",1\n', 33561),
    ],
    ids=["one line", "a long line within quotes", "many lines within quotes"],
)
def test_a_record_beyond_the_limit_is_passed_over(
    source: Source, endless: bytes, after: int
) -> None:
    (block,) = blocks_of(source("csv", b"a,b\nfine,1\n" + endless + b"next,2\n"))
    assert rows_of([block]) == [("fine", "1"), (None, None), ("next", "2")]
    assert [(bad.line, bad.reason) for bad in block.bad] == [(3, "longer than 32 MB")]
    assert block.starts == (2, 3, after)
    assert 999 < len(block.bad[0].text) <= CLIPPED


def test_a_field_longer_than_the_csv_module_takes_by_itself_is_read(source: Source) -> None:
    (block,) = blocks_of(source("csv", b"a\n" + b"x" * 131_073 + b"\n"))
    assert block.bad == ()
    assert len(rows_of([block])[0][0]) == 131_073


def test_rows_without_an_id_are_bad_and_keep_their_values(source: Source) -> None:
    (block,) = blocks_of(source("csv", b'id,b\n"x\ny",2\n,3\n', id_column="id"))
    assert rows_of([block])[1] == ("", "3")
    assert block.ids is not None
    assert block.ids.to_pylist() == ["x\ny", None]
    (bad,) = block.bad
    assert (bad.row, bad.line, bad.reason) == (1, 4, 'the id in column "id" is empty')
    assert bad.text == '["","3"]'


def test_a_large_file_is_read_in_bounded_blocks(source: Source) -> None:
    spec = source("csv", b"a\n" + (b"x" * 99_999 + b"\n") * 400)
    tracemalloc.start()
    sizes = [block.rows.nbytes for block in CsvReader(spec).blocks(Place(), rows=1000)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(sizes) == 5
    assert max(sizes) <= BLOCK_BYTES + 200_000
    assert peak <= 4 * BLOCK_BYTES


@pytest.mark.parametrize(
    ("data", "delimiter"),
    [
        (b"id;text\n1;a\n2;b\n", ";"),
        (b"id\ttext\n1\ta\n", "\t"),
        (b"id|text|more\n1|a|b\n", "|"),
        (b"id;text\n1;\n;\n", ";"),
        (b'id;text\n1;"a;b"\n', ";"),
        (b"id;text\n1;a\n2;b, c\n", ";"),  # the comma makes the last row a bad one
        (b"id;text\n1;a\n2;b;c\n", None),
        (b"id;text\n1;a\n2\n", None),
        (b"text\na;b\nc;d\n", None),
        (b"text\nhello\n", None),
        (b"id;text,more\n1;a,b\n", None),
        (b"id;text\n", None),
        (b'id;text\n"a\nb;c"\n', None),
    ],
)
def test_another_delimiter_is_suspected_only_where_every_row_has_it_as_often(
    source: Source, data: bytes, delimiter: str | None
) -> None:
    heads = blocks_of(source("csv", data), rows=20)
    assert [other_delimiter(head) for head in heads] == [delimiter] * len(heads)


def test_a_delimiter_that_was_said_is_not_suspected(source: Source) -> None:
    (head,) = blocks_of(source("csv", b"a,b\n1,2\n", delimiter=";"))
    assert other_delimiter(head) is None


def test_a_bad_record_has_no_id_that_could_repeat_the_one_of_a_good_record(source: Source) -> None:
    (block,) = blocks_of(source("csv", b"id,q\n1,a\n2\n2,b\n", id_column="id"), rows=9)
    assert rows_of([block]) == [("1", "a"), ("2", None), ("2", "b")]
    assert block.ids is not None
    assert block.ids.to_pylist() == ["1", None, "2"]
