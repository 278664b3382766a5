"""One roll chooses the fault."""

import random
from collections import Counter

import pytest

from nightkiln.simulate.faults import FaultKind, FaultTable


def test_no_shares_make_no_faults() -> None:
    table = FaultTable(dict.fromkeys(FaultKind, 0.0))
    assert not table
    assert table.choose(0.0) is None


def test_the_roll_falls_into_the_share_of_its_fault() -> None:
    table = FaultTable({FaultKind.SERVER_ERROR: 0.25, FaultKind.RESET: 0.25})
    chosen = [table.choose(roll) for roll in (0.0, 0.24, 0.25, 0.49, 0.5, 0.99)]
    assert chosen[:2] == [FaultKind.SERVER_ERROR] * 2
    assert chosen[2:4] == [FaultKind.RESET] * 2
    assert chosen[4:] == [None, None]


def test_each_fault_comes_as_often_as_its_share() -> None:
    table = FaultTable(dict.fromkeys(FaultKind, 0.05))
    dice = random.Random(3)
    counts = Counter(table.choose(dice.random()) for _ in range(20_000))
    for kind in FaultKind:
        assert counts[kind] / 20_000 == pytest.approx(0.05, abs=0.01)


def test_every_fault_has_a_counter_of_its_own() -> None:
    assert len({kind.outcome for kind in FaultKind}) == len(FaultKind)
    assert FaultKind.HANG.outcome == "fault_timeout"
    assert FaultKind.THROTTLED.outcome == "http_429_injected"
