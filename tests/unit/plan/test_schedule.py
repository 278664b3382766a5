"""Who takes the next slot: shares, small jobs at once, deadlines, and nobody starves."""

import heapq
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from nightkiln.core.ids import ProjectId
from nightkiln.plan.schedule import PRODUCTION, PROTOTYPE, Claim, Schedule, Standing, slots_for


class Play:
    """Some slots that come back in an order by chance, and jobs that want all they can get."""

    def __init__(self, claims: Sequence[Claim], *, slots: int, seed: int = 1) -> None:
        self.schedule = Schedule()
        self.standings = [self.schedule.join(claim) for claim in claims]
        self.wanting = list(self.standings)
        self.slots = slots
        self.out: list[tuple[float, int, Standing]] = []  # a heap by when they come back
        self.now = 0.0
        self.took: Counter[int] = Counter()
        self._dice = random.Random(seed)

    def fill(self) -> None:
        """Give out what is free."""
        while self.wanting and self.schedule.held < self.slots:
            first = self.schedule.first(self.wanting)
            self.schedule.took(first)
            number = self.standings.index(first)
            back_at = self.now + self._dice.uniform(0.5, 1.5)
            heapq.heappush(self.out, (back_at, self.took.total(), first))
            self.took[number] += 1

    def turn(self, times: int = 1) -> None:
        """A slot comes back, and is given out again."""
        for _ in range(times):
            self.fill()
            if self.out:
                self.now, _, back = heapq.heappop(self.out)
                self.schedule.gave(back)
        self.fill()

    def held(self) -> list[int]:
        """Slots of each job."""
        return [one.held for one in self.standings]


def job(project: str = "default", **more: object) -> Claim:
    return Claim(project=ProjectId(project), **more)  # type: ignore[arg-type]


def test_equal_jobs_hold_equally_many() -> None:
    play = Play([job(), job(), job(), job()], slots=64)
    play.turn(500)
    assert play.held() == [16, 16, 16, 16]


def test_a_weight_of_three_holds_three_times_as_many() -> None:
    play = Play([job(weight=3.0), job(weight=1.0)], slots=64)
    play.turn(500)
    assert play.held() == [48, 16]


def test_two_projects_with_one_and_nine_jobs_hold_half_each() -> None:
    play = Play([job("small"), *(job("large") for _ in range(9))], slots=90)
    play.turn(2_000)
    held = play.held()
    assert held[0] == 45
    assert set(held[1:]) == {5}


def test_what_one_does_not_want_the_others_have() -> None:
    play = Play([job(), job(), job()], slots=60)
    play.turn(500)
    play.wanting.remove(play.standings[0])
    play.turn(2_000)
    assert play.held() == [0, 30, 30]


def test_a_small_job_beside_a_big_one_has_its_half_after_half_of_the_slots_came_back() -> None:
    play = Play([job()], slots=64)
    play.turn(100)
    late = play.schedule.join(job())
    play.standings.append(late)
    play.wanting.append(late)
    play.turn(32)
    assert late.held >= 24
    play.turn(64)
    assert play.held() == [32, 32]


def test_a_prototype_has_most_at_once_and_production_keeps_an_eighth() -> None:
    play = Play([job(priority=PRODUCTION)], slots=64)
    play.turn(100)
    late = play.schedule.join(job(priority=PROTOTYPE))
    play.standings.append(late)
    play.wanting.append(late)
    play.turn(300)
    assert play.held() == [8, 56]


@pytest.mark.parametrize("slots", [2, 3, 5, 8])
def test_production_keeps_at_least_one_slot(slots: int) -> None:
    play = Play([job(priority=PRODUCTION), *(job() for _ in range(5))], slots=slots)
    play.turn(500)
    assert play.held()[0] == 1


def test_one_slot_is_handed_round_seven_turns_to_one_between_the_classes() -> None:
    play = Play([job(priority=PRODUCTION), job(), job()], slots=1)
    play.turn(800)
    assert play.took[0] == pytest.approx(100, abs=2)
    assert play.took[1] == pytest.approx(350, abs=2)


@pytest.mark.parametrize("seed", range(20))
def test_whoever_wants_a_slot_has_one_in_bounded_time(seed: int) -> None:
    dice = random.Random(seed)
    claims = [
        job(dice.choice("abc"), priority=dice.randrange(2), weight=dice.choice((0.5, 1.0, 4.0)))
        for _ in range(12)
    ]
    play = Play(claims, slots=dice.choice((1, 2, 7)), seed=seed)
    play.standings[0].needs = 100.0  # a deadline that cannot be met
    since: Counter[int] = Counter()
    for _ in range(5_000):
        before = dict(play.took)
        play.turn()
        for number in range(12):
            since[number] = 0 if play.took[number] > before.get(number, 0) else since[number] + 1
            assert since[number] < 2_000  # the least share is one in some 600


def test_nobody_saves_up_turns_while_away() -> None:
    play = Play([job(), job(priority=PRODUCTION)], slots=1)
    away = play.standings[1]
    play.wanting.remove(away)
    play.turn(1_000)
    play.wanting.append(away)
    before = play.took[1]
    play.turn(16)
    assert play.took[1] - before <= 4


def test_a_deadline_has_the_slots_it_needs_and_no_more() -> None:
    play = Play([job(priority=PRODUCTION), job(), job()], slots=64)
    play.standings[0].needs = 20.0
    play.turn(500)
    held = play.held()
    assert held[0] == 20
    assert held[1] + held[2] == 44


def test_a_deadline_nobody_can_meet_costs_the_others_half() -> None:
    play = Play([job(priority=PRODUCTION), job(), job()], slots=64)
    play.standings[0].needs = 1_000.0
    play.turn(500)
    assert 32 <= play.held()[0] <= 37  # half, and what production has of the rest
    assert min(play.held()[1:]) >= 13


def test_of_two_deadlines_the_one_that_lacks_more_goes_first() -> None:
    play = Play([job(), job(), job()], slots=32)
    play.standings[0].needs, play.standings[1].needs = 4.0, 12.0
    play.turn(500)
    assert play.held()[0] >= 4
    assert play.held()[1] >= 12


def test_a_deadline_needs_the_slots_that_answer_its_rows_in_time() -> None:
    assert slots_for(1_000, took_s=0.5, left_s=100.0) == pytest.approx(6.0)
    assert slots_for(1_000, took_s=0.5, left_s=0.0) == 0.0


def test_who_leaves_gives_back_all_and_leaves_nothing_behind() -> None:
    play = Play([job("a"), job("b", priority=PRODUCTION)], slots=8)
    play.standings[0].needs = 3.0
    play.fill()
    play.schedule.leave(play.standings[0])
    assert play.schedule.held == play.standings[1].held > 0
    late = play.schedule.join(job("a"), holding=4)
    assert late.held == 4
    assert play.schedule.first([play.standings[1], late]) in [*play.standings, late]
    play.schedule.leave(play.standings[1])
    play.schedule.leave(late)
    assert play.schedule.held == 0
