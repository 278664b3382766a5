"""How a run ended, in numbers and one sample per kind of row error."""

import asyncio
from typing import Final

import msgspec
import pyarrow.parquet as pq

from nightkiln.core.events import BackendShare, Ended, FaultSample
from nightkiln.core.explain import FAULTS
from nightkiln.core.fault import FaultClass
from nightkiln.core.job import Job
from nightkiln.core.usage import NANOS_PER_USD
from nightkiln.service import badrows
from nightkiln.service.context import Context
from nightkiln.service.shares import shares_of
from nightkiln.tables.badrows import BAD_ROW
from nightkiln.vault.home import JobFiles
from nightkiln.vault.parts import IMPLIED
from nightkiln.vault.publish import read_manifest

_SHORT_S: Final = 0.001


class RunFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did of a job."""

    reused: int  # rows this run did not ask: answered before, or by an identical request's answer
    elapsed_s: float
    rows: int  # answered by this run
    tokens: int
    not_asked: int = 0  # bad rows among those this run met
    backends: int = 1  # that this run asked


async def summarise(
    context: Context, job: Job, figures: RunFigures, *, output: str | None
) -> Ended:
    """The end of a run."""
    over = max(figures.elapsed_s, _SHORT_S)
    samples: tuple[FaultSample, ...] = ()
    bad = await asyncio.to_thread(badrows.count, context.files(job.id))
    skipped = min(bad, job.totals.failed) if job.spec.source.on_bad_row == "skip" else 0
    if job.state.is_terminal and job.totals.failed > skipped:
        samples = await asyncio.to_thread(_samples, context.files(job.id), job, skipped)
    shares: tuple[BackendShare, ...] = ()
    if figures.backends > 1:
        shares = await asyncio.to_thread(shares_of, context.files(job.id), job)
    not_asked = bad if job.state.is_terminal else figures.not_asked
    return Ended(
        job=job.id,
        state=job.state,
        reason=job.reason,
        rows=job.rows,
        reused=max(0, figures.reused - not_asked),
        totals=job.totals,
        spent=job.spent,
        elapsed_s=figures.elapsed_s,
        rows_per_s=figures.rows / over,
        tokens_per_s=figures.tokens / over,
        cost_usd=cost_usd_of(job),
        faults=samples,
        output=output,
        bad=bad,
        skipped=skipped,
        shares=shares,
    )


def cost_usd_of(job: Job) -> float | None:
    """What all generations cost so far; None when no answer has a price."""
    if job.spent.unpriced and not job.spent.cost_nanos:
        return None
    return job.spent.cost_nanos / NANOS_PER_USD


def _fix(kind: str, message: str) -> str:
    """What helps; a row that was never asked is no matter of the backend's limits."""
    if message.startswith(BAD_ROW):
        return "mend these rows in the input; --bad-rows FILE writes all of them"
    return FAULTS[FaultClass(kind)].fix


def _samples(files: JobFiles, job: Job, skipped: int) -> tuple[FaultSample, ...]:
    """One published row per fault class, the most frequent class first; none that is skipped."""
    wanted = dict(job.totals.faults)
    if skipped:
        wanted[FaultClass.PERMANENT] = wanted.get(FaultClass.PERMANENT, 0) - skipped
    wanted = {kind: count for kind, count in wanted.items() if count > 0}
    found: dict[str, tuple[int, str]] = {}
    manifest = read_manifest(files, job.generation)
    for file in () if manifest is None else manifest.files:
        if len(found) == len(wanted):
            break
        part = pq.read_table(
            files.published(job.generation) / file.name,
            columns=["row", "fault", "fault_message"],
            use_threads=False,
            partitioning=None,
        )
        for entry in part.filter(part.column("fault").is_valid()).to_pylist():
            if skipped and (entry["fault_message"] or "").startswith(BAD_ROW):
                continue
            found.setdefault(entry["fault"], (entry["row"], entry["fault_message"] or ""))
    return tuple(
        FaultSample(
            fault=kind,
            count=count,
            row=found.get(kind, (-1, ""))[0],
            message=found.get(kind, (-1, IMPLIED.get(FaultClass(kind), "")))[1],
            fix=_fix(kind, found.get(kind, (-1, ""))[1]),
        )
        for kind, count in sorted(wanted.items(), key=lambda item: -item[1])
    )
