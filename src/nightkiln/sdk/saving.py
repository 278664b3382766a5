"""What a server has of a job, as files on this machine: its table, its Parquet files, its bad rows.

A file appears whole or not at all, as an embedded run writes it. Requests block.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from nightkiln.core.errors import UnreachableError
from nightkiln.core.job import Job
from nightkiln.sdk.connection import Query, Server
from nightkiln.service.batches import failures_beside
from nightkiln.service.outputs import is_stream, opened
from nightkiln.service.results import DATASET, check_output, check_whole, left_in, make_room
from nightkiln.service.selection import Selection
from nightkiln.tables.batch_in import BATCH
from nightkiln.tables.formats import TEXTUAL, compression_of
from nightkiln.tables.streams_out import compressing
from nightkiln.vault.durable import (
    disk_errors,
    fsync_dir,
    make_dir,
    replacing,
    sha256_of,
    write_bytes,
)
from nightkiln.vault.publish import MANIFEST, Manifest, PublishedFile

_NOWHERE: Final = "/nightkiln/elsewhere"  # the input is not on this machine


def save_table(
    server: Server,
    job: Job,
    output: str,
    output_format: str | None,
    *,
    excel_safe: bool,
    wanted: Selection,
) -> int:
    """Download a job's table, or what is wanted of it; the number of rows. Raises UsageError."""
    kind = check_output(
        output,
        output_format,
        source=job.spec.source.kind,
        source_path=_NOWHERE,
        excel_safe=excel_safe,
    )
    if kind == DATASET:
        check_whole(job, wanted)
        return _save_folder(server, job, output)
    query: Query = {
        "format": kind,
        "partial": wanted.partial,
        "where": [f"{name}={value}" for name, values in wanted.where for value in values],
        "limit": wanted.limit,
        "excel_safe": excel_safe,
    }
    if kind == BATCH:
        return _save_lines(server, job, output, query)
    compression = compression_of(output, output_format) if kind in TEXTUAL else None
    with opened(output) as out, compressing(out, compression) as stream:
        return server.save(f"/jobs/{job.id}/results", stream, query=query)


def save_bad_rows(server: Server, job: Job, output: str) -> None:
    """Download the rows that could not be read, as JSON lines; without any an empty file."""
    with opened(output) as out:
        server.save(f"/jobs/{job.id}/bad-rows/lines", out, query={})


def _save_folder(server: Server, job: Job, output: str) -> int:
    """Download the files of a job's results, and last the manifest that names them.

    What an earlier download left stays until all have come.
    """
    manifest = server.ask("GET", f"/jobs/{job.id}/dataset", Manifest)
    folder = Path(output).expanduser()
    with disk_errors(f"writing {folder}"):
        make_dir(folder)
        left_in(folder)  # refused now, not when all is here
        with TemporaryDirectory(prefix=".coming-", dir=folder) as scratch:
            for file in manifest.files:
                _save_file(server, job, file, Path(scratch))
            make_room(folder)
            for file in manifest.files:
                (Path(scratch) / file.name).replace(folder / file.name)
        write_bytes(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        fsync_dir(folder)
    return manifest.rows


def _save_file(server: Server, job: Job, file: PublishedFile, folder: Path) -> None:
    if Path(file.name).name != file.name or file.name.startswith("."):
        raise UnreachableError(f"the server names a file {file.name!r} outside the folder")
    target = folder / file.name
    with replacing(target) as out:
        server.save(f"/jobs/{job.id}/dataset/{file.name}", out, query={})
    if file.sha256 and sha256_of(target)[0] != file.sha256:
        raise UnreachableError(f"{file.name} came damaged", hint="run the command again")


def _save_lines(server: Server, job: Job, output: str, query: Query) -> int:
    """Download replies to the output, and failures beside it; into a stream both."""
    path = f"/jobs/{job.id}/results"
    failures = {**query, "format": "batch-errors"}
    if is_stream(output):
        with opened(output) as out:
            rows = server.save(path, out, query=query)
            server.save(path, out, query=failures)
        return rows
    compression, file = compression_of(output), Path(output).expanduser().absolute()
    with opened(output) as out, compressing(out, compression) as stream:
        rows = server.save(path, stream, query=query)
    if job.totals.failed or failures_beside(file).exists():
        beside = str(failures_beside(file))
        with opened(beside) as out, compressing(out, compression) as stream:
            server.save(path, stream, query=failures)
    return rows
