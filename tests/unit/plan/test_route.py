"""Who goes first when several backends could take a row."""

from nightkiln.core.fault import Fault, FaultClass
from nightkiln.plan.route import goes_at_once, is_cheaper, leaves_to_cheaper, leaves_to_quicker


def test_cheaper_is_clearly_cheaper_and_both_prices_are_known() -> None:
    assert is_cheaper(1.0, 2.0)
    assert not is_cheaper(1.99, 2.0)
    assert not is_cheaper(None, 2.0)
    assert not is_cheaper(1.0, None)
    assert is_cheaper(0.0, 0.1)


def test_rows_are_left_to_cheaper_ones_only_when_all_of_them_find_a_slot() -> None:
    assert leaves_to_cheaper(3, free=3)
    assert not leaves_to_cheaper(4, free=3)
    assert not leaves_to_cheaper(0, free=3)


def test_rows_are_left_to_quicker_ones_only_when_they_are_sooner_done() -> None:
    quick = [(10, 1.0)]
    assert leaves_to_quicker(20, mine_s=5.0, others=quick)
    assert not leaves_to_quicker(80, mine_s=5.0, others=quick)
    assert not leaves_to_quicker(1, mine_s=0.5, others=quick)
    assert not leaves_to_quicker(1, mine_s=5.0, others=[(10, 0.0)])


def test_what_is_the_backends_own_fault_sends_a_row_elsewhere_at_once() -> None:
    for kind in (FaultClass.AUTH, FaultClass.QUOTA, FaultClass.ROUTE):
        assert goes_at_once(Fault(kind=kind, code="x"), is_down=False, is_untried=False)
    full = Fault(kind=FaultClass.OVERLOAD, code="x")
    assert goes_at_once(full, is_down=False, is_untried=True)
    assert not goes_at_once(full, is_down=False, is_untried=False)
    stumbled = Fault(kind=FaultClass.TRANSIENT, code="x")
    assert not goes_at_once(stumbled, is_down=False, is_untried=True)
    assert goes_at_once(stumbled, is_down=True, is_untried=False)
