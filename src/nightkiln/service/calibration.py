"""What finished jobs of a model have to say about the next one: tokens per byte, answers, seconds.

Reads a bounded sample of their inputs and parts. A job whose files are gone or
damaged says nothing. Nothing is asked of any backend.
"""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
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
_SHORTEST_MS: Final = 0.5  # of a latency: they are kept in whole milliseconds
_COLUMNS: Final = (
    "row",
    "status",
    "input_tokens",
    "output_tokens",
    "latency_ms",
    "backend",
)


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    seen: tuple[Seen, ...] = ()
    where: str = ""  # in words: whose answers these are
    recorded: tuple[int, int] | None = None  # tokens in and out of a job over the same table
    recorded_rows: int = 0  # its rows, from the first one on


async def calibrate(
    context: Context, spec: JobSpec, *, backends: Collection[str] = ()
) -> Calibration:
    """Rows that the model of `spec` answered before; of the same prompt where there are any.

    Seconds are only taken over from `backends`: what another place needed says nothing of these.
    """
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
            rows = await asyncio.to_thread(_rows_of, context.files(job.id), job, known)
            seen += [one if where in backends else _timeless(one) for one, where in rows]
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


def _timeless(one: Seen) -> Seen:
    return msgspec.structs.replace(one, latency_s=0.0)


def _rows_of(files: JobFiles, job: Job, known: Sequence[Chunk]) -> list[tuple[Seen, str | None]]:
    """Some answered rows from some chunks with who answered, evenly over the job.

    Raises DamagedError.
    """
    step = max(1, len(known) // _CHUNKS)
    renderer = Renderer(job.spec.prompt, job.columns, job.spec.source.kind)
    found: list[tuple[Seen, str | None]] = []
    with contextlib.closing(InputReader(files)) as reader:
        for chunk in known[::step][:_CHUNKS]:
            assert chunk.committed_epoch is not None
            prompts = _prompts(renderer, reader.read(chunk))
            path = files.part(chunk.number, chunk.committed_epoch)
            with whole(path):
                part = pq.read_table(
                    path, columns=list(_COLUMNS), use_threads=False, partitioning=None
                )
            for row, status, given, said, latency, backend in zip(
                *(part.column(name).to_pylist() for name in _COLUMNS), strict=True
            ):
                prompt = prompts.get(row - chunk.first_row)
                if status == "ok" and prompt is not None and given:
                    seen = Seen(
                        prompt_bytes=prompt_bytes(prompt, job.spec.prompt),
                        input_tokens=given,
                        output_tokens=said or 0,
                        latency_s=seconds_of(latency),
                    )
                    found.append((seen, backend))
    return found


def seconds_of(latency_ms: float | None) -> float:
    """A measured latency; 0 means that none is known, so what was rounded to 0 is half a ms."""
    return 0.0 if latency_ms is None else max(latency_ms, _SHORTEST_MS) / 1000


def _prompts(renderer: Renderer, given: ChunkInput) -> dict[int, Prompt]:
    """The first prompts of a chunk by their place in it, without those that there are none of."""
    good = [at for at in range(min(given.rows.num_rows, _ROWS)) if at not in given.bad]
    made = zip(good, renderer.rendered(given.rows.take(good)), strict=True)
    return {at: one for at, one in made if not isinstance(one, Fault)}


def prompt_bytes(prompt: Prompt, asked: PromptSpec) -> int:
    """The size of what a model reads for a row, its system message included."""
    size = len(prompt.encode()) if isinstance(prompt, str) else len(bytes(prompt))
    return size + len((asked.system or "").encode())
