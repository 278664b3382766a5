"""A job of some rows, accepted and read, in a home of its own."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from nightkiln.core.job import Job, PromptSpec
from nightkiln.service import moves, submit
from nightkiln.service.context import Context
from nightkiln.service.ingest import ingest
from nightkiln.service.orders import Order

MakeJob: TypeAlias = Callable[[int], Awaitable[Job]]


@pytest.fixture
def job_of(context: Context, tmp_path: Path) -> MakeJob:
    """Makes a job of so many rows."""

    async def make(rows: int) -> Job:
        path = tmp_path / "in.txt"
        path.write_text("".join(f"row {row}\n" for row in range(rows)))
        order = Order(
            input=str(path), output=None, prompt=PromptSpec(), model="m", endpoint="http://x"
        )
        source = await submit.source_of(context, order)
        spec = submit.spec_of(order, source, model="m")
        made, _ = await submit.accept(context, spec, new=False)
        done = ingest(made, context.files(made.id), on_rows=lambda _: None, stop=lambda: False)
        return await moves.validated(context, made.id, done)

    return make
