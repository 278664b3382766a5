"""Ranges and names of downloads, against the rules of HTTP."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightkiln.wire.filecontent import Content, content_of, disposition


@pytest.mark.parametrize(
    ("asked", "start", "length", "says"),
    [
        ("bytes=0-9", 0, 10, "bytes 0-9/100"),
        ("bytes=90-", 90, 10, "bytes 90-99/100"),
        ("bytes=-10", 90, 10, "bytes 90-99/100"),
        ("bytes=0-0", 0, 1, "bytes 0-0/100"),
        ("bytes=50-1000", 50, 50, "bytes 50-99/100"),
        ("bytes=-1000", 0, 100, "bytes 0-99/100"),
        ("bytes=0-99999999999999999999", 0, 100, "bytes 0-99/100"),
        ("Bytes = 1 - 2", 1, 2, "bytes 1-2/100"),
    ],
)
def test_one_range_is_a_part(asked: str, start: int, length: int, says: str) -> None:
    found = content_of(100, asked=asked)
    assert (found.status, found.start, found.length) == (206, start, length)
    assert dict(found.headers) == {
        "accept-ranges": "bytes",
        "content-length": str(length),
        "content-range": says,
    }


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_beyond_the_end_is_not_satisfiable(asked: str) -> None:
    found = content_of(100, asked=asked)
    assert (found.status, found.length) == (416, 0)
    assert dict(found.headers)["content-range"] == "bytes */100"


def test_an_empty_file_has_no_ranges() -> None:
    assert content_of(0).status == 200
    assert content_of(0, asked="bytes=0-").status == 416


@pytest.mark.parametrize(
    "asked",
    [None, "", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "items=0-1", "bytes=0-1,4-5",
     "bytes=٣-٤", "bytes=0-1-2", "bytes=" + "1" * 5000 + "-"],
)  # fmt: skip
def test_what_is_no_single_range_gets_the_whole(asked: str | None) -> None:
    assert content_of(100, asked=asked) == Content(status=200, start=0, length=100, size=100)


def test_a_part_is_sent_only_while_the_file_is_the_same() -> None:
    part = "bytes=0-1"
    assert content_of(9, asked=part, if_range='"a"', etag='"a"').status == 206
    assert content_of(9, asked=part, if_range='"b"', etag='"a"').status == 200
    assert content_of(9, asked=part, if_range='W/"a"', etag='W/"a"').status == 200
    assert content_of(9, asked=part, if_range="Fri, 20 Nov 2026 06:00:00 GMT").status == 200


@given(st.integers(0, 300), st.integers(0, 300) | st.none(), st.integers(0, 300) | st.none())
def test_a_part_is_always_inside_the_file(size: int, first: int | None, last: int | None) -> None:
    asked = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    found = content_of(size, asked=asked)
    assert 0 <= found.start <= found.start + found.length <= size
    if found.status == 206:
        assert found.length > 0


def name_in(header: str) -> str:
    """The name as a client of RFC 6266 reads it: the extended one wins."""
    extended = re.search(r"; filename\*=UTF-8''([\w!#$&+.^`|~%-]+)$", header, re.ASCII)
    if extended:
        return unquote(extended.group(1), errors="strict")
    plain = re.search(r'^attachment; filename="([^"\\]*)"$', header)
    assert plain, header
    return plain.group(1)


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("out.jsonl", 'attachment; filename="out.jsonl"'),
        ("two words.csv", 'attachment; filename="two words.csv"'),
        ("../../etc/passwd", 'attachment; filename="passwd"'),
        ("C:\\dir\\a.txt", 'attachment; filename="a.txt"'),
        ("", 'attachment; filename="file"'),
        ("dir/", 'attachment; filename="file"'),
        (
            "Prüfung €",
            """attachment; filename="Pr_fung _"; filename*=UTF-8''Pr%C3%BCfung%20%E2%82%AC""",
        ),
        (
            'a"b\r\nx: y%',
            "attachment; filename=\"a_b__x_ y_\"; filename*=UTF-8''a%22b%0D%0Ax%3A%20y%25",
        ),
    ],
)
def test_a_name_is_said_in_a_way_that_every_client_reads(filename: str, header: str) -> None:
    assert disposition(filename) == header


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip))
def test_any_name_is_one_line_of_ascii_and_comes_back(filename: str) -> None:
    header = disposition(filename)
    assert header.isascii()
    assert header.isprintable()
    expected = filename.replace("\\", "/").rpartition("/")[2].strip() or "file"
    assert name_in(header) == expected
