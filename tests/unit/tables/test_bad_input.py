"""The matrix of bad input: what cannot be read, in which words, and that the next row is.

Every message here stands in docs/bad-input.md, and none stands there alone.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from nightkiln.core.errors import InputError
from nightkiln.core.job import PromptSpec, SourceSpec
from nightkiln.tables.badrows import with_flaws
from nightkiln.tables.base import CLIPPED, MAX_LINE_BYTES, BadRow, Block, Place
from nightkiln.tables.formats import open_reader
from nightkiln.tables.prompts import Renderer

Source = Callable[..., SourceSpec]
PAGE = Path(__file__).parents[3] / "docs" / "bad-input.md"


class Row(NamedTuple):
    """A bad row between two good ones."""

    what: str
    kind: str
    text: bytes
    reason: str
    more: tuple[str, str] = ("", "")  # an option and a column


DEEP = "nested deeper than 128 levels"
LARGE = "a number too large to keep"
UTF8_NEAR = "\u00e9\u00e8".encode()  # what makes a file UTF-8 as a whole
ROWS = [
    Row("no JSON", "jsonl", b"nope", "not JSON: Expecting value at character 1"),
    Row("cut JSON", "jsonl", b'{"a":1', "not JSON: Expecting ',' delimiter at character 7"),
    Row(
        "Python, not JSON",
        "jsonl",
        b"{'a':1}",
        "not JSON: Expecting property name enclosed in double quotes at character 2",
    ),
    Row("two on a line", "jsonl", b'{"a":1} {}', "not JSON: Extra data at character 9"),
    Row("a list", "jsonl", b"[1]", "a JSON list where an object is needed"),
    Row("a string", "jsonl", b'"text"', "a JSON value that is no object"),
    Row("NaN", "jsonl", b'{"a":NaN}', "NaN is not JSON"),
    Row("Infinity", "jsonl", b'{"a":[-Infinity]}', "-Infinity is not JSON"),
    Row("1e999", "jsonl", b'{"a":1e999}', LARGE),
    Row("1e999 far down", "jsonl", b'{"a":[1,{"b":[-1e999]}]}', LARGE),
    Row(
        "a lone surrogate",
        "jsonl",
        b'{"a":"\\ud800"}',
        "half of a surrogate pair, which is no character",
    ),
    Row(
        "a NUL byte",
        "jsonl",
        b'{"a":"\x00"}',
        "not JSON: Invalid control character at character 7",
    ),
    Row("an escaped NUL", "jsonl", b'{"a":"x\\u0000"}', "a NUL character (\\u0000) in a text"),
    Row("a NUL in a key", "jsonl", b'{"\\u0000":1}', "a NUL character (\\u0000) in a text"),
    Row("129 lists", "jsonl", b'{"a":' + b"[" * 128 + b"]" * 128 + b"}", DEEP),
    Row("129 objects", "jsonl", b'{"a":' * 129 + b"1" + b"}" * 129, DEEP),
    Row("100,000 lists", "jsonl", b'{"a":' + b"[" * 99_999 + b"]" * 99_999 + b"}", DEEP),
    Row("never closed", "jsonl", b'{"a":' + b"[" * 99_999, DEEP),
    Row("a long line", "jsonl", b'{"a":"' + b"x" * MAX_LINE_BYTES + b'"}', "longer than 32 MB"),
    Row("spaces and more", "jsonl", b"{}" + b" " * MAX_LINE_BYTES + b"{}", "longer than 32 MB"),
    Row("no UTF-8", "jsonl", b'{"a":"\xff"}', "not UTF-8: byte 0xff at offset 45 of the file"),
    Row(
        "a surrogate in UTF-8",
        "jsonl",
        b'{"a":"\xed\xa0\x80"}',
        "not UTF-8: byte 0xed at offset 45 of the file",
    ),
    Row(
        "no id",
        "jsonl",
        b'{"a":1}',
        'no key "id" to take the id from; the columns are: "a"',
        ("id", "id"),
    ),
    Row("an empty id", "jsonl", b'{"id":""}', 'the id in "id" is empty', ("id", "id")),
    Row("a null id", "jsonl", b'{"id":null}', 'the id in "id" is empty', ("id", "id")),
    Row(
        "a broken id",
        "jsonl",
        b'{"id":1.5}',
        'the id in "id" is neither a string nor a whole number',
        ("id", "id"),
    ),
    Row("no key", "jsonl", b'{"b":1}', 'no key "a", which the prompt needs', ("column", "a")),
    Row(
        "no messages",
        "jsonl",
        b'{"m":[]}',
        'the messages in "m" are an empty list',
        ("messages", "m"),
    ),
    Row(
        "text for messages",
        "csv",
        b"1,hello",
        'the messages in "b" are not JSON',
        ("messages", "b"),
    ),
    Row(
        "messages that do not fit",
        "csv",
        b'1,"[""x""]"',
        'the messages in "b" do not fit: Expected `object`, got `str` - at `$[0]`',
        ("messages", "b"),
    ),
    Row("too few fields", "csv", b"1", "too few fields: 1, where the header has 2"),
    Row("too many fields", "csv", b"1,2,3", "too many fields: 3, where the header has 2"),
    Row("text behind a quote", "csv", b'1,"x"y', "text follows a closing quote"),
    Row("a lone CR", "csv", b"1,x\ry", "a carriage return outside quotes"),
    Row("a NUL", "csv", b"1,x\0", "a NUL character, which no text has"),
    Row("a NUL", "text", b"x\0y", "a NUL character, which no text has"),
    Row("no UTF-8", "csv", b"1,caf\xe9", "not UTF-8: byte 0xe9 at offset 40 of the file"),
    Row("no UTF-8", "tsv", b"1\tcaf\xe9", "not UTF-8: byte 0xe9 at offset 40 of the file"),
    Row("no UTF-8", "text", b"caf\xe9", "not UTF-8: byte 0xe9 at offset 22 of the file"),
    Row("an empty id", "csv", b",1", 'the id in column "a" is empty', ("id", "a")),
]
GOOD = {
    "jsonl": '{"id":"%d","a":"é","m":[{"role":"user","content":"x"}]}',
    "csv": '%d,"[{""role"": ""é""}]"',
    "tsv": '%d\t[{"role": "é"}]',
    "text": "%d é and more",
}
HEADER = {"csv": "a,b\n", "tsv": "a\tb\n"}


def blocks_of(spec: SourceSpec, prompt: PromptSpec | None = None) -> list[Block]:
    """The blocks as the ingest reads them, a row at a time."""
    blocks = open_reader(spec).blocks(Place(), rows=1)
    if prompt is None:
        return list(blocks)
    found = []
    for block in blocks:
        renderer = Renderer(prompt, (*block.end.columns, "a", "m"), spec.kind)
        found.append(with_flaws(block, renderer.flaws(block.rows)))
    return found


@pytest.mark.parametrize("case", ROWS, ids=[f"{row.kind}: {row.what}" for row in ROWS])
def test_a_bad_row_keeps_its_place_between_good_ones(source: Source, case: Row) -> None:
    good = GOOD[case.kind]
    before = HEADER.get(case.kind, "").encode() + (good % 1).encode() + b"\n"
    option, column = case.more
    prompt = None
    if option == "column":
        prompt = PromptSpec(columns=(column,))
    if option == "messages":
        prompt = PromptSpec(messages_column=column)
    spec = source(
        case.kind,
        before + case.text + b"\n" + (good % 2).encode() + b"\n" + (good % 3).encode() + b"\n",
        id_column=column if option == "id" else None,
    )

    blocks = blocks_of(spec, prompt)

    assert [len(block.bad) for block in blocks] == [0, 1, 0, 0]
    (bad,) = blocks[1].bad
    reason = re.sub(r"offset \d+", f"offset {len(before) + _offset(case)}", case.reason)
    line = 3 if case.kind in HEADER else 2
    assert (bad.row, bad.line, bad.reason) == (1, line, reason)
    assert 0 < len(bad.text) <= CLIPPED
    assert _documented(case.reason) in documented()


def _offset(case: Row) -> int:
    """Where in its row the byte is that its message names."""
    return next((at for at, byte in enumerate(case.text) if byte in (0xE9, 0xFF, 0xED)), 0)


def _documented(said: str) -> str:
    """A message as the page has it: every place is N."""
    return re.sub(r"(offset|character) \d+", r"\1 N", said)


def documented() -> set[str]:
    """The messages of the page."""
    code = re.findall(r"^\| (`` ?.+? ?``|`[^`]+`) \|", PAGE.read_text(), flags=re.MULTILINE)
    return {one[2:-2].strip() if one.startswith("``") else one[1:-1] for one in code}


class File(NamedTuple):
    """A file that cannot be taken at all."""

    what: str
    kind: str
    data: bytes
    message: str
    hint: str


FILES = [
    File("empty", "csv", b"", "in.csv: the file is empty", ""),
    File("empty", "jsonl", b"", "in.jsonl: the file is empty", ""),
    File("empty", "text", b"", "in.text: the file is empty", ""),
    File(
        "blank lines",
        "csv",
        b"\n\n",
        "in.csv: the file has no header",
        "the first line names the columns",
    ),
    File(
        "a nameless column",
        "csv",
        b"a,,b\n",
        'in.csv, line 1: column 2 of the header has no name; the columns are: "a", "", "b"',
        "give every column a name",
    ),
    File(
        "a double column",
        "csv",
        b"a,b,a\n",
        'in.csv, line 1: the header names "a" more than once',
        "rename one of them",
    ),
    File(
        "lines that end in CR",
        "csv",
        b"a,b\r1,2\r",
        "in.csv, line 1: a carriage return outside quotes",
        "quote the value; if all lines end so, convert them: tr '\\r' '\\n' < IN > OUT",
    ),
    File(
        "UTF-16 with a mark",
        "csv",
        b"\xff\xfe" + "a,b\n1,2\n".encode("utf-16-le"),
        "in.csv: the file is UTF-16, not UTF-8: it begins with the byte order mark 0xfffe at"
        " offset 0",
        "have it read as that: --encoding utf-16",
    ),
    File(
        "big-endian UTF-16 with a mark",
        "jsonl",
        b"\xfe\xff" + '{"a":1}\n'.encode("utf-16-be"),
        "in.jsonl: the file is UTF-16, not UTF-8: it begins with the byte order mark 0xfeff at"
        " offset 0",
        "have it read as that: --encoding utf-16",
    ),
    File(
        "UTF-16 without a mark",
        "jsonl",
        '{"a":"Grüße"}\n'.encode("utf-16-le"),
        "in.jsonl: the file is UTF-16, not UTF-8: from offset 1 on every second byte is zero",
        "have it read as that: --encoding utf-16-le",
    ),
    File(
        "big-endian UTF-16 without a mark",
        "text",
        "Grüße\n".encode("utf-16-be"),
        "in.text: the file is UTF-16, not UTF-8: from offset 0 on every second byte is zero",
        "have it read as that: --encoding utf-16-be",
    ),
    File(
        "UTF-32",
        "text",
        b"\xff\xfe\0\0" + "a\n".encode("utf-32-le"),
        "in.text: the file is UTF-32, not UTF-8: it begins with the byte order mark 0xfffe0000 at"
        " offset 0",
        "have it read as that: --encoding utf-32",
    ),
    File(
        "Latin-1",
        "csv",
        b"a,b\n1,2\ncaf\xe9,3\n",
        "in.csv, line 3: not UTF-8: byte 0xe9 at offset 11 of the file",
        "name the file's encoding, as in --encoding latin-1 or --encoding cp1252;"
        " with --encoding utf-8 only the rows that are none are bad",
    ),
    File(
        "gzip data",
        "csv",
        b"\x1f\x8b\x08\0",
        "in.csv: the file is gzip data, not text",
        "give its name the ending .gz, or say --format csv.gz",
    ),
    File(
        "zstd data",
        "jsonl",
        b"\x28\xb5\x2f\xfd\0",
        "in.jsonl: the file is zstd data, not text",
        "give its name the ending .zst, or say --format jsonl.zst",
    ),
    File(
        "a workbook",
        "csv",
        b"PK\x03\x04\0",
        "in.csv: the file is a ZIP archive or a workbook, not text",
        "unpack it, or say --format xlsx",
    ),
]


@pytest.mark.parametrize("case", FILES, ids=[f"{file.kind}: {file.what}" for file in FILES])
def test_a_file_that_cannot_be_taken_is_refused_as_a_whole(source: Source, case: File) -> None:
    with pytest.raises(InputError) as caught:
        blocks_of(source(case.kind, case.data))
    assert (caught.value.message, caught.value.hint) == (case.message, case.hint)
    assert _documented(case.message.partition(": ")[2]) in documented()


def test_the_page_says_nothing_that_is_not_tested() -> None:
    tested = {_documented(row.reason) for row in ROWS}
    tested |= {_documented(file.message.partition(": ")[2]) for file in FILES}
    assert documented() - tested == {
        "a quote is opened here and never closed",
        "not cp1252: character N of the line",
        "the gzip data ends early, after 1,048,576 bytes of text",
        "the gzip data is damaged, after 1,048,576 bytes of text",
        'the id "7" is that of line 2 already',
        "this is no gzip data",
        *("--on-bad-row", "fail", "skip"),  # the table of the option
    }


def test_a_quote_that_is_never_closed_takes_the_rest_of_the_file(source: Source) -> None:
    blocks = blocks_of(source("csv", b'a,b\n1,2\n3,"open\n5,6\n7,8\n'))
    (bad,) = blocks[1].bad
    assert len(blocks) == 2
    assert (bad.line, bad.reason) == (3, "a quote is opened here and never closed")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "text"])
def test_a_mark_at_the_beginning_says_utf8_for_the_whole_file(source: Source, kind: str) -> None:
    data = HEADER.get(kind, "") + (GOOD[kind] % 1).replace("é", "e") + "\n"
    blocks = blocks_of(source(kind, b"\xef\xbb\xbf" + data.encode() + b'"caf\xe9"\n'))
    assert [len(block.bad) for block in blocks] == [0, 1]


def test_more_broken_lines_than_good_ones_are_another_encoding(source: Source) -> None:
    lines = ["é".encode(), b"\xe9", b"\xe8"]
    with pytest.raises(InputError, match="line 2: not UTF-8: byte 0xe9 at offset 3"):
        blocks_of(source("text", b"\n".join(lines)))
    blocks = blocks_of(source("text", b"\n".join(lines), encoding="utf-8"))
    assert [len(block.bad) for block in blocks] == [0, 1, 1]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "text"])
def test_line_ends_within_values_are_those_of_windows_or_none(source: Source, kind: str) -> None:
    value = "a\u2028b\u2029c\x85d"
    data = HEADER.get(kind, "") + GOOD[kind].replace("é", value) % 1
    (block,) = blocks_of(source(kind, data.replace("\n", "\r\n").encode() + b"\r\n"))
    assert block.bad == ()
    assert value in str(block.rows.to_pylist()[0].popitem()[1])


def test_a_row_too_long_for_a_screen_is_clipped(source: Source) -> None:
    (block,) = blocks_of(source("text", b"\xff" + b"x" * 100_000, encoding="utf-8"))
    assert block.bad == (
        BadRow(
            row=0,
            line=1,
            reason="not UTF-8: byte 0xff at offset 0 of the file",
            text="\ufffd" + "x" * (CLIPPED - 1),
        ),
    )
