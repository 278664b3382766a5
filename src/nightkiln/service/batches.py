"""Files of OpenAI's batch lines: recognised at submission, written back as OpenAI does.

The lines say themselves what is asked of which model, so an order says little
about them. Results are two files: replies, and failures beside them.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from nightkiln.core.errors import UsageError
from nightkiln.core.job import Job, SourceSpec, Task
from nightkiln.service.orders import Order
from nightkiln.service.outputs import STDOUT, is_stream, opened
from nightkiln.tables import batch_in
from nightkiln.tables.batch_in import BATCH
from nightkiln.tables.batch_out import BatchWriter
from nightkiln.tables.formats import compression_of
from nightkiln.tables.streams_out import compressing
from nightkiln.vault.durable import replacing

JSONL: Final = ".jsonl"


async def recognised(source: SourceSpec, order: Order) -> SourceSpec:
    """The source, as a batch if it is one or the order says so. Raises UsageError, InputError."""
    said = source.kind == BATCH
    if order.input_format is not None and not said:
        return source
    return await asyncio.to_thread(batch_in.recognised, source, said=said)


def check_batch_order(order: Order) -> None:
    """Refuse what the bodies of a batch say themselves."""
    prompt = order.prompt
    given = {
        "--column": prompt.columns,
        "--prompt": prompt.template,
        "--template": prompt.jinja,
        "--messages": prompt.messages_column,
        "--system": prompt.system,
        "--seed": order.sampling.seed,
        "--param": order.sampling.extra,
        "--schema": order.output_schema,
        "--task": order.task is not Task.CHAT,
    }
    for flag, value in given.items():
        if value not in (None, (), {}, False):
            raise UsageError(
                f"{flag} is not for a file of batch lines: their bodies are sent as they are",
                hint=f"leave out {flag}, or read the file as a table with --format jsonl",
            )


def writes_lines(output: str, explicit: str | None, *, source: str) -> bool:
    """True when an output gets batch lines, as it does unless a table is asked for.

    Raises UsageError for batch lines of rows that came as a table.
    """
    if explicit == BATCH and source != BATCH:
        raise UsageError(
            "--output-format batch is for files of batch lines",
            hint="leave it out, and the name of the output tells its format",
        )
    if source != BATCH or explicit not in (None, BATCH):
        return False
    if output.endswith(os.sep) or Path(output).expanduser().is_dir():
        return False
    return explicit == BATCH or output == STDOUT or _plain(output).lower().endswith(JSONL)


def failures_beside(output: Path) -> Path:
    """Where the failures of an output go: `out.jsonl` has `out.errors.jsonl` beside it."""
    plain = _plain(output.name)
    compressed = output.name[len(plain) :]
    stem = plain[: -len(JSONL)] if plain.lower().endswith(JSONL) else plain
    return output.with_name(f"{stem}.errors{JSONL}{compressed}")


def _plain(name: str) -> str:
    """A name without the ending of a compression."""
    return name if compression_of(name) is None else name[: name.rindex(".")]


def write_lines(job: Job, output: str, pieces: Iterator[tuple[pa.Table, pa.Table]]) -> int:
    """Write replies to the output and failures beside it; the number of lines. Blocking.

    Each file appears whole or not at all. Without failures there is no file of
    them, and one of an earlier export is emptied. Standard output, a pipe or a
    device gets both, in the order of the input. Raises DiskError.
    """
    writer = BatchWriter(job.id, job.spec.task)
    if is_stream(output):
        with opened(output) as out:
            return writer.write(out, out, pieces).lines
    path = Path(output).expanduser().absolute()
    compression, beside = compression_of(path.name), failures_beside(path)
    with opened(output) as file, tempfile.TemporaryFile(dir=path.parent) as failures:
        with compressing(file, compression) as out:
            written = writer.write(out, failures, pieces)
        if written.failures or beside.exists():
            failures.seek(0)
            with replacing(beside) as other, compressing(other, compression) as out:
                shutil.copyfileobj(failures, out)
    return written.lines
