"""What a submission would do, without doing it."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from nightkiln.backends.base import PromptBackend
from nightkiln.backends.spoken import encoder_of
from nightkiln.core.errors import InputError
from nightkiln.core.events import Planned
from nightkiln.core.job import JobSpec, SourceSpec
from nightkiln.core.request import Prompt
from nightkiln.service import badrows, submit
from nightkiln.service.context import Context
from nightkiln.service.ingest import check_names, checked
from nightkiln.service.orders import Order
from nightkiln.service.results import check_output
from nightkiln.tables.badrows import good_rows, told
from nightkiln.tables.base import BadRow, Block, Place
from nightkiln.tables.columns import check_collisions
from nightkiln.tables.csv_in import other_delimiter
from nightkiln.tables.formats import open_reader
from nightkiln.tables.prompts import Renderer
from nightkiln.tables.schema import fields_of
from nightkiln.vault.segments import as_table

SAMPLE_CHARACTERS: Final = 500
_READ_ROWS: Final = 1000
_DOUBTED_ROWS: Final = 20


async def plan(
    context: Context,
    order: Order,
    spec: JobSpec,
    backend: PromptBackend,
    *,
    slots: int,
    why: str = "",
) -> Planned:
    """Check everything that can be checked, and say what would happen.

    Raises UsageError and InputError for what `run` would refuse.
    """
    source = spec.source
    check_results(order, source)
    encode = encoder_of(backend, spec)
    read = await asyncio.to_thread(_read, spec)
    encode(read.prompt)
    found = None if order.new else await submit.find(context, spec)
    known = found if submit.serves(found, new=order.new, again=order.again) else None
    return Planned(
        input_name=source.name,
        format=source.kind,
        rows=read.rows,
        bad=read.bad,
        bad_rows=tuple(map(told, read.first_bad)),
        columns=read.columns,
        model=spec.model,
        backend=backend.name,
        why=why,
        concurrency=slots,
        opening=submit.opening_of(known),
        job=None if known is None else known.id,
        reused=0 if known is None else known.totals.ok,
        prompt_sample=_sample(read.prompt),
        output=order.output,
        notices=await doubts(source),
    )


def check_results(order: Order, source: SourceSpec) -> None:
    """Refuse an output that could not be written. Raises UsageError."""
    if order.output is not None:
        check_output(
            order.output,
            order.output_format,
            source=source.kind,
            source_path=source.path,
            excel_safe=order.excel_safe,
        )


async def check_head(spec: JobSpec, *, reserved: Sequence[str] = ()) -> None:
    """Refuse what the first rows already show, so that no job is made for a typo.

    `reserved` are columns that a face adds. Raises UsageError and InputError.
    """
    await asyncio.to_thread(_check_head, spec, reserved)


async def doubts(source: SourceSpec) -> tuple[str, ...]:
    """What the first rows of a source let one doubt, in words; it is read as it was said.

    Raises InputError.
    """
    return await asyncio.to_thread(_doubts, source)


def _doubts(source: SourceSpec) -> tuple[str, ...]:
    if source.kind != "csv":
        return ()
    head = next(open_reader(source).blocks(Place(), rows=_DOUBTED_ROWS), None)
    found = None if head is None else other_delimiter(head)
    if found is None:
        return ()
    shown = "'\\t'" if found == "\t" else f"'{found}'"
    separated = "tabs" if found == "\t" else shown
    return (f"{source.name} seems to be separated by {separated}: --delimiter {shown} reads it so",)


async def head_columns(source: SourceSpec) -> tuple[str, ...]:
    """The columns that the first rows of a source show. Raises InputError."""
    blocks = open_reader(source).blocks(Place(), rows=_READ_ROWS)
    head = await asyncio.to_thread(next, blocks, None)
    if head is None:
        raise _empty(source)
    return head.end.columns


def _check_head(spec: JobSpec, reserved: Sequence[str]) -> None:
    if spec.prompt.jinja is None:
        head = next(checked(spec, Place()), None)
    else:  # a template may be slow, and here nobody could stop it: its rows wait for the ingest
        head = next(open_reader(spec.source).blocks(Place(), rows=_READ_ROWS), None)
    if head is None:
        raise _empty(spec.source)
    if spec.prompt.jinja is not None and len(head.bad) < head.rows.num_rows:
        check_names(head.end.columns, spec)
        Renderer(spec.prompt, head.end.columns, spec.source.kind)
    check_collisions(head.end.columns, fields_of(spec), added=reserved)


def _empty(source: SourceSpec) -> InputError:
    return InputError(f"{source.name} has no rows", hint="give a table with at least one row")


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What reading every row tells."""

    columns: tuple[str, ...]
    rows: int
    bad: int
    first_bad: tuple[BadRow, ...]
    prompt: Prompt  # of the first good row


def _read(spec: JobSpec) -> _Known:
    """Read every row as the ingest would, but for ids that repeat."""
    prompt: Prompt | None = None
    source, end, bad = spec.source, Place(), 0
    first_bad: tuple[BadRow, ...] = ()
    for block in checked(spec, Place()):
        if prompt is None and len(block.bad) < block.rows.num_rows:
            prompt = _first_prompt(spec, block)
        bad += len(block.bad)
        first_bad = (*first_bad, *block.bad)[: badrows.SHOWN]
        end = block.end
    if not end.row:
        raise _empty(source)
    if prompt is None or (bad and source.on_bad_row == "fail"):
        raise badrows.refusal(spec, first_bad, bad, end.row)
    check_names(end.columns, spec)
    Renderer(spec.prompt, end.columns, source.kind)
    return _Known(columns=end.columns, rows=end.row, bad=bad, first_bad=first_bad, prompt=prompt)


def _first_prompt(spec: JobSpec, block: Block) -> Prompt:
    """The prompt of the first good row of a block that has one."""
    renderer = Renderer(spec.prompt, block.end.columns, spec.source.kind)
    return renderer.prompts(as_table(good_rows(block).slice(0, 1)))[0]


def _sample(prompt: Prompt) -> str:
    text = prompt if isinstance(prompt, str) else bytes(prompt).decode()
    if len(text) <= SAMPLE_CHARACTERS:
        return text
    return text[: SAMPLE_CHARACTERS - 1] + "…"
