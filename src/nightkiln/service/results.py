"""From published results back to a table: the input's columns, then the answers, in row order."""

import asyncio
import contextlib
import itertools
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
from nightkiln.service.batches import write_lines, writes_lines
from nightkiln.service.context import Context
from nightkiln.service.outputs import STDOUT, opened
from nightkiln.service.selection import EVERYTHING, Selection, prefix, selected
from nightkiln.store import chunks
from nightkiln.tables.base import OUTPUT_COLUMNS, WriteOptions
from nightkiln.tables.batch_in import BATCH
from nightkiln.tables.columns import check_collisions
from nightkiln.tables.formats import TEXTUAL, WRITTEN, compression_of, format_of, open_writer
from nightkiln.tables.parquet_in import is_among
from nightkiln.tables.schema import fields_of
from nightkiln.tables.streams_out import compressing
from nightkiln.tables.vectors import gives_vectors
from nightkiln.vault.durable import disk_errors, fsync_dir, link, make_dir, replacing
from nightkiln.vault.home import JobFiles
from nightkiln.vault.parts import completed, read_part
from nightkiln.vault.publish import MANIFEST, Manifest, manifest_in, read_manifest
from nightkiln.vault.segments import InputReader

_IMPLIED: Final = {
    JobState.CANCELLED: FaultClass.CANCELLED,
    JobState.EXPIRED: FaultClass.EXPIRED,
}
DATASET: Final = "parquet dataset"


def output_kind(output: str, explicit: str | None, *, source: str) -> str:
    """What will be written: a format, or a Parquet dataset for a folder. Raises UsageError."""
    if writes_lines(output, explicit, source=source):
        return BATCH
    if output == STDOUT:
        return format_of(output, explicit or (source if source in ("csv", "tsv") else "jsonl"))
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


def check_output(
    output: str, explicit: str | None, *, source: str, source_path: str, excel_safe: bool = False
) -> str:
    """Refuse an output that could not be written, before anything is spent. Its kind."""
    kind = output_kind(output, explicit, source=source)
    if kind not in (DATASET, BATCH):
        open_writer(kind, (), source=source, options=WriteOptions(excel_safe=excel_safe))
    elif excel_safe:
        raise UsageError("excel-safe is for CSV and TSV, not for a folder", hint="leave it out")
    if output == STDOUT:
        _check_stdout(kind)
        return kind
    path = Path(output).expanduser()
    folder = path if kind == DATASET and path.is_dir() else path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} for the output", hint="make it first")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder {folder} may not be written", hint="name another output")
    if path.exists() and Path(source_path).exists() and path.samefile(source_path):
        raise UsageError(f"{output} is the input itself", hint="name another output")
    if source == "parquet" and is_among(path, source_path):
        raise UsageError(
            f"{output} would be one of the input's own files the next time",
            hint="name an output in another folder",
        )
    return kind


def _check_stdout(kind: str) -> None:
    if kind == "xlsx":
        raise UsageError(
            "a workbook cannot go to standard output: what a cell cannot hold goes beside it",
            hint="name a file that ends in .xlsx",
        )
    if kind == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet is nothing for a terminal", hint="name a file, or pipe it")


async def export(  # noqa: PLR0913 - what is written, where, and how
    context: Context,
    job: Job,
    output: str,
    explicit: str | None,
    *,
    excel_safe: bool = False,
    wanted: Selection = EVERYTHING,
    notice: Callable[[str], None] | None = None,
) -> int:
    """Write a finished job's table, or what is wanted of it; the number of rows.

    `notice` is told what whoever reads the output should know. The file appears
    whole or not at all. Raises NotFound for a job that has published nothing
    yet, UsageError for an output that cannot be written.
    """
    source = job.spec.source
    check_collisions(job.columns, fields_of(job.spec))  # a frame may have any column
    kind = check_output(
        output,
        explicit,
        source=source.kind,
        source_path=source.path,
        excel_safe=excel_safe,
    )
    is_over = job.state.is_terminal or not wanted.partial
    manifest = await _manifest(context, job) if is_over else None
    files = context.files(job.id)
    if kind == DATASET:
        check_whole(job, wanted)
        assert manifest is not None
        await asyncio.to_thread(_dataset, files, manifest, output)
        return manifest.rows
    known = await context.store.read(lambda tx: chunks.all_chunks(tx, job.id))
    known = prefix(known) if manifest is None else known
    skip = source.on_bad_row == "skip"
    if kind == BATCH:
        parts = _pieces(files, manifest, known, skip=skip, answers=lambda part: part)
        whole = selected(parts, wanted)
        return await asyncio.to_thread(write_lines, job, output, whole)
    options = _options(job, output, kind, excel_safe=excel_safe)
    writer = open_writer(
        kind, job.columns, source=source.kind, fields=fields_of(job.spec), options=options
    )
    pieces = selected(_pieces(files, manifest, known, skip=skip), wanted)
    compression = compression_of(output, explicit) if kind in TEXTUAL else None

    def fill(out: BinaryIO) -> int:
        with compressing(out, compression) as stream:
            return writer.write(stream, pieces)

    rows = await asyncio.to_thread(_write_beside, output, fill, options.overflow)
    if notice is not None:
        for said in writer.notices:
            notice(said)
    return rows


def check_whole(job: Job, wanted: Selection) -> None:
    """Refuse a folder for a part of a job's rows. Raises UsageError."""
    if not wanted.is_all or (wanted.partial and not job.state.is_terminal):
        raise UsageError(
            "a folder of Parquet is the whole of an ended job",
            hint="name a file for a part of its rows",
        )


async def dataset(context: Context, job: Job) -> tuple[Manifest, Path]:
    """What the newest generation that ended has published, and where. Raises NotFound."""
    manifest = await _manifest(context, job)
    return manifest, context.files(job.id).published(manifest.generation)


def _write_beside(output: str, fill: Callable[[BinaryIO], int], beside: Path | None) -> int:
    """Write, and remove a side file that belonged to the workbook that is replaced."""
    earlier = _file_id(beside)
    with opened(output) as out:
        rows = fill(out)
    if beside is not None and earlier is not None and _file_id(beside) == earlier:
        beside.unlink()
    return rows


def _options(job: Job, output: str, kind: str, *, excel_safe: bool) -> WriteOptions:
    """What the writer needs; the side file of a workbook lies beside it."""
    beside: Path | None = None
    if kind == "xlsx":
        path = Path(output).expanduser().absolute()
        beside = path.with_name(path.name + ".overflow.jsonl")
    return WriteOptions(
        output_schema=job.spec.output_schema,
        excel_safe=excel_safe,
        vectors=gives_vectors(job.spec),
        overflow=beside,
        open_overflow=replacing,
    )


def _file_id(path: Path | None) -> tuple[int, int] | None:
    """What tells one file from another of the same name; None when there is none."""
    if path is None or not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


async def aligned(
    context: Context, job: Job, *, partial: bool = False
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Inputs and answers of an ended job, chunk by chunk; reading them blocks. Raises NotFound.

    With `partial` also of one that is not over: its committed prefix, and behind
    that rows that are `pending`.
    """
    is_over = job.state.is_terminal or not partial
    manifest = await _manifest(context, job) if is_over else None
    known = await context.store.read(lambda tx: chunks.all_chunks(tx, job.id))
    files = context.files(job.id)
    if manifest is not None:
        return _pieces(files, manifest, known)
    if not known:
        raise NotFound(f"job {job.id} is {job.state}: its rows are not read yet", hint="wait a bit")
    done = prefix(known)
    return itertools.chain(_pieces(files, None, done), _waiting(files, known[len(done) :]))


async def published(
    context: Context, job: Job, generation: int
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Inputs and whole parts of a generation that ended, aligned; reading them blocks.

    A later generation changes nothing here. Raises NotFound.
    """
    files = context.files(job.id)
    manifest = await asyncio.to_thread(read_manifest, files, generation)
    if manifest is None:
        raise NotFound(f"generation {generation} of job {job.id} has published nothing")
    known = await context.store.read(lambda tx: chunks.all_chunks(tx, job.id))
    return _pieces(files, manifest, known, answers=lambda part: part)


async def committed(context: Context, job: Job) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Inputs and whole parts of a job that is not over, aligned: its committed prefix.

    Reading them blocks. Nothing behind a chunk that is still open is there.
    """
    known = await context.store.read(lambda tx: chunks.all_chunks(tx, job.id))
    return _pieces(context.files(job.id), None, prefix(known), answers=lambda part: part)


def _waiting(files: JobFiles, known: Sequence[Chunk]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The rows of chunks that are not shown yet, all of them pending."""
    with contextlib.closing(InputReader(files)) as reader:
        for chunk in known:
            none = completed(None, first_row=chunk.first_row, rows=chunk.rows, implied=None)
            yield reader.read(chunk).rows, answers_of(none)


async def _manifest(context: Context, job: Job) -> Manifest:
    """The manifest of the newest generation that ended."""
    files = context.files(job.id)
    for generation in range(job.generation, 0, -1):
        found = await asyncio.to_thread(read_manifest, files, generation)
        if found is not None and (generation < job.generation or job.state.is_terminal):
            return found
    raise NotFound(
        f"job {job.id} is {job.state} and has no results yet",
        hint=f"nightkiln jobs results {job.id} --partial gives the rows committed so far",
    )


def _pieces(
    files: JobFiles,
    manifest: Manifest | None,
    known: Sequence[Chunk],
    *,
    skip: bool = False,
    answers: Callable[[pa.Table], pa.Table] | None = None,
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Inputs and answers of every chunk, aligned row by row; `skip` leaves bad rows out."""
    paths = _paths(files, manifest, known)
    implied = None if manifest is None else _IMPLIED.get(JobState(manifest.outcome))
    reader = InputReader(files)
    with contextlib.closing(reader):
        for chunk in known:
            path = paths.get(chunk.number)
            part = None if path is None else read_part(path)
            whole = completed(part, first_row=chunk.first_row, rows=chunk.rows, implied=implied)
            given, found = reader.read(chunk), (answers or answers_of)(whole)
            if skip and given.bad:
                keep = pa.array([index not in given.bad for index in range(chunk.rows)])
                yield given.rows.filter(keep), found.filter(keep)
            else:
                yield given.rows, found


def _paths(files: JobFiles, manifest: Manifest | None, known: Sequence[Chunk]) -> dict[int, Path]:
    """Where each chunk's answers are: published, or without a manifest in its real part."""
    if manifest is not None:
        folder = files.published(manifest.generation)
        return {file.chunk: folder / file.name for file in manifest.files}
    return {
        chunk.number: files.part(chunk.number, chunk.committed_epoch)
        for chunk in known
        if chunk.committed_epoch is not None
    }


def answers_of(part: pa.Table) -> pa.Table:
    """The output columns of a part; of the attempts only how many they were."""
    tried = pc.list_value_length(part.column("attempts"))
    columns = [tried if name == "attempts" else part.column(name) for name in OUTPUT_COLUMNS]
    return pa.Table.from_arrays(columns, names=list(OUTPUT_COLUMNS))


def left_in(folder: Path) -> frozenset[str]:
    """The files that an earlier export left. Raises UsageError where others are among them."""
    earlier = manifest_in(folder)
    ours = frozenset(() if earlier is None else (file.name for file in earlier.files))
    if others := sorted({path.name for path in folder.glob("*.parquet")} - ours):
        raise UsageError(
            f"{folder} holds Parquet files that are not ours, {others[0]} among them",
            hint="name an empty folder, or one that a job was written to before",
        )
    return ours


def make_room(folder: Path) -> None:
    """Make room for a dataset: what an earlier export left may go, nothing else may."""
    for name in left_in(folder):
        (folder / name).unlink(missing_ok=True)


def _dataset(files: JobFiles, manifest: Manifest, output: str) -> None:
    """Give the published files names in a folder of the user's; nothing is written twice."""
    source, folder = files.published(manifest.generation), Path(output).expanduser()
    with disk_errors(f"writing {folder}"):
        make_dir(folder)
        make_room(folder)
        for file in manifest.files:
            link(source / file.name, folder / file.name)
        shutil.copyfile(source / MANIFEST, folder / MANIFEST)
        fsync_dir(folder)
