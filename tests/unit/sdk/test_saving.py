"""What is downloaded into a folder: whole, or what was there before."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from nightkiln.core.errors import NightkilnError, UnreachableError, UsageError
from nightkiln.core.ids import JobId
from nightkiln.core.job import Job, JobSpec, JobState, PromptSpec, SourceSpec
from nightkiln.core.usage import Totals
from nightkiln.sdk.connection import Server
from nightkiln.sdk.saving import save_table
from nightkiln.service.selection import EVERYTHING
from nightkiln.vault.publish import MANIFEST, Manifest, PublishedFile

SOURCE = SourceSpec(kind="jsonl", path="/in.jsonl", name="in.jsonl", size_bytes=1, sha256="")
JOB = Job(
    id=JobId("job"),
    idempotency_key="key",
    spec=JobSpec(source=SOURCE, prompt=PromptSpec(columns=("text",)), model="any"),
    state=JobState.SUCCEEDED,
    created_at=0.0,
)


class Published(ThreadingHTTPServer):
    """A server with the files of one job; it breaks off in the middle of those in `broken`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.broken: set[str] = set()
        super().__init__(("127.0.0.1", 0), Answering)

    def manifest(self) -> bytes:
        files = tuple(
            PublishedFile(
                name=name,
                chunk=number,
                first_row=number,
                rows=1,
                sha256=hashlib.sha256(data).hexdigest(),
            )
            for number, (name, data) in enumerate(self.files.items())
        )
        made = Manifest(
            job=JOB.id,
            generation=1,
            outcome="completed",
            rows=len(files),
            totals=Totals(),
            files=files,
        )
        return msgspec.json.encode(made)


class Answering(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Published)
        name = self.path.rpartition("/")[2]
        data = server.manifest() if name == "dataset" else server.files[name]
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:1] if name in server.broken else data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def published() -> Iterator[Published]:
    with Published() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def saved(published: Published, folder: Path) -> int:
    at = Server(f"http://127.0.0.1:{published.server_port}", "key")
    return save_table(at, JOB, f"{folder}/", None, excel_safe=False, wanted=EVERYTHING)


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}


def test_a_folder_holds_the_latest_download_and_nothing_of_an_earlier_one(
    published: Published, tmp_path: Path
) -> None:
    published.files = {"part-0.parquet": b"old", "part-1.parquet": b"more"}
    assert saved(published, tmp_path) == 2
    assert held(tmp_path) == published.files
    published.files = {"part-0.parquet": b"new"}
    assert saved(published, tmp_path) == 1
    assert held(tmp_path) == published.files
    assert msgspec.json.decode((tmp_path / MANIFEST).read_bytes(), type=Manifest).rows == 1


def test_a_line_that_breaks_leaves_the_earlier_download(
    published: Published, tmp_path: Path
) -> None:
    before = published.files = {"part-0.parquet": b"old", "part-1.parquet": b"more"}
    saved(published, tmp_path)
    published.files = {"part-0.parquet": b"new", "part-1.parquet": b"other"}
    published.broken = {"part-1.parquet"}
    with pytest.raises(UnreachableError):
        saved(published, tmp_path)
    assert held(tmp_path) == before


def test_files_of_somebody_else_are_left_alone(published: Published, tmp_path: Path) -> None:
    published.files = {"part-0.parquet": b"new"}
    (tmp_path / "mine.parquet").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"mine\.parquet among them"):
        saved(published, tmp_path)
    assert held(tmp_path) == {"mine.parquet": b"mine"}


def test_a_name_that_leads_elsewhere_is_refused(published: Published, tmp_path: Path) -> None:
    published.files = {"../part-0.parquet": b"new"}
    with pytest.raises(NightkilnError, match="outside the folder"):
        saved(published, tmp_path / "out")
    assert not (tmp_path / "part-0.parquet").exists()
