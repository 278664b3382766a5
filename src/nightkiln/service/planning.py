"""What a submission would do, without doing it."""

import asyncio
from typing import Final

from nightkiln.backends.base import PromptBackend
from nightkiln.core.errors import InputError
from nightkiln.core.events import Planned
from nightkiln.core.job import JobSpec, SourceSpec
from nightkiln.core.request import Prompt
from nightkiln.service import submit
from nightkiln.service.context import Context
from nightkiln.service.orders import Order
from nightkiln.service.results import check_output
from nightkiln.tables.base import Place
from nightkiln.tables.columns import check_collisions
from nightkiln.tables.formats import open_reader
from nightkiln.tables.prompts import Renderer
from nightkiln.tables.schema import fields_of
from nightkiln.vault.segments import as_table

SAMPLE_CHARACTERS: Final = 500
_READ_ROWS: Final = 1000


async def plan(
    context: Context, order: Order, spec: JobSpec, backend: PromptBackend, *, slots: int
) -> Planned:
    """Check everything that can be checked, and say what would happen.

    Raises UsageError and InputError for what `run` would refuse.
    """
    source = spec.source
    if order.output is not None:
        check_output(order.output, order.output_format, source=source.kind, source_path=source.path)
    encode = backend.encoder(spec)
    rows, columns, first = await asyncio.to_thread(_read, spec)
    encode(first)
    known = None if order.new else await submit.find(context, spec)
    return Planned(
        input_name=source.name,
        format=source.kind,
        rows=rows,
        columns=columns,
        model=spec.model,
        backend=backend.name,
        concurrency=slots,
        opening=submit.opening_of(known),
        job=None if known is None else known.id,
        reused=0 if known is None else known.totals.ok,
        prompt_sample=_sample(first),
        output=order.output,
    )


async def check_head(spec: JobSpec) -> None:
    """Refuse what the first rows already show, so that no job is made for a typo.

    Raises UsageError and InputError.
    """
    await asyncio.to_thread(_check_head, spec)


def _check_head(spec: JobSpec) -> None:
    head = next(open_reader(spec.source).blocks(Place(), rows=_READ_ROWS), None)
    if head is None:
        raise _empty(spec.source)
    check_collisions(head.end.columns, fields_of(spec))
    renderer = Renderer(spec.prompt, head.end.columns, spec.source.kind)
    renderer.require(head.rows, head.lines[0], starts=head.starts)


def _empty(source: SourceSpec) -> InputError:
    return InputError(f"{source.name} has no rows", hint="give a table with at least one row")


def _read(spec: JobSpec) -> tuple[int, tuple[str, ...], Prompt]:
    """Read every row as the ingest would; the count, the columns and the first prompt."""
    first: Prompt | None = None
    renderer: Renderer | None = None
    source, fields, end = spec.source, fields_of(spec), Place()
    for block in open_reader(source).blocks(Place(), rows=_READ_ROWS):
        if renderer is None:
            check_collisions(block.end.columns, fields)
            renderer = Renderer(spec.prompt, block.end.columns, source.kind)
            first = renderer.prompts(as_table(block.rows))[0]
        renderer.require(block.rows, block.lines[0], starts=block.starts)
        end = block.end
    if first is None:
        raise _empty(source)
    check_collisions(end.columns, fields)
    Renderer(spec.prompt, end.columns, source.kind)
    return end.row, end.columns, first


def _sample(prompt: Prompt) -> str:
    text = prompt if isinstance(prompt, str) else bytes(prompt).decode()
    if len(text) <= SAMPLE_CHARACTERS:
        return text
    return text[: SAMPLE_CHARACTERS - 1] + "…"
