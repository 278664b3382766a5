"""What finished jobs of a model have to say about the next one: tokens per byte, answers, seconds.

Reads a bounded sample of their inputs and parts. A job whose files are gone or
damaged says nothing. Nothing is asked of any backend.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
import pyarrow.parquet as pq

from nightkiln.core.chunk import Chunk
from nightkiln.core.errors import DamagedError
from nightkiln.core.fault import Fault
from nightkiln.core.job import Job, JobSpec, PromptSpec, SourceSpec
from nightkiln.core.request import Prompt
from nightkiln.plan.estimate import Seen
from nightkiln.service.context import Context
from nightkiln.store import chunks, jobs
from nightkiln.tables.prompts import Renderer
from nightkiln.vault.durable import whole
from nightkiln.vault.home import JobFiles
from nightkiln.vault.segments import ChunkInput, InputReader

_JOBS: Final = 3  # looked at, newest first
_CHUNKS: Final = 4  # of each
_ROWS: Final = 250  # of each of those
_COLUMNS: Final = ("row", "status", "input_tokens", "output_tokens", "latency_ms")


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    seen: tuple[Seen, ...] = ()
    where: str = ""  # in words: whose answers these are
    recorded: tuple[int, int] | None = None  # tokens in and out of a job over the same table
    recorded_rows: int = 0  # its rows, from the first one on


async def calibrate(context: Context, spec: JobSpec) -> Calibration:
    """Rows that the model of `spec` answered before; of the same prompt where there are any."""
    project = context.project
    found = await context.store.read(
        lambda tx: jobs.ended_with(tx, project=project, model=spec.model, limit=20)
    )
    same = [job for job in found if _asks_the_same(job.spec, spec)]
    twins = [job for job in same if _same_table(job.spec.source, spec.source)]
    used = (twins or same or found)[:_JOBS]
    seen: list[Seen] = []
    for job in used:
        known = await context.store.read(partial(chunks.committed, job=job.id))
        with contextlib.suppress(DamagedError):
            seen += await asyncio.to_thread(_rows_of, context.files(job.id), job, known)
    if not seen:
        return Calibration()
    names = ", ".join(job.id for job in used)
    which = "the same prompt" if same else "another prompt"
    table = " over the same table" if twins else ""
    where = f"earlier jobs with {which}{table} ({names})"
    whole = next((job for job in twins if _tells_all(job, spec)), None)
    if whole is None:
        return Calibration(seen=tuple(seen), where=where)
    return Calibration(
        seen=tuple(seen),
        where=f"job {whole.id}, with the same prompt",
        recorded=(whole.totals.input_tokens, whole.totals.output_tokens),
        recorded_rows=whole.rows,
    )


def _same_table(one: SourceSpec, other: SourceSpec) -> bool:
    """True for the same bytes read the same way, however many of their rows."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("sha256", "kind", "sheet", "delimiter", "encoding")
    )


def _tells_all(job: Job, spec: JobSpec) -> bool:
    """True when every row was asked, with this sampling, and what it took is on record."""
    asked = job.totals.ok == job.rows and not job.totals.reused and not job.totals.truncated
    return asked and job.spec.sampling == spec.sampling and bool(job.totals.input_tokens)


def _asks_the_same(one: JobSpec, other: JobSpec) -> bool:
    return one.prompt == other.prompt and one.output_schema == other.output_schema


def _rows_of(files: JobFiles, job: Job, known: Sequence[Chunk]) -> list[Seen]:
    """Some answered rows from some chunks, evenly over the job. Raises DamagedError."""
    step = max(1, len(known) // _CHUNKS)
    renderer = Renderer(job.spec.prompt, job.columns, job.spec.source.kind)
    found: list[Seen] = []
    with contextlib.closing(InputReader(files)) as reader:
        for chunk in known[::step][:_CHUNKS]:
            assert chunk.committed_epoch is not None
            prompts = _prompts(renderer, reader.read(chunk))
            path = files.part(chunk.number, chunk.committed_epoch)
            with whole(path):
                part = pq.read_table(
                    path, columns=list(_COLUMNS), use_threads=False, partitioning=None
                )
            for row, status, given, said, latency in zip(
                *(part.column(name).to_pylist() for name in _COLUMNS), strict=True
            ):
                prompt = prompts.get(row - chunk.first_row)
                if status == "ok" and prompt is not None and given:
                    found.append(
                        Seen(
                            prompt_bytes=prompt_bytes(prompt, job.spec.prompt),
                            input_tokens=given,
                            output_tokens=said or 0,
                            latency_s=(latency or 0.0) / 1000,
                        )
                    )
    return found


def _prompts(renderer: Renderer, given: ChunkInput) -> dict[int, Prompt]:
    """The first prompts of a chunk by their place in it, without those that there are none of."""
    good = [at for at in range(min(given.rows.num_rows, _ROWS)) if at not in given.bad]
    made = zip(good, renderer.rendered(given.rows.take(good)), strict=True)
    return {at: one for at, one in made if not isinstance(one, Fault)}


def prompt_bytes(prompt: Prompt, asked: PromptSpec) -> int:
    """The size of what a model reads for a row, its system message included."""
    size = len(prompt.encode()) if isinstance(prompt, str) else len(bytes(prompt))
    return size + len((asked.system or "").encode())
