"""How many requests an engine's own count of them allows: its queue slightly full, no more.

The problem: answers per second say only after a round or two whether more in flight
brings more, and by then a queue may stand. An engine that tells how many requests
run and how many wait says it at once, and exactly: as long as nobody waits there
is room, and what waits beyond a few is of no use to anybody.

Ways that fail. To aim at a fixed number running: what fits depends on the length of
the requests. To take every request that waits for a queue: an engine takes new ones
in at its next step, so each burst of ours waits a moment; a look in between would
cut for nothing. To cut by all that is too much: when two of us do, both cut it. To
believe every look: some engines renew their numbers every second or two, and a cut
that cannot be seen yet would be made again.

The way chosen. A few shall wait: a fourteenth of what runs, never fewer than two, and
never less than 20 ms of work, for our own loop is late by that much now and then.

* *More wait, in two looks in a row*: cut what is too much by our share of all that is
  there, at most by half at a time. From what is in flight, not from the limit: a
  queue takes its time to empty. Never below what a job starts with (or what such an
  engine bears at all): whoever gives way to a flood would starve.
* *Fewer wait*: add the difference. Where none wait, and we know how many ran when
  some did, go there at once, and past it in doubling steps.
* *The memory for sequences is full*: never more, for each new one drives another out
  to be computed again; and the queue may be no longer than two.
* *None wait, and none ever did*: nothing is said; the limiter starts and tries as it
  does without us, only it may double at every look of its start, and afterwards
  feel its way up by two at each, until some wait.

Steps up are equal for all of us and cuts are in proportion, so two that share an engine
come to equal shares. Requests that are not ours count like ours: who waits, waits.
The same numbers twice after a change are old news and are left out once. Pure.
"""

from typing import Final

from nightkiln.core.engineload import EngineLoad

FRESH_S: Final = 3.0  # a look that is older says nothing
WAITING: Final = 0.07  # of what runs
WAITING_LEAST: Final = 2.0
WAITING_S: Final = 0.02  # of work
KV_FULL: Final = 0.95
_CUT_MOST: Final = 0.5
_NEAR: Final = 0.9  # of what ran when some waited


class EngineQueue:
    """What the looks at one engine say about one client's limit. Not shared between threads."""

    __slots__ = ("_acted_on", "_empty", "_floor", "_full_at", "_waited")

    def __init__(self, *, floor: float) -> None:
        """`floor` is what a client starts with and is left with, whoever else is there."""
        self._floor = floor
        self._waited = 0.0  # at the look before
        self._full_at: float | None = None  # what ran when some waited
        self._empty = 0  # looks in a row at which none waited though we knew how many fit
        self._acted_on: tuple[int, int] | None = None  # what the last change was made for

    def limit_for(
        self, load: EngineLoad, *, limit: float, in_flight: int, rate: float, may_grow: bool
    ) -> float | None:
        """The limit that a look asks for; None where it says nothing about how many fit.

        `rate` is our answers a second; `may_grow` is False while the limit is not used,
        or while something else is known to hold us back.
        """
        stands = min(float(load.waiting), self._waited)  # in both looks
        self._waited = float(load.waiting)
        if stands:
            self._full_at = float(load.running)
        if load.waiting:
            self._empty = 0
        if self._full_at is None:
            return None
        told, acted_on = (load.running, load.waiting), self._acted_on
        self._acted_on = None
        if told == acted_on:
            return limit
        few = _few(load, rate)
        if stands > few:
            wanted = self._cut(load, stands - few, limit, in_flight)
        elif load.waiting < few and may_grow and not _is_out_of_memory(load):
            wanted = limit + self._step(load, few, limit)
        else:
            return limit
        if wanted != limit:
            self._acted_on = told
        return wanted

    def _cut(self, load: EngineLoad, too_many: float, limit: float, in_flight: int) -> float:
        ours = min(1.0, in_flight / (load.running + load.waiting))
        least = max(min(self._floor, load.running + WAITING_LEAST), (1 - _CUT_MOST) * limit)
        # A limit has a fraction that what is in flight has not; small shares grow by it.
        flying = limit if _NEAR * limit <= in_flight <= limit else in_flight
        return min(limit, max(least, flying - ours * too_many))

    def _step(self, load: EngineLoad, few: float, limit: float) -> float:
        assert self._full_at is not None
        if load.waiting:
            return max(1.0, few - load.waiting)
        missing = self._full_at - load.running
        if load.running < _NEAR * self._full_at:
            return min(limit, missing + few)
        self._empty += 1
        return min(limit, few * 2.0 ** min(self._empty - 1, 16))


def has_room(load: EngineLoad) -> bool:
    """True where nobody waits and nobody would be driven out."""
    return not load.waiting and not _is_out_of_memory(load)


def _is_out_of_memory(load: EngineLoad) -> bool:
    return load.kv_used is not None and load.kv_used > KV_FULL


def _few(load: EngineLoad, rate: float) -> float:
    """How many shall wait."""
    if _is_out_of_memory(load):
        return WAITING_LEAST
    return max(WAITING_LEAST, WAITING * load.running, WAITING_S * rate)
