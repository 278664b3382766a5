"""Spells in which everybody is refused: how soon all is as before, and who is stormed meanwhile."""

from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from tests.unit.plan.capacity import THROTTLED, UNAVAILABLE, Backend, Outcome, Traffic, constant

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.plan.gate import TIMEOUT, Gate
from nightkiln.plan.hold import Hold
from nightkiln.plan.limiter import AdaptiveLimit, Phase

SLOTS, LATENCY_S = 512, 0.05
FROM_S, SOON_S = 14.0, 20 * LATENCY_S
TIMED_OUT = Fault(kind=FaultClass.AMBIGUOUS, code=TIMEOUT)


class Watched:
    """A gate before a backend, and its limit whenever a request arrives."""

    def __init__(self, backend: Backend, *, start: int = 16, most: int = 1024) -> None:
        self.gate = Gate(AdaptiveLimit(start=start, most=most))
        self.limits: list[tuple[float, int]] = []
        self.refusals: list[float] = []
        self._noise = backend.noise
        backend.noise = self._noted
        self._traffic = Traffic(backend, self.gate, seed=1, on_refused=self.refusals.append)

    def _noted(self, now: float) -> float:
        self.limits.append((now, self.gate.limiter.limit))
        return self._noise(now)

    def run(self, seconds: float) -> Outcome:
        return self._traffic.run(seconds)

    def most(self, since: float, until: float) -> int:
        return max(limit for at, limit in self.limits if since <= at < until)

    def last(self, before: float) -> int:
        return next(limit for at, limit in reversed(self.limits) if at < before)


def during(*spells: tuple[float, float], share: float = 1.0) -> Callable[[float], float]:
    return lambda now: share if any(start <= now < end for start, end in spells) else 0.0


@pytest.mark.parametrize("noisy", [UNAVAILABLE, THROTTLED], ids=["503", "429"])
@pytest.mark.parametrize("refuses", [True, False], ids=["wall", "queue"])
@pytest.mark.parametrize("lasts_s", [0.2, 1.0])
def test_after_an_outage_the_limit_is_back_within_twenty_latencies(
    lasts_s: float, refuses: bool, noisy: Fault
) -> None:
    ends = FROM_S + lasts_s
    backend = Backend(
        constant(LATENCY_S),
        slots=lambda _: SLOTS,
        refuses=refuses,
        noise=during((FROM_S, ends)),
        noisy=noisy,
    )
    watched = Watched(backend)
    watched.run(ends + 6)
    stood = watched.last(FROM_S)
    assert stood >= 0.95 * SLOTS
    assert watched.last(ends) <= 4
    assert watched.last(ends + SOON_S) >= 0.95 * min(stood, SLOTS)


def test_a_number_that_was_said_is_back_as_soon() -> None:
    backend = Backend(constant(LATENCY_S), noise=during((FROM_S, 15.0)), noisy=UNAVAILABLE)
    watched = Watched(backend, start=SLOTS, most=SLOTS)
    watched.run(18)
    assert watched.last(15.0) == 1
    assert watched.last(15.0 + SOON_S) == SLOTS


def test_two_outages_in_a_row_are_forgotten_like_one() -> None:
    """The second comes while the way back from the first is still going on."""
    second = 15.0 + 9 * LATENCY_S
    noise = during((FROM_S, 15.0), (second, second + 0.5))
    backend = Backend(constant(LATENCY_S), slots=lambda _: SLOTS, noise=noise, noisy=UNAVAILABLE)
    watched = Watched(backend)
    watched.run(20)
    assert watched.last(second + 0.5) <= 4
    assert watched.last(second + 0.5 + SOON_S) >= 0.75 * SLOTS
    assert watched.last(20) >= 0.95 * SLOTS


def test_an_outage_at_the_start_does_not_end_the_start() -> None:
    backend = Backend(
        constant(LATENCY_S), slots=lambda _: SLOTS, refuses=False, noise=during((0.12, 0.6))
    )
    watched = Watched(backend)
    watched.run(3)
    assert watched.last(3) >= 0.95 * SLOTS


def test_a_wall_that_falls_far_meanwhile_is_not_stormed() -> None:
    backend = Backend(
        constant(LATENCY_S),
        slots=lambda now: SLOTS if now < FROM_S else 50,
        noise=during((FROM_S, 15.0)),
        noisy=UNAVAILABLE,
    )
    watched = Watched(backend)
    watched.run(25)
    assert watched.most(15.0, 25) <= 2 * 50  # all answers of a latency come at once here
    assert sum(at >= 15 for at in watched.refusals) <= SLOTS  # of 10,000 answers
    after = [limit for at, limit in watched.limits if at >= 20]
    assert sum(after) / len(after) >= 0.9 * 50


@pytest.mark.parametrize("share", [0.7, 0.9])
def test_while_most_are_refused_nothing_is_tried(share: float) -> None:
    noise = during((FROM_S, 15.0))
    most = during((15.0, 25.0), share=share)
    backend = Backend(constant(LATENCY_S), noise=lambda now: max(noise(now), most(now)))
    backend.noisy = UNAVAILABLE
    watched = Watched(backend, start=SLOTS, most=SLOTS)
    watched.run(25)
    assert watched.most(15.5, 25) <= 16


def after_an_outage(stood: int, *, most: int = 1024) -> AdaptiveLimit:
    """A limit that stood there, was cut to one slot, and is asked again."""
    limiter = AdaptiveLimit(start=stood, most=most)
    limiter.relax(0.0, stood)
    for _ in range(16):
        limiter.refused(1.0, limiter.sent(1.0, limiter.limit), in_flight=limiter.limit - 1)
    assert limiter.limit == 1
    return limiter


def answers(limiter: AdaptiveLimit, number: int, *, in_flight: int | None = None) -> None:
    for _ in range(number):
        stamp = limiter.sent(2.0, in_flight or limiter.limit)
        limiter.answered(2.0, stamp, latency_s=LATENCY_S)


def test_a_limit_that_nobody_uses_does_not_come_back() -> None:
    limiter = after_an_outage(SLOTS)
    answers(limiter, 500, in_flight=4)
    assert limiter.limit <= 5
    answers(limiter, SLOTS)
    assert limiter.limit == SLOTS


def test_what_has_no_answer_in_time_on_the_way_back_gives_up_a_fifth() -> None:
    limiter = after_an_outage(100)
    answers(limiter, 60)
    assert 50 < limiter.limit < 100
    limiter.timed_out(2.0, limiter.sent(2.0, limiter.limit))
    answers(limiter, 400)
    assert limiter.phase is not Phase.REGAIN
    assert limiter.limit == 80


def test_the_way_back_ends_where_users_allow_no_more() -> None:
    limiter = after_an_outage(100)
    answers(limiter, 20)
    limiter.follow(2.0, most=50, start=16)
    answers(limiter, 100)
    assert limiter.phase is not Phase.REGAIN
    assert limiter.limit == 50


# -- refusals of everybody that say nothing of when to come back


def refused_all_night(seconds: float, **more: float | None) -> list[float]:
    """When requests were refused, by a backend that refuses everybody from 14 s on."""
    fault = msgspec.structs.replace(THROTTLED, **more)
    noise = during((FROM_S, FROM_S + seconds))
    watched = Watched(Backend(constant(LATENCY_S), noise=noise, noisy=fault), most=64)
    watched.run(FROM_S + seconds + 60)
    assert watched.gate.limiter.limit == 64
    assert watched.last(FROM_S + seconds + 35) >= 32
    return [at for at in watched.refusals if at > FROM_S]


def test_refusals_that_say_nothing_are_met_more_and_more_rarely() -> None:
    refusals = refused_all_night(3_600)
    assert len(refusals) <= 64 * 8 + 300
    late = [later - sooner for sooner, later in pairwise(refusals) if sooner > FROM_S + 600]
    assert 10 <= min(late) <= max(late) <= 31
    assert max(late) - min(late) >= 5  # nobody comes back in step with others


def test_the_end_of_a_short_spell_is_seen_soon() -> None:
    backend = Backend(constant(LATENCY_S), noise=during((FROM_S, 15.0)), noisy=THROTTLED)
    watched = Watched(backend, most=64)
    watched.run(18)
    first = min(at for at, _ in watched.limits if at >= 15.0)
    assert first <= 15.25


def test_who_says_when_to_come_back_is_taken_at_his_word() -> None:
    refusals = refused_all_night(60, retry_after_s=1.0)
    late = [later - sooner for sooner, later in pairwise(refusals) if sooner > FROM_S + 10]
    assert late == pytest.approx([1.0] * len(late), abs=0.01)


def test_a_rate_that_was_learnt_does_not_keep_asking_either() -> None:
    backend = Backend(constant(LATENCY_S), rpm=6_000, burst=10)
    backend.noise = during((30.0, 630.0))
    backend.noisy = THROTTLED
    watched = Watched(backend)
    watched.run(630)
    assert sum(at > 30.0 for at in watched.refusals) <= 400


def test_one_in_ten_that_is_refused_makes_nobody_wait() -> None:
    hold = Hold()
    for number in range(10, 10_000, 10):
        hold.refused(number / 1000, number, THROTTLED, sent=number + 3)
        assert hold.until == 0.0


# -- probes


@pytest.mark.parametrize(
    "fault",
    [TIMED_OUT, UNAVAILABLE, THROTTLED],
    ids=["timeout", "503", "429"],
)
def test_what_becomes_of_a_probe_cuts_nothing(fault: Fault) -> None:
    gate = Gate(AdaptiveLimit(start=64, most=64))
    for minute in range(5):
        stamp = gate.sent(60.0 * minute, 1)
        gate.probed(60.0 * minute + 30.0, stamp, fault)
    assert gate.limiter.limit == 64
