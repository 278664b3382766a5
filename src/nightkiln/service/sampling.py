"""Which rows stand for a table: chosen by chance, the same ones every time the same is asked."""

import random
from bisect import bisect_right
from itertools import accumulate
from typing import Final, Generic, TypeVar

from nightkiln.core.chunk import ChunkState
from nightkiln.core.job import Job
from nightkiln.service.context import Context
from nightkiln.store import chunks

MOST: Final = 1000  # rows of a trial: enough for any P90, and they fit on a screen's history
T = TypeVar("T")


async def choose_rows(context: Context, job: Job, count: int) -> dict[int, frozenset[int]]:
    """`count` rows over all chunks that are not finished, by the number of their chunk.

    None where no row would be left: to try them all is to run the job.
    """
    known = await context.store.read(lambda tx: chunks.all_chunks(tx, job.id))
    left = [chunk for chunk in known if chunk.state is not ChunkState.COMMITTED]
    ends = list(accumulate(chunk.rows for chunk in left))
    if not ends or count >= ends[-1]:
        return {}
    chosen: dict[int, set[int]] = {}
    for place in random.Random(job.idempotency_key).sample(range(ends[-1]), count):
        at = bisect_right(ends, place)
        chunk = left[at]
        row = chunk.first_row + place - (ends[at] - chunk.rows)
        chosen.setdefault(chunk.number, set()).add(row)
    return {number: frozenset(rows) for number, rows in chosen.items()}


class Reservoir(Generic[T]):
    """Keeps `count` of all items shown to it, each by equal chance, and nothing else."""

    def __init__(self, count: int, *, seed: str) -> None:
        self.kept: list[T] = []
        self.shown = 0
        self._count = count
        self._chance = random.Random(seed)

    def show(self, item: T) -> None:
        """Keep this one, perhaps, and perhaps drop another for it."""
        self.shown += 1
        if len(self.kept) < self._count:
            self.kept.append(item)
        elif (place := self._chance.randrange(self.shown)) < self._count:
            self.kept[place] = item
