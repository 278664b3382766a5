"""A large file goes through a server at flat memory: in by one pass, and out again."""

import hashlib
import http.client
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import pytest
from tests.scenario.place import DEADLINE_S, Place
from tests.scenario.test_serve import key_of, serving

MIB: Final = 1 << 20
PIECES: Final = 150  # of one MiB each
GROWTH_KIB: Final = 60 * 1024
NOBODY: Final = "http://127.0.0.1:1/v1"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc"),
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place(tmp_path, NOBODY) as here:
        yield here


def pieces(count: int) -> Iterator[bytes]:
    """A file of many lines, no two pieces alike, that is never in memory as a whole."""
    for number in range(count):
        line = b'{"text": "%09d %s"}\n' % (number, b"x" * 1001)
        yield (line * (MIB // len(line) + 1))[: MIB - 1] + b"\n"


def memory_kib(process: int, field: str) -> int:
    """A line of what Linux says of a process's memory."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    raise AssertionError(f"nothing is said of {field}")


def asked(
    url: str,
    key: str,
    method: str,
    path: str,
    body: Iterable[bytes] = (),
    **headers: str,
) -> tuple[int, bytes, str]:
    """The status, the first bytes of the answer, and the SHA-256 of all of it.

    It sends and reads piece by piece, so that nothing large is on this side either.
    """
    sent = {"x-api-key": key, **{name.replace("_", "-"): text for name, text in headers.items()}}
    place = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=DEADLINE_S)
    try:
        connection.request(method, path, body, sent)
        reply = connection.getresponse()
        first, digest = b"", hashlib.sha256()
        while piece := reply.read(MIB):
            first = first or piece
            digest.update(piece)
        return reply.status, first, digest.hexdigest()
    finally:
        connection.close()


class Way(NamedTuple):
    """A way in, and where what came in by it is found again."""

    method: str
    path: str
    content_type: str
    before: bytes
    after: bytes
    found: str

    def there_and_back(self, url: str, key: str, count: int) -> tuple[str, str]:
        """Upload so many pieces and download them; the SHA-256 of both."""
        whole, size = hashlib.sha256(), len(self.before) + count * MIB + len(self.after)

        def body() -> Iterator[bytes]:
            yield self.before
            for piece in pieces(count):
                whole.update(piece)
                yield piece
            yield self.after

        headers = {"content_type": self.content_type, "content_length": str(size)}
        status, said, _ = asked(url, key, self.method, self.path, body(), **headers)
        assert status in (200, 201), said
        path = f"{self.found}/{json.loads(said)['id']}/content"
        status, said, digest = asked(url, key, "GET", path)
        assert status == 200, said
        return whole.hexdigest(), digest


OPENAI: Final = Way(
    method="POST",
    path="/v1/files",
    content_type="multipart/form-data; boundary=frontier",
    before=b'--frontier\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--frontier\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n',
    after=b"\r\n--frontier--\r\n",
    found="/v1/files",
)
OURS: Final = Way(
    method="PUT",
    path="/api/v1/files?name=a.jsonl",
    content_type="application/octet-stream",
    before=b"",
    after=b"",
    found="/api/v1/files",
)


@pytest.mark.parametrize("way", [OPENAI, OURS], ids=["openai", "ours"])
def test_a_large_file_goes_in_and_out_at_flat_memory(place: Place, way: Way) -> None:
    with serving(place) as (process, url):
        key = key_of(place)
        way.there_and_back(url, key, 1)  # what is loaded for the first file is no growth
        before = memory_kib(process.pid, "VmRSS")
        sent, came = way.there_and_back(url, key, PIECES)
        grown = memory_kib(process.pid, "VmHWM") - before
    assert sent == came
    assert grown < GROWTH_KIB, f"{grown} KiB more than before"
