"""Identical requests: one leaves, the others wait for it, and each of them ends exactly once."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from nightkiln.plan.joins import Joins

A, B = b"a" * 16, b"b" * 16


def test_the_first_to_ask_leads_and_an_answer_ends_the_others() -> None:
    joins: Joins[int] = Joins()
    assert [joins.ask(A, one) for one in range(4)] == [True, False, False, False]
    assert joins.ask(B, 9)
    assert joins.waiting == 3
    assert list(joins.answered(A)) == [1, 2, 3]
    assert joins.waiting == 0
    assert joins.ask(A, 5)


def test_a_fault_sends_one_follower_and_the_others_wait_for_that_one() -> None:
    joins: Joins[int] = Joins()
    for one in range(4):
        joins.ask(A, one)
    assert joins.failed(A, widen=False) == [1]
    assert not joins.ask(A, 7)
    assert list(joins.answered(A)) == [2, 3, 7]


def test_a_request_that_fails_by_itself_goes_out_more_and_more_at_once() -> None:
    joins: Joins[int] = Joins()
    away, rounds = [0], 0
    for one in range(1001):
        joins.ask(A, one)
    while away:
        rounds += 1
        away = [one for _ in away for one in joins.failed(A, widen=True)]
    assert rounds <= 11
    assert (joins.waiting, len(joins)) == (0, 0)


def test_an_answer_by_one_of_several_leaders_ends_all_followers_but_no_leader() -> None:
    joins: Joins[int] = Joins()
    for one in range(6):
        joins.ask(A, one)
    assert joins.failed(A, widen=True) == [1, 2]
    assert list(joins.answered(A)) == [3, 4, 5]
    assert joins.ask(A, 6)  # beside the other leader that is still away
    assert not joins.ask(A, 7)
    assert joins.failed(A, widen=False) == [7]
    assert list(joins.answered(A)) == []
    assert list(joins.answered(A)) == []
    assert len(joins) == 0


def test_who_asked_without_leading_may_answer_for_others() -> None:
    joins: Joins[int] = Joins()
    joins.ask(A, 0)
    joins.ask(A, 1)
    assert list(joins.answered(A, leader=False)) == [1]
    assert joins.failed(A, widen=False) == []
    assert list(joins.answered(B, leader=False)) == []


@settings(max_examples=300, deadline=None)
@given(
    keys=st.lists(st.sampled_from([A, B]), min_size=1, max_size=40),
    ends=st.lists(st.sampled_from(["answer", "fault", "verdict"]), max_size=200),
    picks=st.lists(st.integers(0, 1_000), max_size=200),
)
def test_every_row_ends_exactly_once_whatever_the_faults(
    keys: list[bytes], ends: list[str], picks: list[int]
) -> None:
    joins: Joins[int] = Joins()
    away: list[int] = []
    ready = list(range(len(keys)))
    done: Counter[int] = Counter()
    asks: Counter[int] = Counter()
    script, choices = iter(ends), iter(picks)
    while ready or away:
        if ready and (not away or next(choices, 0) % 2):
            one = ready.pop(0)
            if joins.ask(keys[one], one):
                away.append(one)
            continue
        one = away.pop(next(choices, 0) % len(away))
        asks[one] += 1
        match next(script, "answer"):
            case "answer":
                done[one] += 1
                done.update(joins.answered(keys[one]))
            case "verdict":  # the row itself is given up
                done[one] += 1
                away += joins.failed(keys[one], widen=True)
            case _:  # the row comes back later
                away += joins.failed(keys[one], widen=False)
                ready.append(one)
    assert done == Counter(range(len(keys)))
    assert (joins.waiting, len(joins)) == (0, 0)
    if not ends:
        assert sum(asks.values()) <= len(keys)
