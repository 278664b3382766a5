"""Multipart bodies as clients write them, for tests of uploads."""

from typing import Final

BOUNDARY: Final = b"xYz"
TYPE: Final = "multipart/form-data; boundary=xYz"
FILE: Final = b'name="file"; filename="in.jsonl"'
PURPOSE: Final = (b'name="purpose"', b"batch")


def form(*parts: tuple[bytes, bytes]) -> bytes:
    """A whole form; each part is what follows `form-data;`, and its data."""
    written = [
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (BOUNDARY, head, data)
        for head, data in parts
    ]
    return b"".join([*written, b"--" + BOUNDARY + b"--\r\n"])
