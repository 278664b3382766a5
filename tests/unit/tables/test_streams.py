"""Compressed and otherwise encoded files: read like plain ones, resumed, and cut off in time."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import SourceSpec
from nightkiln.tables import streams
from nightkiln.tables.base import Block, Place
from nightkiln.tables.formats import compression_of, format_of, open_reader
from nightkiln.tables.streams import encoding_of

Source = Callable[..., SourceSpec]


def packed(data: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return gzip.compress(data, mtime=0)
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def blocks_of(spec: SourceSpec, *, rows: int = 1000, start: Place | None = None) -> list[Block]:
    return list(open_reader(spec).blocks(start or Place(), rows=rows))


def texts_of(blocks: list[Block]) -> list[str]:
    return [text for block in blocks for text in block.rows.column(0).to_pylist()]


@pytest.mark.parametrize(
    ("name", "kind", "compression"),
    [
        ("a.csv.gz", "csv", "gzip"),
        ("a.TSV.GZ", "tsv", "gzip"),
        ("tickets.jsonl.zst", "jsonl", "zstd"),
        ("a.b.ndjson.zst", "jsonl", "zstd"),
        ("a.txt.gz", "text", "gzip"),
        ("a.csv", "csv", None),
    ],
)
def test_two_endings_tell_a_compressed_format(
    name: str, kind: str, compression: str | None
) -> None:
    assert (format_of(name), compression_of(name)) == (kind, compression)


def test_of_standard_input_it_has_to_be_said() -> None:
    assert format_of("-", "jsonl.zst") == "jsonl"
    assert compression_of("-", "jsonl.zst") == "zstd"
    assert compression_of("-", "jsonl") is None


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "text"])
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_a_compressed_file_reads_like_a_plain_one_from_every_place(
    source: Source, compression: str, kind: str, rows: int
) -> None:
    table = {
        "csv": 'a,b\n1,"x\n y"\n2\n"3",é\n4,5\n',
        "tsv": "a\tb\n1\tx\n2\té\n",
        "jsonl": '{"a":1}\n\n{"b":"é"}\nnope\n{"c":3}',
        "text": "one\n\nthree é\n",
    }[kind].encode()
    plain = blocks_of(source(kind, b"\xef\xbb\xbf" + table), rows=rows)
    spec = source(kind, packed(b"\xef\xbb\xbf" + table, compression), compression=compression)
    assert blocks_of(spec, rows=rows) == plain
    for number, block in enumerate(plain, 1):
        assert blocks_of(spec, rows=rows, start=block.end) == plain[number:]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_several_members_are_one_file(source: Source, compression: str) -> None:
    data = packed(b"one\ntw", compression) + packed(b"o\n", compression)
    data += packed(b"", compression) + packed(b"three", compression)
    spec = source("text", data, compression=compression)
    assert texts_of(blocks_of(spec)) == ["one", "two", "three"]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("data", [b"", "nothing in it"])
def test_an_empty_one_is_an_empty_file(source: Source, compression: str, data: object) -> None:
    made = packed(b"", compression) if data else b""
    with pytest.raises(InputError, match=r"in\.text: the file is empty"):
        blocks_of(source("text", made, compression=compression))


LONG = b"".join(b"%d and so on\n" % row for row in range(200_000))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_truncated_one_says_how_far_it_got(source: Source, compression: str) -> None:
    whole = packed(LONG, compression)
    spec = source("text", whole[: len(whole) - len(whole) // 3], compression=compression)
    with pytest.raises(InputError) as caught:
        blocks_of(spec)
    line = caught.value.line
    assert line is not None
    assert line > 50_000
    begun = f"in.text, line {line}: the {compression} data ends early, after "
    assert caught.value.message.startswith(begun)
    assert caught.value.message.endswith(" bytes of text")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda whole: whole[:-6] + b"\x00" * 6, "the gzip data is damaged, after 2,"),
        (lambda whole: whole + b"and a tail", "the gzip data is damaged, after 3,"),
        (lambda whole: b"nothing of the kind", "in.text, line 1: this is no gzip data"),
        (lambda whole: whole[:5], "line 1: the gzip data ends early, after 0 bytes of text"),
    ],
    ids=["a wrong checksum", "garbage behind", "no gzip", "the beginning only"],
)
def test_a_damaged_one_is_refused(
    source: Source, damage: Callable[[bytes], bytes], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        blocks_of(source("text", damage(gzip.compress(LONG)), compression="gzip"))
    assert said in caught.value.message


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("line_end", [b"", b"\n"])
def test_a_file_made_to_burst_is_cut_off(
    source: Source, compression: str, line_end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "FREE_BYTES", 8 << 20)
    piece = packed(b"x" * (1 << 22) + line_end, compression)
    spec = source("text", piece * 50, compression=compression)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"data grows more than 200 times, to .* bytes so far"):
        blocks_of(spec, rows=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 << 20


def test_there_is_an_end_to_the_bytes_of_one_file(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_BYTES", 1 << 20)
    spec = source("text", packed(LONG, "zstd"), compression="zstd")
    with pytest.raises(InputError, match="more than 1,048,576 bytes of text in one zstd file"):
        blocks_of(spec)


ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "gb18030", "utf-7"]


@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5), min_size=1, max_size=9
    ),
    encoding=st.sampled_from(ENCODINGS),
    rows=st.integers(1, 3),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_encoding_comes_back_from_every_place(
    source: Source, texts: list[str], encoding: str, rows: int
) -> None:
    data = "".join(f"-{text}\n" for text in texts).encode(encoding)
    spec = source("text", data, encoding=encoding_of(encoding))
    blocks = blocks_of(spec, rows=rows)
    assert texts_of(blocks) == [f"-{text}" for text in texts]
    for number, block in enumerate(blocks, 1):
        assert blocks_of(spec, rows=rows, start=block.end) == blocks[number:]


def test_an_encoding_across_many_pieces_and_compressed(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_PIECE_BYTES", 7)
    texts = [f"{row} Grüße 🔥" for row in range(300)]
    data = "\n".join(texts).encode("utf-16")
    spec = source("text", packed(data, "zstd"), compression="zstd", encoding="utf-16")
    assert texts_of(blocks_of(spec)) == texts


@pytest.mark.parametrize(
    ("encoding", "data", "reason"),
    [
        ("cp1252", b"good \x93q\x94\nbad \x81\xe9\n", "not cp1252: character 5 of the line"),
        ("ascii", b"good\nb\xc3\xa9\n", "not ascii: character 2 of the line"),
        (
            "utf-16-le",
            "good\n".encode("utf-16-le") + b"\x00\xd8x\x00\n\x00",
            "not utf-16-le: character 1 of the line",
        ),
    ],
)
def test_bytes_that_an_encoding_does_not_have_make_a_bad_row(
    source: Source, encoding: str, data: bytes, reason: str
) -> None:
    (block,) = blocks_of(source("text", data, encoding=encoding))
    assert [(bad.line, bad.reason) for bad in block.bad] == [(2, reason)]


def test_latin1_takes_every_byte(source: Source) -> None:
    (block,) = blocks_of(source("csv", b"a\ncaf\xe9\n", encoding=encoding_of("latin-1")))
    assert texts_of([block]) == ["café"]


def test_an_encoding_that_needs_a_mark_says_which_ones_do_not(source: Source) -> None:
    with pytest.raises(InputError) as caught:
        blocks_of(source("text", "a\n".encode("utf-16-le"), encoding="utf-16"))
    assert caught.value.message == "in.text: no byte order mark tells which utf-16 this is"
    assert caught.value.hint == "say --encoding utf-16-le or --encoding utf-16-be"


@pytest.mark.parametrize(
    ("said", "name"),
    [("UTF8", "utf-8"), ("utf-8-sig", "utf-8"), ("latin-1", "iso8859-1"), ("U16", "utf-16")],
)
def test_an_encoding_has_one_name(said: str, name: str) -> None:
    assert encoding_of(said) == name
    assert encoding_of(None) is None


@pytest.mark.parametrize("said", ["klingon", "", "base64", "rot13", "undefined", "a\0b"])
def test_what_is_no_encoding_is_refused(said: str) -> None:
    with pytest.raises(UsageError, match="there is no encoding"):
        encoding_of(said)


def test_a_disk_that_fails_is_no_damaged_archive(source: Source, tmp_path: Path) -> None:
    spec = source("text", packed(b"x", "gzip"), compression="gzip")
    Path(spec.path).unlink()
    with pytest.raises(FileNotFoundError):
        blocks_of(spec)
