"""What is asked counts as somebody's use, and nobody's use goes past the caps of their key.

A job counts as use of the key that submitted it, or that had it go on or asked its
rows again since (`jobs.key_id`). Its rows are counted before the first of them is
asked, in the transaction that lets them be asked: at submission as far as they are
known by then, exactly once the input has been read, and again for the answered rows
that a retry opens. So however many jobs come at once, the caps of rows hold. Tokens
and money are known only after the answers: those caps are a fence before new work,
and work that is under way may go past them.

Who runs jobs on this machine without a key is the owner of the home, and counts as
nobody. Nothing here looks at what a key may see or do.
"""

from nightkiln.core.access import ApiKey, KeyId
from nightkiln.core.errors import QuotaError
from nightkiln.core.job import Job, JobState, Wanted
from nightkiln.core.usage import NANOS_PER_USD
from nightkiln.store import jobs, keys, keyuses
from nightkiln.store.tx import Tx


async def submitted(tx: Tx, job: Job, *, rows: int) -> None:
    """Count a new job, whose rows are `rows` as far as is known yet. Raises QuotaError."""
    if not job.spec.label.key:
        return
    key = KeyId(job.spec.label.key)
    await _charge(tx, key, job, rows=rows, more=True)


async def rows_read(tx: Tx, job: Job, *, rows: int) -> None:
    """Count the rows of a job exactly, now that they have been read. Raises QuotaError."""
    key = await jobs.key_of(tx, job.id)
    if key is not None:
        await _charge(tx, key, job, rows=rows)


async def asked_again(tx: Tx, before: Job, opened: Job, *, by: KeyId | None) -> None:
    """Count the rows that a retry has opened as use of whoever retries. Raises QuotaError.

    Rows without any answer have been counted when they were opened first; for
    another key they count as well.
    """
    payer = await jobs.key_of(tx, opened.id)
    await jobs.set_key(tx, opened.id, by)
    if by is None:
        return
    first = before.totals.answered if by == payer else opened.rows
    again = max(0, first - opened.totals.answered)
    await _charge(tx, by, opened, rows=again, more=not opened.rows)


async def goes_on(tx: Tx, job: Job, *, by: KeyId | None) -> None:
    """Count what is left of a job that rests as use of whoever lets it go on.

    Whose use it is already pays for no row twice. Raises QuotaError.
    """
    if by is None:
        return
    payer = await jobs.key_of(tx, job.id)
    rests = job.state is JobState.PAUSED or job.wanted is Wanted.PAUSE
    if by == payer or not rests:
        key = await keys.find(tx, by)
        if key is not None:
            await _check(tx, key, rows=0)
        return
    if payer is not None and not job.rows:  # nothing of it has been asked
        await keyuses.put_rows(tx, payer, job.id, job.generation, rows=0)
    await jobs.set_key(tx, job.id, by)
    left = max(0, job.rows - job.totals.answered)
    await _charge(tx, by, job, rows=left, more=not job.rows)


async def _charge(tx: Tx, key: KeyId, job: Job, *, rows: int, more: bool = False) -> None:
    """Let a generation of a job count as so many rows of a key."""
    known = await keys.find(tx, key)
    if known is not None:
        counted = await keyuses.rows_of(tx, key, job.id, job.generation)
        await _check(tx, known, rows=rows - counted, more=more)
    await keyuses.put_rows(tx, key, job.id, job.generation, rows=rows)


async def _check(tx: Tx, key: ApiKey, *, rows: int, more: bool = False) -> None:
    """Raise QuotaError where so many rows are past the caps; with `more`, where any would be."""
    caps = key.caps
    if caps.rows is None and caps.tokens is None and caps.cost_usd is None:
        return
    used = await keyuses.used(tx, key.id)
    if caps.rows is not None:
        past = used.rows >= caps.rows if more and rows <= 0 else used.rows + rows > caps.rows
        if past:
            raise _reached(key, f"{caps.rows:,} rows, {used.rows:,} used and {rows:,} wanted")
    if caps.tokens is not None and used.tokens >= caps.tokens:
        raise _reached(key, f"{caps.tokens:,} tokens")
    if caps.cost_usd is not None and used.cost_nanos >= caps.cost_usd * NANOS_PER_USD:
        raise _reached(key, f"money, ${caps.cost_usd:g}")


def _reached(key: ApiKey, what: str) -> QuotaError:
    return QuotaError(
        f"the key {key.start}… has reached its cap of {what}",
        hint="a key with a higher cap can submit this",
    )
