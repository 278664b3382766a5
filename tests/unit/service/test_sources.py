"""Sources: one file or many, here or at a URL; the same content is the same job."""

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightkiln.core.errors import InputError, UsageError
from nightkiln.core.job import JobState, PromptSpec
from nightkiln.service import submit
from nightkiln.service.fetching import Fetching
from nightkiln.service.ingest import Stopped, ingest
from nightkiln.service.orders import Order
from nightkiln.service.results import check_output, export
from nightkiln.service.sources import kind_of, located
from nightkiln.vault.segments import InputReader, notes

from .conftest import Kilnful

TEXT = PromptSpec(columns=("s",))


def order_of(place: Path | str, **more: object) -> Order:
    fields = {"output": None, "prompt": TEXT, "model": "m", "endpoint": "http://x/v1", **more}
    return Order(input=str(place), **fields)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir()
    for number, name in enumerate("abc"):
        rows = range(10 * number, 10 * number + 10)
        table = pa.table({"n": rows, "s": [f"text {row}" for row in rows]})
        pq.write_table(table, place / f"{name}.parquet")
    return place


async def test_a_folder_of_parquet_is_a_job_with_types(
    kiln: Kilnful, folder: Path, tmp_path: Path
) -> None:
    job = await kiln.ended(order_of(folder))
    assert (job.state, job.rows) == (JobState.SUCCEEDED, 30)
    await export(kiln.context, job, str(tmp_path / "out.parquet"), None)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.schema.field("n").type == pa.int64()
    assert found.column("n").to_pylist() == list(range(30))
    assert found.column("s").to_pylist() == [f"text {row}" for row in range(30)]


async def test_names_do_not_make_another_job_and_contents_do(
    kiln: Kilnful, folder: Path, tmp_path: Path
) -> None:
    async def sha256(place: Path | str) -> str:
        return (await submit.source_of(kiln.context, order_of(place))).sha256

    first = await sha256(folder)
    assert await sha256(f"{folder}/*.parquet") == first
    shutil.copytree(folder, tmp_path / "copy")
    assert await sha256(tmp_path / "copy") == first
    (tmp_path / "copy" / "a.parquet").rename(tmp_path / "copy" / "z.parquet")
    assert await sha256(tmp_path / "copy") != first
    assert await sha256(f"{folder}/[ab].parquet") != first


async def test_a_folder_that_changed_is_refused(kiln: Kilnful, folder: Path) -> None:
    job = await kiln.accepted(order_of(folder))
    pq.write_table(pa.table({"n": [1], "s": ["more"]}), folder / "d.parquet")
    with pytest.raises(InputError, match="changed since it was submitted"):
        ingest(job, kiln.context.files(job.id), on_rows=lambda _: None, stop=lambda: False)


async def test_an_ingest_of_parquet_goes_on_from_its_last_segment(
    kiln: Kilnful, tmp_path: Path
) -> None:
    path = tmp_path / "in.parquet"
    text = "".join(chr(33 + number % 90) for number in range(997))
    table = pa.table({"n": range(90_000), "s": [f"{row} {text}" for row in range(90_000)]})
    pq.write_table(table, path, row_group_size=7_000)
    job = await kiln.accepted(order_of(path))
    files, seen = kiln.context.files(job.id), list[int]()
    with pytest.raises(Stopped):
        ingest(job, files, on_rows=seen.append, stop=lambda: bool(seen) and seen[-1] > 80_000)
    assert notes(files)
    done = ingest(job, files, on_rows=lambda _: None, stop=lambda: False)
    assert done.rows == 90_000
    reader = InputReader(files)
    numbers = [n for chunk in done.chunks for n in reader.read(chunk).rows.column("n").to_pylist()]
    reader.close()
    assert numbers == list(range(90_000))


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing.parquet", "there is no file"), ("*.parquet", "no file is named like")],
)
async def test_what_is_not_there_is_said(
    kiln: Kilnful, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        await submit.source_of(kiln.context, order_of(tmp_path / name))


async def test_bytes_are_no_prompt(kiln: Kilnful, tmp_path: Path) -> None:
    pq.write_table(pa.table({"s": [b"\xff"]}), tmp_path / "in.parquet")
    job = await kiln.accepted(order_of(tmp_path / "in.parquet"))
    with pytest.raises(UsageError, match='the column "s" holds bytes'):
        ingest(job, kiln.context.files(job.id), on_rows=lambda _: None, stop=lambda: False)


def test_an_output_that_the_next_run_would_read_is_refused(folder: Path) -> None:
    for place in (folder, folder / "*.parquet"):
        with pytest.raises(UsageError, match="one of the input's own files"):
            check_output(
                str(folder / "out.parquet"), None, source="parquet", source_path=str(place)
            )


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    body = (folder / "a.parquet").read_bytes()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head + body)

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/dir/a.parquet?token=secret"
    listening.close()


async def test_a_url_is_fetched_into_the_home_and_goes_with_the_job(
    kiln: Kilnful, folder: Path, url: str
) -> None:
    rules = Fetching(allowed=lambda address: address.is_loopback)
    source = await submit.source_of(kiln.context, order_of(url), fetching=rules)
    assert (source.kind, source.spooled) == ("parquet", True)
    assert source.name.endswith("/dir/a.parquet?...")
    spec = submit.spec_of(order_of(url), source, model="m")
    job, _ = await submit.accept(kiln.context, spec, new=False)
    done = ingest(job, kiln.context.files(job.id), on_rows=lambda _: None, stop=lambda: False)
    assert done.rows == 10
    assert "secret" not in repr(job)
    again = await submit.source_of(kiln.context, order_of(url), fetching=rules)
    same, _ = await submit.accept(
        kiln.context, submit.spec_of(order_of(url), again, model="m"), new=False
    )
    assert same.id == job.id
    assert list(kiln.context.home.spool.iterdir()) == []
    local = await submit.source_of(kiln.context, order_of(folder / "a.parquet"))
    assert local.sha256 == source.sha256


async def test_a_url_of_this_machine_is_refused(kiln: Kilnful, url: str) -> None:
    with pytest.raises(UsageError, match="no public address"):
        await submit.source_of(kiln.context, order_of(url))
    assert list(kiln.context.home.spool.iterdir()) == []


@pytest.mark.parametrize("name", ["s3://bucket/in.csv", "ftp://host/in.parquet", "gs://b/in"])
def test_a_scheme_that_is_not_fetched_is_said_with_what_is(name: str) -> None:
    with pytest.raises(UsageError, match="is not fetched; an input is a file, a folder"):
        kind_of(name, None)


def test_a_pattern_of_what_is_no_parquet_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\na\n")
    with pytest.raises(InputError, match="csv files are taken one at a time"):
        located(str(tmp_path / "*.csv"), "csv")
