"""Rows that a Jinja template could not render when their chunk was opened."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from nightkiln.core.chunk import Lease
from nightkiln.core.fault import FaultClass
from nightkiln.core.job import PromptSpec
from nightkiln.service import submit
from nightkiln.service.context import Context
from nightkiln.service.ingest import ingest
from nightkiln.service.orders import Order
from nightkiln.store.database import Database
from nightkiln.vault.home import Home
from nightkiln.worker.opening import Opener


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    home = Home(tmp_path / "home")
    home.hold()
    store = await Database.open(home.database)
    yield Context(store, home)
    await store.aclose()
    home.release()


async def test_a_row_that_fails_now_gets_a_fault_and_the_others_their_prompts(
    context: Context, tmp_path: Path
) -> None:
    """Such as for want of time on a busy machine: all of them could be rendered at ingest."""
    path = tmp_path / "in.csv"
    path.write_text("n\n" + "".join(f"{n}\n" for n in range(20)))
    fine = PromptSpec(jinja="{{ n }}")
    order = Order(input=str(path), output=None, prompt=fine, model="m", endpoint="http://x")
    source = await submit.source_of(context, order)
    job, _ = await submit.accept(context, submit.spec_of(order, source, model="m"), new=False)
    files = context.files(job.id)
    done = ingest(job, files, on_rows=lambda _: None, stop=lambda: False)

    later = PromptSpec(jinja="{{ 12 // (n|int - 3) }}")
    spec = msgspec.structs.replace(job.spec, prompt=later)
    opener = Opener(msgspec.structs.replace(job, spec=spec, columns=done.columns), files)
    leases = [Lease(chunk=chunk, run=context.new_run_id()) for chunk in done.chunks]
    opened = [opener.open(lease) for lease in leases]
    opener.close()

    prompts = {row: prompt for one in opened for row, prompt in one.prompts.items()}
    bad = {row: fault for one in opened for row, fault in one.bad.items()}
    assert sorted(prompts) == [n for n in range(20) if n != 3]
    assert prompts[9] == "2"
    assert (bad[3].kind, bad[3].code) == (FaultClass.PERMANENT, "template_failed")
    assert "line 1" in bad[3].message
    assert len(bad) == 1
