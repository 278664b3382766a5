"""How many requests to keep in flight: found, held and found again, for any kind of backend.

The problem: nobody knows the number. A server with continuous batching answers
more slowly with every request and still does more; one with a queue takes
whatever comes and makes it wait; a provider refuses what is too much; and all
of them change during the night. A limit that follows latency, as TCP's do,
takes the noise of our own machine for the server's queue and starves itself.

The way chosen is to follow what a batch wants, answers per second. Time is cut
into rounds of about one latency (`plan.rounds`). Three phases:

* *start*: double every round for as long as that brings more answers a second.
  Two doublings that bring nothing are taken back.
* *hold*: stay. A latency beyond three times the usual one for two rounds means
  that the server has lost capacity: shrink. Every few rounds, a trial.
* *trial*: another limit for a round or two, kept if it pays. Where nobody ever
  refused: a quarter more, kept if it brings more, and in turn a fifth less, kept if
  it brings no less. Where a wall of refusals is known: up to it in growing steps. A
  wall that still stands costs a few refusals; one that has moved is passed.

A refusal (429, 503, 529) cuts, but only if its request was sent after the last
cut: what was in flight then says nothing new. The first cut is small, for a
wall is found exactly; cuts that follow each other are not, for then it is no
wall but an outage. Refusals that no cut ends are noise: `plan.refusals` tells which
those are, and what they cut is given back. Rounds in which our own loop was late are
not judged at all, and a limit that is not used does not grow.

An engine that tells how many run and how many wait (vLLM, SGLang, llama-server) needs no trials.
While its looks are fresh, in the phase *watched*, its own count sets the limit by the rules of
`plan.queueing`, and a start may double at every look at which none wait. Answers, latencies and
rounds are not judged then. Refusals and timeouts are: a known wall is below the engine, so only a
queue that is too long is listened to there, and for a while after a timeout nothing grows. When the
looks end, the limit is held as it stands and tried out as if there had been none.

Pure: `now` is in seconds and comes in.
"""

import enum
import math
from typing import Final

from nightkiln.core.engineload import EngineLoad
from nightkiln.plan.outage import Outage
from nightkiln.plan.queueing import FRESH_S, WAITING_LEAST, EngineQueue, has_room
from nightkiln.plan.ramp import CHANCE, GAIN, Ramp
from nightkiln.plan.refusals import Refusals
from nightkiln.plan.rounds import Round

START: Final = 16
MOST: Final = 1024
LATER: Final = 3.0  # times the usual latency: the server has lost capacity
UNDER_THE_WALL: Final = 0.985
_CUTS: Final = (UNDER_THE_WALL, 0.9, 0.7, 0.5)  # the n-th cut in a row
_STEPS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.25)  # of a climb towards a known wall
_QUICK: Final = 3  # the step to begin with when we have fallen far below it
_PAST: Final = 1.3  # times the wall: it is not there any more
_SHRINK: Final = 0.7
_UP: Final = 1.25
_DOWN: Final = 0.8
_LOSS: Final = 0.01  # fewer answers a second than this are fewer
_FIRST_TRIAL: Final = 4  # rounds of hold
_LAST_TRIAL: Final = 64
_LAST_CLIMB: Final = 16
_TRIAL_S: Final = 20.0  # a trial is due after so long, however few rounds there were
_TRIAL_LEAST_S: Final = 0.5
_SILENT_S: Final = 1.0  # of a start without any answer: double all the same ...
_SILENT_MOST: Final = 256  # ... up to this
_USED: Final = 0.9  # of the limit: else it is not what limits
_LOOK_S: Final = 0.2  # sooner, it is another job's look at the same engine
_THERE: Final = 0.7  # of ours the engine has to know of: else the way there is what limits
_CALM_S: Final = 20.0  # after a timeout, without growth by the engine's count


class Phase(enum.StrEnum):
    """What the limit is doing; for screens."""

    START = "start"
    HOLD = "hold"
    UP = "trying more"
    DOWN = "trying less"
    CLIMB = "back to the wall"
    REGAIN = "back to where it stood"
    WATCHED = "as the engine's queue says"


class AdaptiveLimit:
    """One backend's limit, between `least` and `most`. Not shared between threads.

    One that starts at `most` is a number somebody chose: it is cut by refusals
    and comes back, and is never tried out.
    """

    def __init__(self, *, start: int = START, least: int = 1, most: int = MOST) -> None:
        self.phase = Phase.START
        self._least, self._most = float(least), float(most)
        self._limit = min(float(start), self._most)
        self.adapts = self._limit < self._most  # else somebody said it, and only refusals cut it
        self._round = Round()
        # Starting.
        self._ramp = Ramp(self._limit)
        self._silent_since = math.nan
        # Holding.
        self._held = 0  # rounds
        self._held_since = 0.0
        self._rate = 0.0  # smoothed
        self._usual = 0.0  # latency, smoothed
        self._slow = 0  # rounds in a row that were beyond LATER
        self._trial_after = _FIRST_TRIAL
        self._next_is_down = False
        # Trying.
        self._base = self._limit  # what a trial goes back to
        self._settling = False
        self._step = 0
        self._first_step = 0
        # Being refused.
        self.refusals = Refusals()
        self._outage = Outage()
        self._broken_off = False  # the start, by a refusal
        self._wall: float | None = None
        self._cut_at = 0  # what was sent before says nothing of the cut
        self._cuts = 0  # in a row
        # Watching the engine.
        self._engine = EngineQueue(floor=START)
        self._looked_at = math.nan
        self._since_look = 0  # answers
        self._calm_until = 0.0

    @property
    def limit(self) -> int:
        """How many may be in flight now."""
        return int(self._limit)

    @property
    def last(self) -> int:
        """The number of the request that left last."""
        return self._round.sent

    # -- what happened

    def sent(self, now: float, in_flight: int) -> int:
        """A request leaves; `in_flight` counts it. Its number comes back with it."""
        current = self._round
        if not current.sent:
            current.began = self._silent_since = now
        current.peak = max(current.peak, in_flight)
        current.sent += 1
        return current.sent

    def answered(self, now: float, stamp: int, *, latency_s: float, tokens: int = 0) -> None:
        """A request came back with an answer of so many tokens, or with a fault of its own."""
        self._since_look += 1
        if self._outage.is_watched and stamp >= self._cut_at and self._outage.answered(self.limit):
            self._regain(now)
        limit = self._limit
        if self._round.answered(now, stamp, latency_s=latency_s, tokens=tokens, limit=limit):
            self._end_round(now)

    def is_held(self, stamp: int) -> bool:
        """True for a request that was sent under a level that is neither tried nor grown."""
        return stamp >= self._cut_at and self.phase in (Phase.HOLD, Phase.WATCHED)

    def refused(self, now: float, stamp: int, *, in_flight: int, throttled: bool = False) -> bool:
        """A request came back because we are too many; `in_flight` does not count it.

        True when a limit was refused that had been borne before. A wall that stands
        does no such thing: it has moved, or, where we are `throttled`, it is a rate.
        """
        if stamp < self._cut_at:
            return False
        was_borne, borne = self.phase in (Phase.HOLD, Phase.WATCHED), self._limit
        flying = min(self._limit, float(in_flight + 1))
        self._broken_off |= self.phase is Phase.START
        if self.phase is Phase.REGAIN:
            cut, self._cuts, self._first_step = flying * UNDER_THE_WALL, 0, 0
            was_borne = throttled
        elif self.phase is Phase.START and self._round.number:
            borne = cut = min(self._ramp.before, flying)
            self._trial_after, self._first_step = 1, _QUICK
        elif self.phase in (Phase.CLIMB, Phase.UP):
            borne = cut = self._base
            self._wait_longer()
            self._first_step = 0
        else:
            cut = flying * _CUTS[min(self._cuts, len(_CUTS) - 1)]
            self._cuts += 1
            self._trial_after = 1
            self._first_step = _QUICK if self._cuts > 1 else 0  # we have fallen too deep
        if self.phase is Phase.REGAIN:
            self._outage.refused_on_the_way(flying, is_rate=throttled)
        else:
            self._outage.cut(borne, self._wall, from_start=self.phase is Phase.START)
        self._wall = flying
        self._hold(now, min(cut, self._limit - 1))
        self._cut_at = self._round.first
        return was_borne

    def relax(self, now: float, limit: int) -> None:
        """Something else holds us back from here on: at least so many may be in flight."""
        self._wall, self._cuts, self._trial_after = None, 0, _FIRST_TRIAL
        self._outage.forget()
        self._hold(now, max(self._limit, float(limit)))
        self._cut_at = self._round.first

    def restore(self, now: float, level: float) -> None:
        """What cut us is no more: back to this, and a start that it broke off goes on there."""
        self.relax(now, math.ceil(level) if self.adapts else int(self._most))
        self._trial_after, self._next_is_down = 1, False
        if self._broken_off and self.adapts:
            self.phase, self._ramp = Phase.START, Ramp(self._limit)
        self._broken_off = False

    def follow(self, now: float, *, most: int, start: int | None) -> None:
        """Users allow other numbers from now on, as of a new limit; what was learnt stays."""
        is_all, self._most = self._limit >= self._most, float(most)
        if is_all:
            self._hold(now, self._most if start is None else max(self._limit, float(start)))
            self.phase, self._ramp = Phase.START, Ramp(self._limit)
        self.adapts = start is not None and self._limit < self._most

    def timed_out(self, now: float, stamp: int) -> None:
        """A request had no answer in time: half as many, once for all that were in flight."""
        if self.adapts and stamp >= self._cut_at:
            self._outage.interrupted(self._limit if self.phase is Phase.REGAIN else None)
            self._hold(now, self._limit / 2)
            self._cut_at = self._round.first
            self._calm_until = now + _CALM_S

    def loaded(self, now: float, load: EngineLoad, *, in_flight: int) -> None:
        """A look at the engine that answers; `in_flight` is ours at the same moment."""
        if not self.adapts or now - self._looked_at < _LOOK_S:
            return
        rate = self._since_look / (now - self._looked_at) if self._looked_at < now else 0.0
        self._looked_at, self._since_look = now, 0
        may_grow = (
            max(in_flight, self._round.peak) >= _USED * self.limit
            and load.running + load.waiting >= _THERE * in_flight
            and now >= self._calm_until
            and self._wall is None
            and not self._round.lagged
        )
        wanted = self._engine.limit_for(
            load, limit=self._limit, in_flight=in_flight, rate=rate, may_grow=may_grow
        )
        if self._wall is not None and (wanted is None or wanted >= self._limit):
            return
        if wanted is not None:
            self._wall, self.phase = None, Phase.WATCHED
            self._outage.forget()
            self._limit = max(self._least, min(wanted, self._most))
        elif self.phase is Phase.START and may_grow and has_room(load):
            self._limit = min(2 * self._limit, self._most)
        elif self.phase is Phase.HOLD and may_grow and has_room(load):
            # Until some wait we do not know how many fit; trials and latency still judge.
            self._limit = min(self._limit + WAITING_LEAST, self._most)

    def lagged(self) -> None:
        """Our own loop was late: this round says nothing about the backend."""
        self._round.lagged = True

    def tick(self, now: float) -> None:
        """Look at the clock, a few times a second: a start in silence grows by time."""
        if self.phase is Phase.WATCHED and now - self._looked_at > FRESH_S:
            self._hold(now, self._limit)
        if (
            self.phase is Phase.START
            and not (self._round.number or self._round.answers)
            and now - self._silent_since >= _SILENT_S
            and self._round.peak >= _USED * self.limit
        ):
            self._silent_since = now
            self._limit = max(self._limit, min(2 * self._limit, _SILENT_MOST, self._most))

    # -- rounds

    def _end_round(self, now: float) -> None:
        current = self._round
        rate, latency = current.answers / (now - current.began), current.latency
        answers, judged = current.answers, not current.lagged
        used = current.peak >= _USED * self.limit
        current.next(now)
        if not judged:
            return
        match self.phase:
            case Phase.START:
                self._started(now, rate, answers, used=used)
            case Phase.HOLD:
                self._held_on(now, rate, latency, used=used)
            case Phase.WATCHED:
                self._cuts = 0
            case Phase.REGAIN:
                pass  # a refusal tells at once
            case _ if self._settling:
                self._settling = False  # what came back was partly sent before
            case Phase.CLIMB:
                self._climbed(now, used=used)
            case _:
                self._tried(now, rate, answers)

    # -- starting

    def _started(self, now: float, rate: float, answers: int, *, used: bool) -> None:
        pays = self._ramp.pays(rate, answers, self._limit)
        if self._ramp.is_over:
            self._hold(now, _UP * self._ramp.best)  # a queue that is slightly full costs nothing
        elif used and pays:
            self._limit = min(2 * self._limit, self._most)

    # -- holding

    def _hold(self, now: float, limit: float) -> None:
        self.phase = Phase.HOLD
        self._limit = max(self._least, min(limit, self._most))
        self._held, self._held_since, self._slow = 0, now, 0
        self._round.next(now)

    def _held_on(self, now: float, rate: float, latency: float, *, used: bool) -> None:
        self._held += 1
        if self._held == 1:
            return  # sent before
        if self._held == 2:
            self._rate, self._usual = rate, latency
        elif self.adapts and latency > LATER * self._usual:
            self._slow += 1
            if self._slow >= 2:
                self._hold(now, self._limit * _SHRINK)
            return
        else:
            self._slow, self._cuts = 0, 0
            self._rate += 0.3 * (rate - self._rate)
            self._usual += 0.1 * (latency - self._usual)
        if used and self._is_trial_due(now):
            self._try()

    def _is_trial_due(self, now: float) -> bool:
        passed = now - self._held_since
        due = self._held > self._trial_after or passed >= _TRIAL_S
        return due and self._held >= 3 and passed >= _TRIAL_LEAST_S

    def _wait_longer(self) -> None:
        # Looking whether a wall still stands costs next to nothing; a vain trial of more, latency.
        longest = _LAST_TRIAL if self._wall is None else _LAST_CLIMB
        self._trial_after = min(2 * self._trial_after, longest)

    # -- after an outage

    def _regain(self, now: float) -> None:
        """A slot more for an answer, if all are used; from where we stood on, as before it."""
        outage = self._outage
        if self._round.peak >= _USED * self.limit:
            self.phase, self._limit = Phase.REGAIN, min(self._limit + 1, self._most)
        if self._limit >= min(outage.stood, self._most):
            self._broken_off = outage.broke_off_start
            self.restore(now, self._limit)
            self._wall, self._first_step = outage.wall, 0

    # -- trying

    def _try(self) -> None:
        self._base, self._settling, self._step = self._limit, True, self._first_step
        if self._wall is not None:
            self.phase, self._settling = Phase.CLIMB, False  # a refusal tells at once
            self._climb()
        elif self.adapts and self._next_is_down and self._limit > START:
            self.phase, self._limit = Phase.DOWN, self._limit * _DOWN
        elif self._limit < self._most:
            self.phase, self._limit = Phase.UP, min(self._most, self._limit * _UP)
        self._next_is_down = not self._next_is_down

    def _climb(self) -> None:
        share = _STEPS[min(self._step, len(_STEPS) - 1)]
        self._step += 1
        self._limit = min(self._most, self._limit + max(1.0, share * self._limit))

    def _climbed(self, now: float, *, used: bool) -> None:
        """A round above the base without a refusal."""
        self._cuts = 0
        assert self._wall is not None
        if not used or self._limit >= self._most:
            self._hold(now, self._limit)
        elif self._limit >= _PAST * self._wall:
            self._wall, self._trial_after, self._next_is_down = None, 1, False
            self._hold(now, self._limit)
        else:
            self._base = self._limit
            self._climb()

    def _tried(self, now: float, rate: float, answers: int) -> None:
        # Both ways the doubt is in favour of the larger limit: it costs latency, not answers.
        chance = CHANCE / math.sqrt(answers)
        least = max(GAIN, chance) if self.phase is Phase.UP else chance / 2 - _LOSS
        pays = rate >= self._rate * (1 + least) or not self.adapts
        if not pays:
            self._wait_longer()
            self._hold(now, self._base)
        elif self.phase is Phase.UP and self._limit < self._most:
            self._trial_after = _FIRST_TRIAL
            self._base, self._rate, self._settling = self._limit, rate, True
            self._limit = min(self._most, self._limit * _UP)
        else:
            self._hold(now, self._limit)
