"""Forms as they come over the wire: cut anywhere, in any order, and wrong in every way."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message
from tests.unit.http.forms import FILE, PURPOSE, TYPE, form

from nightkiln.http.multipart import MOST_FIELD_BYTES, MOST_FIELDS, Form
from nightkiln.wire.openai.refusals import Refused


async def read(
    pieces: Iterable[bytes], kind: str = TYPE, *, cut: bool = False
) -> tuple[Form, bytes]:
    """The form and the bytes of its file. `cut`: the connection ends before the body does."""
    coming = iter(pieces)

    async def receive() -> Message:
        piece = next(coming, None)
        if piece is None and cut:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    headers = [(b"content-type", kind.encode("latin-1"))]
    found = Form(Request({"type": "http", "headers": headers}, receive), "file")
    return found, b"".join([piece async for piece in found.pieces()])


def refusal(*pieces: bytes, kind: str = TYPE) -> str:
    with pytest.raises(Refused) as refused:
        asyncio.run(read(pieces, kind))
    assert refused.value.refusal.status == 400
    return refused.value.refusal.message


# Bytes that look like the end of a part, and do not end it.
LURES = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"--", b"\r\n--", b"\r\n--xY", b"\r\n--xYy", b"--xYz", b"{}\n"]
)
DATA = st.lists(LURES | st.binary(max_size=20), max_size=20).map(b"".join)
CUTS = st.lists(st.integers(0, 400), max_size=40)


@settings(deadline=None)
@given(data=DATA, value=st.text(max_size=30), file_first=st.booleans(), cuts=CUTS)
def test_a_body_in_any_pieces_gives_the_same_bytes(
    data: bytes, value: str, file_first: bool, cuts: list[int]
) -> None:
    if b"\r\n--xYz" in b"\r\n" + data + b"\r\n--xYz"[:-1]:
        return  # clients choose a boundary that the file does not have
    parts = [(FILE, data), (b'name="purpose"', value.encode())]
    if any(b"\r\n--xYz" in b"\r\n" + one for _, one in parts):
        return
    whole = form(*(parts if file_first else parts[::-1]))
    marks = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    found, got = asyncio.run(read(whole[start:stop] for start, stop in pairwise(marks)))
    assert got == data
    assert found.fields == {"purpose": value}
    assert found.filename == "in.jsonl"


@settings(deadline=None, max_examples=50)
@given(data=DATA, cuts=CUTS, length=st.integers(0, 400))
def test_a_body_that_is_cut_off_is_never_taken_for_a_whole_one(
    data: bytes, cuts: list[int], length: int
) -> None:
    if b"\r\n--xYz" in b"\r\n" + data:
        return  # the file itself would end the form
    whole = form(PURPOSE, (FILE, data))
    end = whole.rindex(b"--\r\n")  # a client may stop right behind its last boundary
    short = whole[: min(length, end)]
    with pytest.raises(Refused):
        asyncio.run(read([short]))
    with pytest.raises(ClientDisconnect):
        asyncio.run(read([short], cut=True))


def test_the_file_is_handed_on_before_the_body_ends() -> None:
    async def work() -> list[bytes]:
        seen: list[bytes] = []
        whole = form((FILE, b"first" + b"." * 10_000))

        async def receive() -> Message:
            assert len(seen) in (0, 1), "the second piece was asked for before the first was given"
            piece = whole[:500] if not seen else whole[500:]
            return {"type": "http.request", "body": piece, "more_body": not seen}

        scope = {"type": "http", "headers": [(b"content-type", TYPE.encode())]}
        async for piece in Form(Request(scope, receive), "file").pieces():
            seen += [piece]
        return seen

    first, *_ = asyncio.run(work())
    assert first.startswith(b"first")


def test_a_name_that_is_more_than_ascii_is_kept_and_what_cannot_be_shown_is_not() -> None:
    head = 'name="file"; filename="größe \x07.jsonl"'.encode()
    found, _ = asyncio.run(read([form((head, b"x"))]))
    assert found.filename == "größe �.jsonl"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("application/json", "has to be multipart"),
        ("", "has to be multipart"),
        ("multipart/form-data", "with a boundary"),
        (f"multipart/form-data; boundary={'x' * 300}", "boundary is too long"),
    ],
)
def test_a_body_of_another_kind_is_refused(kind: str, said: str) -> None:
    assert said in refusal(b"{}", kind=kind)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "ends before"),
        (b"nothing like a form", "rules"),
        (form(PURPOSE), "Missing required parameter 'file'"),
        (form(PURPOSE, PURPOSE, (FILE, b"")), "'purpose' is there twice"),
        (form((FILE, b""), (FILE, b"")), "'file' is there twice"),
        (form((b'name="other"; filename="x"', b""), (FILE, b"")), "'other' is a file"),
        (form((b'filename="x"', b"")), "has no name"),
        (form((b'name="purpose"', b"\xff"), (FILE, b"")), "UTF-8"),
        (form((FILE + b"\r\nContent-Transfer-Encoding: base64", b"")), "encoded"),
        (form(*((b'name="f%d"' % one, b"") for one in range(MOST_FIELDS + 1))), "fields"),
        (form((b'name="f"', b"x" * (MOST_FIELD_BYTES + 1))), "bytes"),
        (form((b'name="f"' + b"\r\nX: " + b"x" * 100_000, b"")), "rules"),
    ],
)
def test_a_form_that_is_wrong_is_refused_in_words(body: bytes, said: str) -> None:
    assert said in refusal(body)
