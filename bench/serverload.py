"""A whole batch through the server: its file up, its rows asked, its output down, and the memory.

`python bench/run.py server` takes a million rows; `--rows 50000` tries fewer. The memory
is that of all processes of the server together, looked at five times a second.
"""

import threading
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from bench import inputs, serving
from bench.figures import Figure
from bench.processes import BenchError, Child, tree_mb
from bench.servers import SIMULATOR, Server
from bench.servers import serving as answering

ROWS = 1_000_000
MOST_MB = 300.0
SLOTS = 512
_SAMPLE_S: Final = 0.2
_POLL_S: Final = 0.5
_ROW_S: Final = 0.005  # at most; a million rows have 80 minutes
_LEAST_S: Final = 300.0
_PIECE: Final = 500  # lines
_FLAGS: Final = ("--capacity", str(SLOTS), "--out-tokens", "const:60", "--latency", "const:10")
_CONFIGURATION: Final = """
[endpoints.simulated]
url = "{url}"
models = ["m"]
concurrency = {slots}
"""


class _Counts(msgspec.Struct, frozen=True):
    total: int = 0
    completed: int = 0


class _Batch(msgspec.Struct):
    id: str
    status: str
    request_counts: _Counts = _Counts()
    output_file_id: str | None = None


class _Message(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Message


class _Chat(msgspec.Struct):
    choices: tuple[_Choice, ...]


class _Response(msgspec.Struct):
    body: _Chat


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response


class Watch:
    """The highest memory of a process and its children, phase by phase, until it is closed."""

    def __init__(self, child: Child) -> None:
        self.peaks: dict[str, float] = {}
        self.phase = "start"
        self._child = child
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory of the server")
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            now = tree_mb(self._child.pid)
            self.peaks[self.phase] = max(now, self.peaks.get(self.phase, 0.0))

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()


def measure(*, work: Path, rows: int = ROWS) -> list[Figure]:
    """A batch of so many rows; then a file of a kilobyte for each of them, up and down."""
    size_mb = max(1, rows // 1000)
    with answering(SIMULATOR, _FLAGS, work=work) as provider:
        folder, log = work / "server", work / "serve.log"
        folder.mkdir()
        said = _CONFIGURATION.format(url=provider.url, slots=SLOTS)
        (folder / "nightkiln.toml").write_text(said)
        home = folder / "home"
        child = Child(
            ["-m", "nightkiln", "serve", "--port", "0", "--home", str(home)], log=log, cwd=folder
        )
        watch = Watch(child)
        try:
            url = serving.url_of(child, log)
            key = (home / "admin.key").read_text().strip()
            figures = _batch(url, key, rows, watch, provider)
            figures += _file(url, key, size_mb, watch)
        finally:
            watch.close()
            used = child.kill()
    peaks = [
        _figure(f"peak memory, {name}", peak, "MB", at_most=MOST_MB)
        for name, peak in watch.peaks.items()
    ]
    return [*figures, *peaks, _figure("the server's CPU for all of it", used.cpu_s, "s CPU")]


def _figure(name: str, value: float, unit: str, at_most: float | None = None) -> Figure:
    return Figure(
        workload="server", name=name, value=value, unit=unit, at_most=at_most, against=SIMULATOR
    )


def _batch(url: str, key: str, rows: int, watch: Watch, provider: Server) -> list[Figure]:
    """Its file up, the batch to its end, and the output down, every line looked at."""
    began = time.monotonic()
    watch.phase = f"{rows:,} rows up"
    size = sum(len(piece) for piece in _lines(rows))
    file = serving.upload(url, key, _lines(rows), size)
    up = time.monotonic()
    watch.phase = f"{rows:,} rows asked"
    asked = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = serving.ask(url, key, "POST", "/v1/batches", msgspec.json.encode(asked))
    ended = _ended(url, key, msgspec.json.decode(made, type=_Batch).id, rows)
    over = time.monotonic()
    watch.phase = f"{rows:,} rows down"
    wrong = _wrong(url, key, ended.output_file_id, rows)
    down = time.monotonic()
    seen = provider.stats().requests
    return [
        _figure(f"{rows:,} rows up ({size / serving.MB:.0f} MB), by the clock", up - began, "s"),
        _figure(f"{rows:,} rows asked, by the clock", over - up, "s"),
        _figure(f"{rows:,} rows down, by the clock", down - over, "s"),
        _figure("rows lost, wrong or out of order", wrong, "rows", at_most=0),
        _figure("requests that the provider saw", seen, "requests", at_most=rows),
    ]


def _file(url: str, key: str, size_mb: int, watch: Watch) -> list[Figure]:
    """A large file up and down, in the server that has done a batch."""
    watch.phase = f"{size_mb:,} MB up and down"
    began = time.monotonic()
    file, sent = serving.upload_of(url, key, size_mb)
    up = time.monotonic()
    if serving.download(url, key, file) != sent:
        raise BenchError("the file that came back is another one")
    down = time.monotonic()
    return [
        _figure(f"{size_mb:,} MB up, by the clock", up - began, "s"),
        _figure(f"{size_mb:,} MB down, by the clock", down - up, "s"),
    ]


def _lines(rows: int) -> Iterator[bytes]:
    """The batch's file, in pieces."""
    for first in range(0, rows, _PIECE):
        lines = [
            f'{{"custom_id":"request-{row:08d}","method":"POST","url":"/v1/chat/completions",'
            f'"body":{{"model":"m","messages":[{{"role":"user","content":"{inputs.prompt(row)}"}}]}}}}\n'
            for row in range(first, min(rows, first + _PIECE))
        ]
        yield "".join(lines).encode()


def _ended(url: str, key: str, batch: str, rows: int) -> _Batch:
    until = time.monotonic() + _LEAST_S + rows * _ROW_S
    while time.monotonic() < until:
        said = serving.ask(url, key, "GET", f"/v1/batches/{batch}")
        found = msgspec.json.decode(said, type=_Batch)
        if found.status not in ("validating", "in_progress", "finalizing"):
            if found.status != "completed" or found.request_counts.completed != rows:
                raise BenchError(f"the batch ended otherwise: {said.decode()[:1000]}")
            return found
        time.sleep(_POLL_S)
    raise BenchError(f"the batch did not end in time: {said.decode()[:1000]}")


def _wrong(url: str, key: str, output: str | None, rows: int) -> int:
    """Lines that are not the answer to the row in their place, and rows without one."""
    decode, wrong, row = msgspec.json.Decoder(_Line).decode, 0, 0
    for line in serving.lines_of(url, key, f"/v1/files/{output}/content"):
        found = decode(line)
        digest = blake2b(inputs.prompt(row).encode(), digest_size=8).hexdigest()
        answer = found.response.body.choices[0].message.content
        right = found.custom_id == f"request-{row:08d}" and answer.startswith(f"h:{digest} ")
        wrong += not right
        row += 1
    return wrong + abs(rows - row)
