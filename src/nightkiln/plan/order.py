"""In which order the rows of the open window are asked.

Problem: a table asks 25 questions about each of 40 documents, shuffled. Every
server keeps the beginnings of recent requests in a cache, but a bounded one: in
the table's order a document has long been pushed out when its next question
comes, and is read, and paid, again. And at a job's end, one long answer that was
begun last keeps everybody waiting.

*What is shared.* All prompts of a job begin alike (the template's own words); that
is cached anyway and says nothing. What counts is the text right after it. So from
a sample of the last rows: where do the rows begin to differ (measured between two
quantiles, so that a few odd rows do not hide a long template), and how many of
the following characters make the best key? The longer the key, the surer the gain
of asking two rows with the same one together, and the fewer the rows that have the
same one: the length with the largest product wins. Under `LENGTHS[0]` characters no
server's cache gains anything. When hardly any two rows share that much, the
answer is None, rows keep the table's order, and the next look comes after twice
as many rows, so a job without sharing pays for a few looks and nothing by the row.
A key is taken from the prompt as it was rendered. In whole request bodies that is
their JSON: one that says something of its own before its messages shares nothing.

*Together.* Which row goes next is `plan.groups`. A larger window finds more mates,
so a job that shares keeps `ROUNDS` rounds of its slots open instead of two, up to
`WINDOW_ROWS`; its chunks end a little later, and nothing else depends on that.

*Long ones first.* Once no more rows will come, rows whose answers will be long go
first, longest first; the rest stay with their groups. An answer's length is not
known, and is only estimated where something is: by the row's own token limit where
the limits differ, else by a straight line through prompt length and answer length
of rows that were answered, where the two go together (`_LEAST_R`). The line is
drawn from open chunks, where quick rows were answered before slow ones, so it
rather understates the difference. Where neither is known, the order stays.

Pure: texts come in, orders go out.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

LENGTHS: Final = (128, 256, 512, 1024)  # of keys, in characters
HEAD: Final = 16_384  # of a prompt; what begins to differ later is not seen
ROUNDS: Final = 16  # of the slots that stay open where rows share; two otherwise
WINDOW_ROWS: Final = 4096
SAMPLED: Final = 16  # rows of a chunk
_SAMPLE: Final = 256  # rows
_LEAST: Final = 16  # rows, before a sample says anything
_SELDOM: Final = 4096  # rows between two looks, at most
_LEAST_REPEATS: Final = 3
_LEAST_SHARE: Final = 1 / 32  # of the sample that repeats a key
_ODD: Final = 8  # one in so many at each end of the sorted sample may begin differently
_LEAST_PAIRS: Final = 32
_LEAST_R: Final = 0.5
_LONG: Final = 1.25  # times the mean


class Sharing(msgspec.Struct, frozen=True):
    """Where in a prompt its key lies."""

    start: int
    stop: int


class Look:
    """What the rows of a job share, looked at again from time to time."""

    def __init__(self) -> None:
        self.sharing: Sharing | None = None
        self._sample: deque[str] = deque(maxlen=_SAMPLE)
        self._rows = 0
        self._next = _LEAST

    def saw(self, heads: Sequence[str], *, rows: int) -> bool:
        """Some rows came, with the first `HEAD` characters of a few. True: `sharing` changed."""
        self._sample.extend(heads)
        self._rows += rows
        if self._rows < self._next or len(self._sample) < _LEAST:
            return False
        self._next = self._rows + min(self._rows, _SELDOM)
        before, self.sharing = self.sharing, sharing_in(list(self._sample), known=self.sharing)
        return self.sharing != before


def sharing_in(sample: Sequence[str], *, known: Sharing | None = None) -> Sharing | None:
    """Where the key of these prompts lies; None where they share too little.

    What is known stays unless something is clearly better, for every change costs
    the memory of who served what.
    """
    ordered = sorted(sample)
    odd = len(ordered) // _ODD
    start = _common(ordered[odd], ordered[-1 - odd])
    best, most = None, 0
    for length in LENGTHS:
        one = Sharing(start, start + length)
        if (gain := _gain(sample, one)) > most:
            best, most = one, gain
    if known is not None and 2 * _gain(sample, known) > most:
        return known
    return best


def _gain(sample: Sequence[str], at: Sharing) -> int:
    """Characters that need not be read again, if rows with the same key go together."""
    keys = [text[at.start : at.stop] for text in sample if len(text) >= at.stop]
    repeats = len(keys) - len(set(keys))
    if repeats < max(_LEAST_REPEATS, _LEAST_SHARE * len(sample)) or len(set(keys)) < 2:
        return 0
    return repeats * (at.stop - at.start)


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low if one[low:high] != other[low:high] else high


def window_rows(slots: int, *, shares: bool) -> int:
    """How many rows without an answer stay open for so many slots."""
    return max(2 * slots, min(ROUNDS * slots, WINDOW_ROWS)) if shares else 2 * slots


def expected(
    limits: Sequence[int | None], sizes: Sequence[int], seen: Sequence[tuple[int, int]]
) -> Sequence[float] | None:
    """How long the answers of some rows may be, in tokens; None when nobody can say.

    `limits` are the rows' own in tokens, `sizes` those of their prompts, and `seen`
    size and tokens of rows that were answered.
    """
    known = [limit for limit in limits if limit is not None]
    if len(set(limits)) > 1 and known:
        longest = max(known)
        return [longest if limit is None else limit for limit in limits]
    line = _line(seen)
    return None if line is None else [line[0] + line[1] * size for size in sizes]


def long_first(lengths: Sequence[float]) -> list[int]:
    """Which of these go before all others, longest first."""
    if not lengths:
        return []
    least = _LONG * sum(lengths) / len(lengths)
    long = [number for number, length in enumerate(lengths) if length > least]
    return sorted(long, key=lambda number: -lengths[number])


def _line(seen: Sequence[tuple[int, int]]) -> tuple[float, float] | None:
    """Base and slope of answers over prompts, where longer prompts have longer answers."""
    count = len(seen)
    if count < _LEAST_PAIRS:
        return None
    mean_x, mean_y = sum(x for x, _ in seen) / count, sum(y for _, y in seen) / count
    xx = sum((x - mean_x) ** 2 for x, _ in seen)
    yy = sum((y - mean_y) ** 2 for _, y in seen)
    xy = sum((x - mean_x) * (y - mean_y) for x, y in seen)
    if not xx or not yy or xy < _LEAST_R * math.sqrt(xx * yy):
        return None
    slope = xy / xx
    return mean_y - slope * mean_x, slope
