"""What lanes of different jobs share where they go to the same backend: one gate, in turn.

The problem: two jobs of one process at the same endpoint, credential and model
would each look for the backend's limit, and each take the other for the
limit. And who frees a slot is the first to ask for it, so whoever holds many keeps them.

The way chosen: the gate (limiter, pacer, and what is in flight) belongs to a
turnstile before the backend. A lane that may not go, because all is full or paced
or because it is not its turn, is remembered as one that wants. When there is room
`plan.schedule` says who of those goes first: that lane is given the slot before it even
wakes, and nobody else goes until it has sent or given it back. (Only to be woken was
not enough: of fifty slots that came free together each woke the same lane, whose turn was
over after one, and it woke the next one forty-nine times.) No slot stays empty by this:
whoever lets go, takes a row, runs dry or leaves wakes the next, and a lane that was
given a slot and has nothing for the backend after all (its breaker is open, a cap is
reached) gives it back unused, and wants none until something of its own wakes it.

A lane that is alone has the gate for itself and asks nobody: it has no `Place`.

*What users set* holds for the job they set it for: its lane has at most its own
--concurrency in flight, and a pacer of its own where its --rpm or --tpm is lower.
All of them together are bound by the loosest of what the jobs have said, so by
a number only where each of them has said one. It is not tightened when a job goes.
Breakers, retry quotas and budgets stay with each lane.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol
from weakref import WeakValueDictionary

import msgspec

from nightkiln.core.engineload import EngineLoad
from nightkiln.core.fault import Fault
from nightkiln.core.usage import Usage
from nightkiln.plan.gate import Gate
from nightkiln.plan.limiter import AdaptiveLimit
from nightkiln.plan.pacing import Pacer
from nightkiln.plan.schedule import Claim, Schedule, Standing, slots_for

LOOK_S: Final = 0.5  # between two looks at what a deadline needs
_KEPT: Final = 0.05  # of each latency, in the average


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a user allows at a backend."""

    slots: int  # at most
    start: int | None = None  # to begin with and to adapt from; None: all, and no fewer
    rpm: float | None = None
    tpm: float | None = None

    def looser(self, other: "Terms") -> "Terms":
        """What is allowed by one of the two."""
        starts = [start for start in (self.start, other.start) if start is not None]
        return Terms(
            slots=max(self.slots, other.slots),
            start=min(starts, default=None),
            rpm=_higher(self.rpm, other.rpm),
            tpm=_higher(self.tpm, other.tpm),
        )

    def limiter(self) -> AdaptiveLimit:
        """A limiter for what is set."""
        start = self.slots if self.start is None else self.start
        return AdaptiveLimit(start=start, most=self.slots)

    def pacer(self) -> Pacer:
        """A pacer for what is set."""
        return Pacer(rpm=self.rpm, tpm=self.tpm)

    def gate(self) -> Gate:
        """A gate of a lane's own."""
        return Gate(self.limiter(), self.pacer())


def _higher(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


class Standee(Protocol):
    """A lane, as a turnstile sees it."""

    gate: Gate
    place: "Place | None"
    in_flight: int
    stopping: bool  # takes no more rows

    @property
    def wants(self) -> bool:
        """True when it has a free slot and a row for it."""
        ...

    def wake(self, when: float | None = None) -> None:
        """Wake one of its slots, now or then."""
        ...


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """The job of a lane, as a turnstile sees it."""

    claim: Claim
    rows_left: Callable[[], int]  # without an answer, of the whole job
    clock: Callable[[], float]  # epoch seconds


class Place(Gate):
    """A shared gate as one of its lanes sees it, in the place of a gate of its own."""

    __slots__ = (
        "_let_go",
        "_look_at",
        "_own",
        "_took_s",
        "_turnstile",
        "asker",
        "lane",
        "standing",
        "terms",
    )

    standing: Standing

    def __init__(
        self, turnstile: "Turnstile", lane: Standee, *, terms: Terms, asker: Asker
    ) -> None:
        super().__init__(turnstile.gate.limiter, turnstile.gate.pacer)
        self.lane, self.terms, self.asker = lane, terms, asker
        self._turnstile = turnstile
        self._own: Pacer | None = None  # where less is set for this job than for all
        self._let_go = False  # when it last asked
        self._took_s = 0.0
        self._look_at = -math.inf

    def fit(self, terms: Terms) -> None:
        """The shared gate keeps to these terms from now on."""
        if (terms.rpm, terms.tpm) == (self.terms.rpm, self.terms.tpm):
            self._own = None
        elif self._own is None:
            self._own = self.terms.pacer()

    @property
    def slots(self) -> int:
        """How many its lane may have in flight, if nobody else wants any."""
        return min(self.terms.slots, self.limiter.limit)

    @property
    def room(self) -> int:
        """How many more its lane could have in flight now."""
        free = self.limiter.limit - self._turnstile.in_flight
        return max(0, min(free, self.terms.slots - self.lane.in_flight))

    # -- as a gate

    def ready_at(self, now: float, in_flight: int) -> float:
        """When the lane's next request may go; infinity when somebody will wake it."""
        self._let_go = False
        if in_flight >= self.terms.slots:
            return math.inf  # its own: whoever comes back goes on
        if self._own is not None and (when := self._own.ready_at(now)) > now:
            return when
        if (until := self.asker.claim.until) is not None:
            self._look(now, until)
        turnstile = self._turnstile
        mine = turnstile.given is self
        when = super().ready_at(now, turnstile.in_flight - mine)
        if mine and when <= now:
            return when
        turnstile.wants(self, True)
        if when <= now and turnstile.is_first(self):
            return when
        self._let_go = True
        return when if when > now else math.inf

    def sent(self, now: float, in_flight: int) -> int:  # noqa: ARG002 - counts all lanes' instead
        """A request leaves. The next in turn is woken if there is room."""
        if self._turnstile.given is self:
            self._turnstile.given = None
        else:
            self._turnstile.schedule.took(self.standing)
        if self._own is not None:
            self._own.sent()
        stamp = super().sent(now, self._turnstile.in_flight)
        self._turnstile.wants(self, self.lane.wants)
        self._turnstile.wake_next(now)
        return stamp

    def answered(self, now: float, stamp: int, *, latency_s: float, usage: Usage) -> None:
        """A request brought an answer."""
        self._took_s += (latency_s - self._took_s) * (_KEPT if self._took_s else 1.0)
        if self._own is not None:
            self._own.answered(usage.input_tokens + usage.output_tokens)
        super().answered(now, stamp, latency_s=latency_s, usage=usage)

    def faulted(
        self, now: float, stamp: int, fault: Fault, *, in_flight: int, latency_s: float
    ) -> None:
        """A request ended in a fault."""
        in_flight = self._turnstile.sent - 1
        super().faulted(now, stamp, fault, in_flight=in_flight, latency_s=latency_s)

    def loaded(self, now: float, load: EngineLoad, *, in_flight: int) -> None:  # noqa: ARG002
        """The engine told how busy it is, with what all lanes have sent."""
        super().loaded(now, load, in_flight=self._turnstile.sent)

    # -- beyond a gate

    def ended(self) -> None:
        """A request is over, however it ended: its slot is free."""
        self._turnstile.schedule.gave(self.standing)
        if self.lane.stopping:
            self.wake_next(asyncio.get_running_loop().time())

    def sleeps(self, now: float) -> None:
        """A slot found nothing that may go: if not for want of room, the lane wants none."""
        self._turnstile.take_back(self)
        if not self._let_go:
            self._turnstile.wants(self, False)
        self._let_go = False
        self._turnstile.wake_next(now)

    def wake_next(self, now: float) -> None:
        """Time has passed or the limit has grown: there may be room."""
        self._turnstile.wake_next(now)

    def _look(self, now: float, until: float) -> None:
        if now < self._look_at or not self._took_s:
            return
        self._look_at = now + LOOK_S
        rows, left_s = self.asker.rows_left(), until - self.asker.clock()
        self.standing.needs = slots_for(rows, took_s=self._took_s, left_s=left_s)


class Turnstile:
    """Before one backend: the gate, and who is in line. For lanes of one event loop."""

    def __init__(self) -> None:
        self.schedule = Schedule()
        self.gate: Gate
        self._terms: Terms | None = None  # of the gate; None while nobody is here
        self.given: Place | None = None  # whose turn it is: it holds a slot and sends next
        self._places: list[Place] = []
        self._wanting: dict[Standing, Place] = {}

    @property
    def in_flight(self) -> int:
        """Slots that all lanes hold, with the one that is given and not used yet."""
        return self.schedule.held

    @property
    def places(self) -> tuple[Place, ...]:
        """Who goes through it, also who is alone."""
        return tuple(self._places)

    @property
    def sent(self) -> int:
        """Requests of all lanes that are under way."""
        return self.schedule.held - (self.given is not None)

    # -- coming and going

    def enter(self, lane: Standee, terms: Terms, asker: Asker) -> None:
        """A lane begins to send; the first one's gate becomes everybody's."""
        if self._terms is None:
            self.gate, self._terms = lane.gate, terms
        place = Place(self, lane, terms=terms, asker=asker)
        self._places.append(place)
        if len(self._places) == 2:
            self._seat(self._places[0])
        if len(self._places) > 1:
            self._seat(place)
        self._loosen(terms, asyncio.get_running_loop().time())

    def leave(self, lane: Standee, now: float) -> None:
        """A lane has ended; none of its requests is under way."""
        place = next((one for one in self._places if one.lane is lane), None)
        if place is None:
            return
        self._places.remove(place)
        if lane.place is not None:
            self._unseat(place)
        if not self._places:
            self._terms = None
        elif len(self._places) == 1 and self._terms == self._places[0].terms:
            self._unseat(self._places[0])
            self._places[0].lane.wake()  # who wakes wakes the next
        else:
            self.wake_next(now)

    def _seat(self, place: Place) -> None:
        """Not alone any more: what is in flight is counted together."""
        lane = place.lane
        if lane.place is not None:
            return
        place.standing = self.schedule.join(place.asker.claim, holding=lane.in_flight)
        lane.gate = lane.place = place
        self.wants(place, lane.wants)

    def _unseat(self, place: Place) -> None:
        self.take_back(place)
        self.wants(place, False)
        self.schedule.leave(place.standing)
        place.lane.gate, place.lane.place = self.gate, None

    def _loosen(self, said: Terms, now: float) -> None:
        """Let the gate bear what the loosest of the jobs allows; what it has learnt stays."""
        assert self._terms is not None
        before, gate = self._terms, self.gate
        self._terms = terms = before.looser(said)
        if (terms.slots, terms.start) != (before.slots, before.start):
            gate.limiter.follow(now, most=terms.slots, start=terms.start)
        if (terms.rpm, terms.tpm) != (before.rpm, before.tpm):
            gate.pacer.follow(now, rpm=terms.rpm, tpm=terms.tpm)
        for place in self._places:
            place.fit(terms)

    # -- whose turn it is

    def wants(self, place: Place, wants: bool) -> None:
        """Remember whether a lane waits for room."""
        if wants:
            self._wanting[place.standing] = place
        else:
            self._wanting.pop(place.standing, None)

    def is_first(self, place: Place) -> bool:
        """True when nobody that wants goes before this lane, which is among them."""
        if self.given is not None:
            return False
        return len(self._wanting) < 2 or self.schedule.first(self._wanting) is place.standing

    def wake_next(self, now: float) -> None:
        """Give a slot to whoever goes next, as soon as there is room."""
        if not self._wanting or self.given is not None:
            return  # or whoever has the turn goes on
        when = self.gate.ready_at(now, self.in_flight)
        if when == math.inf:
            return  # whoever comes back goes on
        while self._wanting:
            first = self._wanting[self.schedule.first(self._wanting)]
            if when > now:
                first.lane.wake(when)
                return
            if first.lane.wants:
                self.given = first
                self.schedule.took(first.standing)
                first.lane.wake()
                return
            self.wants(first, False)  # all its slots are busy, or its rows are gone

    def take_back(self, place: Place) -> None:
        """A lane has no use for its turn, if it had one."""
        if self.given is place:
            self.given = None
            self.schedule.unused(place.standing)


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """What a limit of a backend belongs to. Of secrets only references, of headers hashes."""

    endpoint: str
    credential: str | None = None
    headers: tuple[tuple[str, str], ...] = ()  # may name who pays
    model: str = ""


class Turnstiles:
    """The turnstiles of an event loop, by what they stand before. Handed to whoever runs jobs."""

    def __init__(self) -> None:
        # Those that no lane goes through any more are forgotten.
        self._known: WeakValueDictionary[Address, Turnstile] = WeakValueDictionary()

    def known(self) -> list[tuple[Address, Turnstile]]:
        """Those that there are."""
        return list(self._known.items())

    def at(self, address: Address) -> Turnstile:
        """The one before this backend."""
        found = self._known.get(address)
        if found is None:
            found = self._known[address] = Turnstile()
        return found
