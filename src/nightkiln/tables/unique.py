"""Are all custom ids of a job different? Answered in bounded memory.

A set of a hundred million ids would take ten gigabytes, and an index in SQL
would break the rule that SQL never grows with rows. So ids are reduced to 64
bits by a keyed hash (keyed, so that nobody can prepare a file whose ids collide)
and the question becomes: which hashes occur twice?

1. Hashes and row numbers gather in memory up to a run's length. A full run is
   sorted by hash and written to scratch as two plain arrays; there is nothing
   to recover after a crash, the ids are simply added again.
2. The runs are mapped, not read. Because each is sorted, a range of hashes is
   one slice of each run, found by bisection. The range of all hashes is halved
   until a range's slices fit into a run's length; those are concatenated and
   sorted, and equal neighbours are the suspects. Hashes are uniform, so ranges
   come out even; only many rows with one and the same hash cannot be halved,
   and those need no sorting, as each run holds them in row order already.
3. A suspect is not yet a duplicate: two ids may share a hash. The ids of
   suspects are fetched by row number and compared by value, in batches.

What fails instead: comparing hashes only refuses a good file once in a long
while; a Bloom filter needs the same second pass for far more suspects; merging
runs row by row in Python costs more than all the rest.
"""

import hashlib
import heapq
import mmap
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

Digest: TypeAlias = Callable[[bytes], bytes]  # eight bytes for an id
IdsOf: TypeAlias = Callable[[Sequence[int]], Sequence[str]]  # the ids of some rows, in order

RUN_ROWS: Final = 1 << 20  # 16 MB of hashes and row numbers
SHOWN: Final = 10
_BATCH_ROWS: Final = 10_000
_END: Final = 1 << 64
_WORD: Final = 8


class Duplicate(msgspec.Struct, frozen=True, kw_only=True):
    """An id that was seen before."""

    id: str
    first_row: int
    row: int


class Duplicates(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: how many rows repeat an id, and the first of them in row order."""

    total: int = 0
    first: tuple[Duplicate, ...] = ()


class UniqueIds:
    """Collects the ids of a job, then tells which occur more than once.

    `scratch` is an existing directory for runs; its owner removes it. `key` is
    random, at most 64 bytes. The digest can be replaced by one that collides.
    """

    def __init__(
        self,
        scratch: Path,
        *,
        key: bytes,
        run_rows: int = RUN_ROWS,
        digest: Digest | None = None,
    ) -> None:
        self._scratch = scratch
        self._run_rows = run_rows
        self._digest = digest or keyed_digest(key)
        self._digests = bytearray()
        self._rows = array("q")
        self._runs: list[_Run] = []

    def add(self, ids: "pa.Array", *, first_row: int) -> None:
        """Take the ids of consecutive rows; null is none. Blocks come in row order."""
        import pyarrow as pa

        rows: Iterable[int] = range(first_row, first_row + len(ids))
        if ids.null_count:
            rows = compress(rows, ids.is_valid().to_pylist())
            ids = ids.drop_null()
        self._digests += b"".join(map(self._digest, ids.cast(pa.binary()).to_pylist()))
        self._rows.extend(rows)
        if len(self._rows) >= self._run_rows:
            self._runs.append(_spilled(self._sorted(), self._scratch / f"run-{len(self._runs)}"))

    def duplicates(self, ids_of: IdsOf, *, most: int = SHOWN) -> Duplicates:
        """All repetitions, compared by value; of the first `most` also which rows they are.

        `ids_of` reads the ids of suspects again.
        """
        if self._rows:
            self._runs.append(self._sorted())
        found = _Found(most)
        for batch in _batches(_suspects(self._runs, 0, _END, self._run_rows)):
            found.compare(batch, ids_of)
        return found.result()

    def _sorted(self) -> "_Run":
        hashes = _words(memoryview(self._digests), unsigned=True)
        rows = _words(memoryview(self._rows), unsigned=False)
        self._digests, self._rows = bytearray(), array("q")
        return _in_order(hashes, rows)


def keyed_digest(key: bytes) -> Digest:
    """BLAKE2b with a key, eight bytes long. Keying once and copying is the quick way."""
    copy = hashlib.blake2b(digest_size=_WORD, key=key).copy

    def digest(value: bytes) -> bytes:
        state = copy()
        state.update(value)
        return state.digest()

    return digest


class _Run(NamedTuple):
    """Hashes in ascending order and the row of each."""

    hashes: memoryview  # of unsigned 64-bit words
    rows: memoryview  # of signed 64-bit words


class _Suspect(NamedTuple):
    """A row whose hash occurs more than once."""

    hash: int
    row: int


def _words(data: memoryview, *, unsigned: bool) -> "pa.Array":
    import pyarrow as pa

    kind = pa.uint64() if unsigned else pa.int64()
    return pa.Array.from_buffers(kind, data.nbytes // _WORD, [None, pa.py_buffer(data)])


def _in_order(hashes: "pa.Array", rows: "pa.Array") -> _Run:
    """Sorted by hash; the sort is stable, so equal hashes keep their row order."""
    import pyarrow.compute as pc

    order = pc.array_sort_indices(hashes)
    return _Run(_bytes(hashes.take(order)).cast("Q"), _bytes(rows.take(order)).cast("q"))


def _bytes(array: "pa.Array") -> memoryview:
    data = memoryview(array.buffers()[1]).cast("B")
    start = array.offset * _WORD
    return data[start : start + len(array) * _WORD]


def _spilled(run: _Run, path: Path) -> _Run:
    with path.open("w+b") as file:
        file.write(run.hashes)
        file.write(run.rows)
        file.flush()
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    middle = len(data) // 2
    return _Run(data[:middle].cast("Q"), data[middle:].cast("q"))


def _suspects(runs: Sequence[_Run], low: int, high: int, most: int) -> Iterator[_Suspect]:
    """Rows in [low, high) whose hash is not alone, by hash and then by row."""
    slices = [_between(run, low, high) for run in runs]
    slices = [run for run in slices if len(run.hashes)]
    size = sum(len(run.hashes) for run in slices)
    if size < 2:
        return
    if size <= most:
        yield from _neighbours(slices)
    elif high - low == 1:
        for run in slices:
            yield from (_Suspect(low, row) for row in run.rows)
    else:
        middle = (low + high) // 2
        yield from _suspects(slices, low, middle, most)
        yield from _suspects(slices, middle, high, most)


def _between(run: _Run, low: int, high: int) -> _Run:
    first = bisect_left(run.hashes, low)
    last = bisect_left(run.hashes, high, lo=first)
    return _Run(run.hashes[first:last], run.rows[first:last])


def _neighbours(slices: Sequence[_Run]) -> Iterator[_Suspect]:
    import pyarrow as pa
    import pyarrow.compute as pc

    run = slices[0]
    if len(slices) > 1:
        hashes = pa.concat_arrays([_words(run.hashes, unsigned=True) for run in slices])
        rows = pa.concat_arrays([_words(run.rows, unsigned=False) for run in slices])
        run = _in_order(hashes, rows)
    ordered = _words(run.hashes, unsigned=True)
    same = pc.equal(ordered[1:], ordered[:-1])
    if not pc.any(same).as_py():
        return
    alone = pa.array([False])
    suspect = pc.or_(pa.concat_arrays([same, alone]), pa.concat_arrays([alone, same]))
    found = ordered.filter(suspect), _words(run.rows, unsigned=False).filter(suspect)
    for start in range(0, len(found[0]), _BATCH_ROWS):
        hashes, rows = (column.slice(start, _BATCH_ROWS).to_pylist() for column in found)
        yield from map(_Suspect, hashes, rows)


def _batches(suspects: Iterator[_Suspect]) -> Iterator[list[_Suspect]]:
    batch: list[_Suspect] = []
    for suspect in suspects:
        batch.append(suspect)
        if len(batch) == _BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


class _Found:
    """Duplicates so far. Suspects come hash by hash, so it remembers one hash's ids."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._total = 0
        self._first: list[tuple[int, int, str]] = []  # row, first row, id
        self._hash = -1
        self._seen: dict[str, int] = {}  # the ids of that hash and their first rows

    def compare(self, batch: Sequence[_Suspect], ids_of: IdsOf) -> None:
        """Fetch the ids of a batch and compare those with the same hash."""
        rows = sorted(suspect.row for suspect in batch)
        ids = dict(zip(rows, ids_of(rows), strict=True))
        for suspect in batch:
            if suspect.hash != self._hash:
                self._hash, self._seen = suspect.hash, {}
            value = ids[suspect.row]
            first = self._seen.setdefault(value, suspect.row)
            if first != suspect.row:
                self._total += 1
                self._first.append((suspect.row, first, value))
        if len(self._first) > 2 * self._most:
            self._first = heapq.nsmallest(self._most, self._first)

    def result(self) -> Duplicates:
        """What was found over all batches."""
        return Duplicates(
            total=self._total,
            first=tuple(
                Duplicate(id=value, first_row=first, row=row)
                for row, first, value in heapq.nsmallest(self._most, self._first)
            ),
        )
