"""From published results back to a table: the input's columns, then the answers, in row order."""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc

from nightkiln.core.chunk import Chunk
from nightkiln.core.errors import NotFound, UsageError
from nightkiln.core.fault import FaultClass
from nightkiln.core.job import Job, JobState
from nightkiln.service.context import Context
from nightkiln.store import chunks
from nightkiln.tables.base import OUTPUT_COLUMNS
from nightkiln.tables.formats import WRITTEN, format_of, open_writer
from nightkiln.tables.schema import fields_of
from nightkiln.vault.durable import disk_errors, fsync_dir, link, make_dir, replacing
from nightkiln.vault.home import JobFiles
from nightkiln.vault.parts import completed, read_part
from nightkiln.vault.publish import MANIFEST, Manifest, manifest_in, read_manifest
from nightkiln.vault.segments import InputReader

_IMPLIED: Final = {
    JobState.CANCELLED: FaultClass.CANCELLED,
    JobState.EXPIRED: FaultClass.EXPIRED,
}
STDOUT: Final = "-"
DATASET: Final = "parquet dataset"


def output_kind(output: str, explicit: str | None, *, source: str) -> str:
    """What will be written: csv, jsonl, or a Parquet dataset for a folder. Raises UsageError."""
    if output == STDOUT:
        return explicit or ("csv" if source == "csv" else "jsonl")
    if output.endswith(os.sep) or Path(output).is_dir():
        return DATASET
    try:
        return format_of(output, explicit)
    except UsageError as error:
        raise UsageError(
            f"{output} does not say how to write it; outputs are: {', '.join(WRITTEN)}, and a"
            " folder (a name that ends in /) for Parquet",
            hint=f"say it with --output-format {'|'.join(WRITTEN)}, or name a folder",
        ) from error


def check_output(output: str, explicit: str | None, *, source: str, source_path: str) -> str:
    """Refuse an output that could not be written, before anything is spent. Its kind."""
    kind = output_kind(output, explicit, source=source)
    if kind != DATASET:
        open_writer(kind, (), source=source)
    if output == STDOUT:
        return kind
    path = Path(output).expanduser()
    folder = path if kind == DATASET and path.is_dir() else path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} for the output", hint="make it first")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder {folder} may not be written", hint="name another output")
    if path.exists() and Path(source_path).exists() and path.samefile(source_path):
        raise UsageError(f"{output} is the input itself", hint="name another output")
    return kind


async def export(context: Context, job: Job, output: str, explicit: str | None) -> int:
    """Write a finished job's table; the number of rows.

    The file appears whole or not at all. Raises NotFound for a job that has
    published nothing yet, UsageError for an output that cannot be written.
    """
    source = job.spec.source
    kind = check_output(output, explicit, source=source.kind, source_path=source.path)
    manifest = await _manifest(context, job)
    files = context.files(job.id)
    if kind == DATASET:
        await asyncio.to_thread(_dataset, files, manifest, output)
        return manifest.rows
    known = await context.store.read(lambda tx: chunks.all_chunks(tx, job.id))
    writer = open_writer(kind, job.columns, source=source.kind, fields=fields_of(job.spec))
    pieces = _pieces(files, manifest, known)
    return await asyncio.to_thread(_write, output, lambda out: writer.write(out, pieces))


async def _manifest(context: Context, job: Job) -> Manifest:
    """The manifest of the newest generation that ended."""
    files = context.files(job.id)
    for generation in range(job.generation, 0, -1):
        found = await asyncio.to_thread(read_manifest, files, generation)
        if found is not None and (generation < job.generation or job.state.is_terminal):
            return found
    raise NotFound(
        f"job {job.id} is {job.state} and has no results yet",
        hint=f"nightkiln jobs watch {job.id}",
    )


def _pieces(
    files: JobFiles, manifest: Manifest, known: Sequence[Chunk]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Inputs and answers of every chunk, aligned row by row."""
    published = {file.chunk: file.name for file in manifest.files}
    folder = files.published(manifest.generation)
    implied = _IMPLIED.get(JobState(manifest.outcome))
    reader = InputReader(files)
    with contextlib.closing(reader):
        for chunk in known:
            name = published.get(chunk.number)
            part = None if name is None else read_part(folder / name)
            whole = completed(part, first_row=chunk.first_row, rows=chunk.rows, implied=implied)
            yield reader.read(chunk).rows, answers_of(whole)


def answers_of(part: pa.Table) -> pa.Table:
    """The output columns of a part; of the attempts only how many they were."""
    tried = pc.list_value_length(part.column("attempts"))
    columns = [tried if name == "attempts" else part.column(name) for name in OUTPUT_COLUMNS]
    return pa.Table.from_arrays(columns, names=list(OUTPUT_COLUMNS))


def _write(output: str, fill: Callable[[BinaryIO], int]) -> int:
    if output == STDOUT:
        with disk_errors("writing to standard output"):
            rows = fill(sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return rows
    with disk_errors(f"writing {output}"):
        path = Path(output).expanduser().absolute()
        if path.exists() and not path.is_file():  # a device, a pipe: nothing to replace
            with path.open("wb") as out:
                return fill(out)
        with replacing(path, renamed="output.renamed") as out:
            return fill(out)


def _remove_ours(folder: Path) -> None:
    """Make room for a dataset: what an earlier export left may go, nothing else may."""
    earlier = manifest_in(folder)
    for file in () if earlier is None else earlier.files:
        (folder / file.name).unlink(missing_ok=True)
    if others := sorted(path.name for path in folder.glob("*.parquet")):
        raise UsageError(
            f"{folder} holds Parquet files that are not ours, {others[0]} among them",
            hint="name an empty folder, or one that a job was written to before",
        )


def _dataset(files: JobFiles, manifest: Manifest, output: str) -> None:
    """Give the published files names in a folder of the user's; nothing is written twice."""
    source, folder = files.published(manifest.generation), Path(output).expanduser()
    with disk_errors(f"writing {folder}"):
        make_dir(folder)
        _remove_ours(folder)
        for file in manifest.files:
            link(source / file.name, folder / file.name)
        shutil.copyfile(source / MANIFEST, folder / MANIFEST)
        fsync_dir(folder)
