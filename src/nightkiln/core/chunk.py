"""A chunk: a run of consecutive rows, the unit of leasing and committing."""

import enum

import msgspec

from nightkiln.core.ids import JobId, RunId
from nightkiln.core.usage import Totals


class ChunkState(enum.StrEnum):
    """Where a chunk stands in its job's current generation."""

    OPEN = "open"
    LEASED = "leased"
    COMMITTED = "committed"


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """One chunk as the store knows it. Rows are `first_row .. first_row + rows - 1`."""

    job: JobId
    number: int  # 0, 1, 2 … in row order
    first_row: int
    rows: int
    segment: int  # which input segment holds its rows
    row_group: int  # and which row group of it
    state: ChunkState = ChunkState.OPEN
    epoch: int = 0  # raised at every lease; fences every older holder
    generation: int = 1
    committed_epoch: int | None = None  # names the part that is real
    commit_seq: int | None = None  # gapless over the job, in order of commits
    sha256: str = ""  # of the real part
    totals: Totals = Totals()


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A run's right to work on a chunk. Worth nothing once a higher epoch exists."""

    chunk: Chunk  # `chunk.epoch` is this lease's fencing number
    run: RunId

    @property
    def key(self) -> tuple[JobId, int]:
        """Which chunk this is about, over all jobs."""
        return self.chunk.job, self.chunk.number


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A finished part that waits to be made real by a commit."""

    sha256: str
    size_bytes: int
    totals: Totals  # of the whole chunk, its base part included
    spent: Totals  # what this generation's attempts added
    by_backend: tuple[
        tuple[str, Totals], ...
    ] = ()  # that, and rows, by who got it; empty: not told
