"""Keeps the answers of a job that ends before all its rows have one.

Every chunk with a journal gets a part of what is there, and the spending is
booked. A chunk that a retry opened gets a new part too, without the faults that
the retry took back, so that what is published and what is counted agree.
Nothing is asked of any backend.
"""

from collections.abc import Iterable

from nightkiln.core.answer import Attempt
from nightkiln.dispatch.tally import Tally
from nightkiln.worker.base import Desk
from nightkiln.worker.forms import NEVER_ASKED
from nightkiln.worker.window import Window

_AT_ONCE = 8


async def keep_answers(desk: Desk) -> None:
    """Seal and commit every open chunk that has a file. Raises DiskError; safe to repeat."""
    found = [*desk.files.journal.glob("*.log"), *desk.files.parts.glob("*.parquet")]
    numbers = sorted({int(path.name.split(".")[0]) for path in found})
    window = Window(desk, form=NEVER_ASKED, tally=Tally(desk.job.totals))
    try:
        while numbers and (opened := await window.lease_more(_AT_ONCE, among=numbers)):
            for chunk in opened:
                await window.seal(chunk, backend=_last_backend(chunk.all_attempts()))
    finally:
        await window.aclose()


def _last_backend(attempts: Iterable[Attempt]) -> str:
    """Whom the spending is booked on."""
    name = ""
    for attempt in attempts:
        name = attempt.backend
    return name
