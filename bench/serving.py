"""A large file through the server and back: what it costs, and that memory stays flat.

`python bench/serving.py MB` measures another size than the gigabyte of `bench/run.py`.
"""

import hashlib
import http.client
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import msgspec
from bench.figures import Figure
from bench.processes import BenchError, Child, Cost

MB = 1_000_000
SIZE_MB = 1000
_DEADLINE_S = 600.0
_READY_S = 60.0
_READY = re.compile(r"ready: (http://127\.0\.0\.1:\d+) ")
_LINE = b'{"custom_id":"r","body":{"model":"m","messages":"%b"}}\n' % (b"w " * 250)
_BOUNDARY = "nightkiln-bench"
_HEAD = (
    f"--{_BOUNDARY}\r\ncontent-disposition: form-data; name=purpose\r\n\r\nbatch\r\n"
    f"--{_BOUNDARY}\r\ncontent-disposition: form-data; name=file; filename=a.jsonl\r\n\r\n"
).encode()
_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode()


class _File(msgspec.Struct):
    id: str
    bytes: int


def measure(*, work: Path, size_mb: int = SIZE_MB) -> list[Figure]:
    """One megabyte and then the whole size, each through a server of its own."""
    small = _through(1, work / "small")[0]
    large, up_s, down_s = _through(size_mb, work / "large")

    def figure(name: str, value: float, unit: str, at_most: float | None = None) -> Figure:
        return Figure(workload="upload", name=name, value=value, unit=unit, at_most=at_most)

    return [
        figure(f"{size_mb:,} MB up, by the clock", up_s, "s"),
        figure(f"{size_mb:,} MB down, by the clock", down_s, "s"),
        figure("the server's CPU for both", large.cpu_s - small.cpu_s, "s CPU"),
        figure("peak memory of the server", large.peak_mb, "MB", at_most=300),
        figure("growth over 1 MB", large.peak_mb - small.peak_mb, "MB", at_most=32),
    ]


def _through(size_mb: int, work: Path) -> tuple[Cost, float, float]:
    """Up and down; what the server used, and the seconds of each way."""
    work.mkdir(parents=True)
    log = work / "serve.log"
    home = work / "home"
    child = Child(["-m", "nightkiln", "serve", "--port", "0", "--home", str(home)], log=log)
    try:
        url = url_of(child, log)
        key = (home / "admin.key").read_text().strip()
        began = time.monotonic()
        file, sent = upload_of(url, key, size_mb)
        up_s = time.monotonic() - began
        began = time.monotonic()
        if download(url, key, file) != sent:
            raise BenchError("the file that came back is another one")
        down_s = time.monotonic() - began
    finally:
        used = child.kill()
    return used, up_s, down_s


def upload_of(url: str, key: str, size_mb: int) -> tuple[str, str]:
    """Send a file of this size: its id, and the digest of what was sent."""
    digest = hashlib.sha256()
    lines = max(1, size_mb * MB // len(_LINE))

    def pieces() -> Iterator[bytes]:
        block, left = _LINE * 100, lines
        while left > 0:
            piece = block if left >= 100 else _LINE * left
            digest.update(piece)
            yield piece
            left -= 100

    return upload(url, key, pieces(), lines * len(_LINE)), digest.hexdigest()


def upload(url: str, key: str, pieces: Iterable[bytes], size: int) -> str:
    """Send a batch's file as a form, without having it in memory: its id."""
    connection = connection_to(url)
    connection.request(
        "POST",
        "/v1/files",
        chain([_HEAD], pieces, [_TAIL]),
        {
            "authorization": f"Bearer {key}",
            "content-type": f"multipart/form-data; boundary={_BOUNDARY}",
            "content-length": str(len(_HEAD) + size + len(_TAIL)),
        },
    )
    reply = connection.getresponse()
    said = reply.read()
    connection.close()
    if reply.status != 200:
        raise BenchError(f"the upload gave {reply.status}: {said[:200]!r}")
    made = msgspec.json.decode(said, type=_File)
    if made.bytes != size:
        raise BenchError(f"{size:,} bytes were sent, {made.bytes:,} came")
    return made.id


def ask(url: str, key: str, method: str, path: str, body: bytes | None = None) -> bytes:
    """What the server says to a request, which has to be good."""
    connection = connection_to(url)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    said = reply.read()
    connection.close()
    if reply.status != 200:
        raise BenchError(f"{path} gave {reply.status}: {said[:200]!r}")
    return said


def lines_of(url: str, key: str, path: str) -> Iterator[bytes]:
    """The lines of a download, one after the other."""
    connection = connection_to(url)
    connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
    reply = connection.getresponse()
    if reply.status != 200:
        raise BenchError(f"{path} gave {reply.status}")
    yield from reply
    connection.close()


def download(url: str, key: str, file: str) -> str:
    """The digest of what came."""
    digest = hashlib.sha256()
    connection = connection_to(url)
    headers = {"authorization": f"Bearer {key}"}
    connection.request("GET", f"/v1/files/{file}/content", headers=headers)
    reply = connection.getresponse()
    while piece := reply.read(1 << 18):
        digest.update(piece)
    connection.close()
    return digest.hexdigest()


def connection_to(url: str) -> http.client.HTTPConnection:
    place = urlsplit(url)
    return http.client.HTTPConnection(str(place.hostname), place.port, timeout=_DEADLINE_S)


def url_of(child: Child, log: Path) -> str:
    until = time.monotonic() + _READY_S
    while time.monotonic() < until and child.running:
        found = _READY.search(log.read_text())
        if found is not None:
            return found.group(1)
        time.sleep(0.05)
    raise BenchError(f"the server did not start: {child.complaint()}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for one in measure(
            work=Path(scratch), size_mb=int(sys.argv[1]) if sys.argv[1:] else SIZE_MB
        ):
            print(f"{one.name}: {one.value:.1f} {one.unit}")
