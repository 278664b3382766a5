"""Accepts and ingests one table in a fresh home; says what that cost as JSON."""

import asyncio
import json
import sys
import time
from pathlib import Path

from nightkiln.core.job import PromptSpec
from nightkiln.service import moves, submit
from nightkiln.service.context import Context
from nightkiln.service.ingest import ingest
from nightkiln.service.orders import Order
from nightkiln.store.database import Database
from nightkiln.vault.home import Home


async def main(source: str, root: Path) -> None:
    """Everything from the submission to the job being queued is inside the measure."""
    home = Home(root)
    home.hold()
    store = await Database.open(home.database)
    context = Context(store, home)
    order = Order(
        input=source,
        output=None,
        prompt=PromptSpec(columns=("text",)),
        model="stub",
        endpoint="http://127.0.0.1:1/v1",
        id_column="custom_id",
    )
    cpu, wall = time.process_time(), time.monotonic()
    spec = submit.spec_of(order, await submit.source_of(context, order), model="m")
    job, _ = await submit.accept(context, spec, new=False)
    ingested = await asyncio.to_thread(
        ingest, job, context.files(job.id), on_rows=lambda _: None, stop=lambda: False
    )
    job = await moves.validated(context, job.id, ingested)
    print(
        json.dumps(
            {
                "rows": job.rows,
                "cpu_s": time.process_time() - cpu,
                "wall_s": time.monotonic() - wall,
            }
        )
    )
    await store.aclose()
    home.release()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
