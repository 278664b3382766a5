"""Jobs that are over and old enough to go. What they spent stays in the ledger."""

import asyncio
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import msgspec

from nightkiln.core.errors import HomeBusy, NotFound, UsageError
from nightkiln.core.ids import JobId
from nightkiln.core.job import TERMINAL, JobState
from nightkiln.service.context import Context
from nightkiln.store import jobs

AT_ONCE: Final = 1000  # jobs of one call; what is older goes first
_SPANS: Final = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


class OldJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that may go."""

    job: JobId
    state: str
    ended_at: float
    rows: int
    size_bytes: int  # of its files on this disk


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the old jobs."""

    deleted: tuple[OldJob, ...]
    kept: tuple[OldJob, ...]  # some process still works with them


def age_of(text: str) -> float:
    """`30d`, `12h`, `90m` or `2w` in seconds. Raises UsageError."""
    number, unit = text.strip()[:-1], text.strip()[-1:]
    if unit in _SPANS and number.isdecimal():
        return int(number) * _SPANS[unit]
    raise UsageError(f"--older-than cannot be {text!r}", hint="write it as 30d, 12h, 90m or 2w")


def states_of(text: str | None) -> frozenset[JobState]:
    """Terminal states by name with commas between; all of them for None. Raises UsageError."""
    if text is None:
        return TERMINAL
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {str(state): state for state in TERMINAL}
    for name in names:
        if name not in known:
            raise UsageError(
                f"--state: {name!r} is no state of a job that is over",
                hint=f"there are: {', '.join(sorted(known))}",
            )
    return frozenset(known[name] for name in names)


async def old_jobs(
    context: Context, *, states: AbstractSet[JobState], older_than_s: float
) -> list[OldJob]:
    """The jobs that ended so in this long, oldest first."""
    before = context.clock() - older_than_s
    found = await context.store.read(
        lambda tx: jobs.ended_before(
            tx, project=context.project, states=states, before=before, limit=AT_ONCE
        )
    )
    sizes = await asyncio.to_thread(lambda: [_size(context.files(one.id).root) for one in found])
    return [
        OldJob(
            job=one.id,
            state=str(one.state),
            ended_at=one.ended_at or 0.0,
            rows=one.rows,
            size_bytes=size,
        )
        for one, size in zip(found, sizes, strict=True)
    ]


async def clean(delete: Callable[[str], Awaitable[None]], old: list[OldJob]) -> Cleaned:
    """Delete these jobs, here or at a server. One that is in use is kept and told; others go."""
    deleted, kept = [], []
    for one in old:
        try:
            await delete(one.job)
        except HomeBusy:
            kept.append(one)
        except NotFound:
            continue  # somebody else was quicker
        else:
            deleted.append(one)
    return Cleaned(deleted=tuple(deleted), kept=tuple(kept))


def _size(folder: Path) -> int:
    """The bytes of a folder's files, each file once whatever names it has."""
    sizes = {}
    for path in folder.rglob("*"):
        if path.is_file():
            known = path.stat()
            sizes[known.st_ino] = known.st_size
    return sum(sizes.values())
