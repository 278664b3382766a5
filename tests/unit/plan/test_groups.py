"""Rows with the same beginning go together, to who has it cached, and none waits for ever."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightkiln.plan.groups import Groups

A, B, C = 101, 102, 103


def filled(*keys: int) -> Groups[tuple[int, int]]:
    """Rows of these keys, each (key, number)."""
    groups: Groups[tuple[int, int]] = Groups()
    for number, key in enumerate(keys):
        groups.add(key, (key, number))
    return groups


def keys_of(groups: Groups[tuple[int, int]], backend: int, count: int) -> list[int]:
    return [groups.take(backend)[0] for _ in range(count)]


def test_rows_with_a_key_go_together_and_the_oldest_group_goes_first() -> None:
    groups = filled(A, B, A, C, B, A)
    assert [groups.take(0) for _ in range(6)] == [(A, 0), (A, 2), (A, 5), (B, 1), (B, 4), (C, 3)]
    assert not groups
    with pytest.raises(IndexError):
        groups.take(0)


def test_two_backends_have_their_own_groups_now_and_later() -> None:
    groups = filled(A, B, A, B, A, B)
    taken = [groups.take(number % 2)[0] for number in range(6)]
    assert taken == [A, B] * 3
    for number, key in enumerate([B, A, A, B]):
        groups.add(key, (key, number))
    assert keys_of(groups, 1, 2) == [B, B]
    assert keys_of(groups, 0, 2) == [A, A]


def test_who_has_nothing_of_its_own_takes_over_what_waits_and_helps_with_the_last() -> None:
    groups = filled(A, A, A, B, B, B)
    assert keys_of(groups, 0, 4) == [A, A, A, B]
    for number in range(3):
        groups.add(A, (A, 10 + number))
    assert keys_of(groups, 1, 3) == [A, A, A]  # nobody is at it
    assert keys_of(groups, 1, 1) == [B]  # somebody is, and it stays there
    assert keys_of(groups, 0, 1) == [B]
    groups.add(A, (A, 20))
    groups.add(B, (B, 21))
    assert (keys_of(groups, 1, 1), keys_of(groups, 0, 1)) == ([A], [B])


def test_a_group_that_never_ends_lets_the_others_go() -> None:
    groups = filled(A, B)
    taken = []
    for number in range(500):
        groups.add(A, (A, number))
        taken.append(groups.take(0)[0])
    assert taken.index(B) <= 65
    assert taken.count(A) == 499


def test_what_lies_ready_for_a_backend_that_is_gone_is_taken_by_others_in_time() -> None:
    groups = filled(A, A)
    assert keys_of(groups, 1, 1) == [A]  # and it never comes back
    taken = []
    for number in range(1000):
        groups.add(B + number, (B + number, number))
        taken.append(groups.take(0)[0])
    assert A in taken


def test_one_that_only_looks_whether_its_backend_is_back_gets_no_group() -> None:
    groups = filled(A, A, A)
    groups.take(0)
    assert groups.take(1, stays=False)[0] == A
    groups.add(A, (A, 9))
    groups.add(B, (B, 9))
    assert keys_of(groups, 0, 2) == [A, A]


def test_some_rows_go_before_all_groups() -> None:
    groups = filled(A, B, A, B)
    groups.put_first([(B, 3), (A, 0)])
    groups.appendleft((C, 9))
    assert len(groups) == 5
    assert [groups.take(0) for _ in range(5)] == [(C, 9), (B, 3), (A, 0), (A, 2), (B, 1)]


def test_rows_are_put_first_where_they_are_the_whole_of_a_group_in_work() -> None:
    groups = filled(A, A, B)
    groups.take(0)
    groups.put_first([row for row in groups if row[0] == A])
    assert keys_of(groups, 0, 2) == [A, B]
    groups.add(A, (A, 9))
    assert keys_of(groups, 0, 1) == [A]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 6)),
        st.tuples(st.just("take"), st.integers(0, 3)),
        st.tuples(st.just("probe"), st.integers(0, 3)),
        st.tuples(st.just("again"), st.integers(0, 6)),
        st.tuples(st.just("first"), st.integers(0, 6)),
    ),
    max_size=200,
)


@settings(deadline=None)
@given(steps=STEPS)
def test_every_row_that_came_goes_once_whoever_takes(steps: list[tuple[str, int]]) -> None:
    groups: Groups[tuple[int, int]] = Groups()
    came: Counter[tuple[int, int]] = Counter()
    gone: Counter[tuple[int, int]] = Counter()
    for number, (what, which) in enumerate(steps):
        row = (which, number)
        if what == "add":
            groups.add(which, row)
            came[row] += 1
        elif what == "again":
            groups.appendleft(row)
            came[row] += 1
        elif what == "first":
            groups.put_first([row for row in groups if row[0] == which])
        elif groups:
            gone[groups.take(which, stays=what == "take")] += 1
        assert len(groups) == sum(1 for _ in groups) == came.total() - gone.total()
    while groups:
        gone[groups.take(len(groups) % 3)] += 1
    assert gone == came


@settings(deadline=None, max_examples=30)
@given(
    keys=st.lists(st.integers(0, 30), min_size=1, max_size=30),
    backends=st.lists(st.integers(0, 3), min_size=1, max_size=10),
)
def test_no_row_waits_for_ever_while_others_keep_coming(
    keys: list[int], backends: list[int]
) -> None:
    groups: Groups[int] = Groups()
    for number in range(100):
        groups.add(1000 + number % 5, number)
    longest = 0
    for number in range(100, 6000):
        groups.add(keys[number % len(keys)], number)
        taken = groups.take(backends[number % len(backends)])
        longest = max(longest, number - taken)
    assert longest < 3000
    assert min(groups) > 3000
