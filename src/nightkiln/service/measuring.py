"""The prompts of a whole table, measured without making a job: rows, bytes, and a sample."""

import asyncio
from typing import Final

import msgspec

from nightkiln.core.errors import InputError
from nightkiln.core.fault import Fault
from nightkiln.core.job import JobSpec
from nightkiln.core.request import Prompt
from nightkiln.service.calibration import prompt_bytes
from nightkiln.service.ingest import checked
from nightkiln.service.sampling import Reservoir
from nightkiln.tables.badrows import good_rows
from nightkiln.tables.base import Place
from nightkiln.tables.prompts import Renderer
from nightkiln.vault.segments import as_table

SAMPLE: Final = 1000


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a table asks."""

    rows: int
    bad: int  # of the rows: they will not be asked
    prompt_bytes: int
    sample: tuple[Prompt, ...]  # by equal chance; all prompts of a table with so few


async def measure(spec: JobSpec) -> Measured:
    """Read every row as the ingest would. Raises UsageError and InputError as `run` does."""
    return await asyncio.to_thread(_measure, spec)


def _measure(spec: JobSpec) -> Measured:
    source, size, rows, asked_rows = spec.source, 0, 0, 0
    renderer: Renderer | None = None
    sample: Reservoir[Prompt] = Reservoir(SAMPLE, seed=source.sha256)
    for block in checked(spec, Place()):
        rows = block.end.row
        asked = good_rows(block)
        if renderer is None and asked.num_rows:
            renderer = Renderer(spec.prompt, block.end.columns, source.kind)
        for prompt in () if renderer is None else renderer.rendered(as_table(asked)):
            if not isinstance(prompt, Fault):
                asked_rows += 1
                size += prompt_bytes(prompt, spec.prompt)
                sample.show(prompt)
    if not rows:
        raise InputError(f"{source.name} has no rows", hint="give a table with at least one row")
    return Measured(rows=rows, bad=rows - asked_rows, prompt_bytes=size, sample=tuple(sample.kept))
