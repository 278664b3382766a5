import math

from hypothesis import given
from hypothesis import strategies as st

from nightkiln.core.answer import Attempt
from nightkiln.core.fault import Fault, FaultClass
from nightkiln.core.job import Live
from nightkiln.core.usage import NANOS_PER_USD, Totals, Usage
from nightkiln.plan.budget import SCOUTS, Budget, Caps, unseen_of

NOW = 1_800_000_000.0


def used(tokens: int) -> Usage:
    return Usage(input_tokens=tokens, output_tokens=0)


def test_without_caps_everything_may_go() -> None:
    budget = Budget(Caps(), Totals())
    for _ in range(1000):
        assert budget.may_send(NOW)
        budget.sent()


def test_until_something_has_come_back_only_scouts_leave() -> None:
    budget = Budget(Caps(tokens=1_000_000), Totals())
    for _ in range(SCOUTS):
        assert budget.may_send(NOW)
        budget.sent()
    assert not budget.may_send(NOW)
    budget.ended(used(100), None)
    assert budget.may_send(NOW)


def test_no_request_leaves_after_the_deadline() -> None:
    budget = Budget(Caps(until=NOW), Totals())
    assert budget.may_send(NOW - 1)
    assert budget.reason(NOW) == "the deadline has come"


def test_what_earlier_runs_spent_counts() -> None:
    budget = Budget(Caps(cost_usd=1.0), Totals(cost_nanos=NANOS_PER_USD))
    assert budget.reason(NOW) == "$1.0000 of $1 are spent"


def test_what_may_have_been_billed_stays_reserved() -> None:
    budget = Budget(Caps(tokens=1_000), Totals())
    budget.sent()
    budget.ended(used(100), None)
    for _ in range(7):
        assert budget.may_send(NOW)
        budget.sent()
        budget.lost()
    assert budget.reason(NOW) == "100 of 1,000 tokens are used"


def test_caps_said_anew_replace_their_own_kind_and_leave_the_others() -> None:
    kept = Caps(cost_usd=1.0, tokens=500)
    assert kept.under(Caps()) == kept
    assert kept.under(Caps(cost_usd=2.0)) == Caps(cost_usd=2.0, tokens=500)
    assert kept.under(Caps(until=NOW)) == Caps(cost_usd=1.0, tokens=500, until=NOW)
    lower = Caps(cost_usd=0.5, tokens=1, until=NOW)
    assert kept.under(lower) == lower
    assert Caps().under(kept) == kept


def attempt(kind: FaultClass | None = None, *, tokens: int = 0) -> Attempt:
    """One that an earlier run journalled."""
    fault = None if kind is None else Fault(kind=kind, code="c", message="m")
    return Attempt(
        number=1,
        backend="b",
        sent_at=NOW,
        latency_ms=1.0,
        fault=fault,
        usage=used(tokens),
        cost_usd=tokens / 1000,
    )


def test_an_attempt_of_an_earlier_run_counts_with_what_it_used() -> None:
    budget = Budget(Caps(tokens=1_000), Totals())
    budget.had(attempt(tokens=100))
    budget.had(attempt(FaultClass.INCOMPLETE, tokens=780))  # billed, though of no use
    assert budget.reason(NOW) == "880 of 1,000 tokens are used"
    money = Budget(Caps(cost_usd=0.1), Totals())
    money.had(attempt(tokens=100))
    assert money.reason(NOW) == "$0.1000 of $0.1 are spent"


def test_an_attempt_of_an_earlier_run_that_may_have_been_billed_stays_reserved() -> None:
    budget = Budget(Caps(tokens=1_000), Totals())
    budget.had(attempt(tokens=100))
    for _ in range(6):
        budget.had(attempt(FaultClass.AMBIGUOUS))
    assert budget.may_send(NOW)  # 100 used, 6 reserved and the next: 975
    budget.had(attempt(FaultClass.AMBIGUOUS))
    assert budget.reason(NOW) == "100 of 1,000 tokens are used"


def test_an_attempt_of_an_earlier_run_that_was_refused_reserves_nothing() -> None:
    budget = Budget(Caps(tokens=1_000), Totals())
    budget.had(attempt(tokens=100))
    for _ in range(100):
        budget.had(attempt(FaultClass.THROTTLE))
    assert budget.may_send(NOW)


@given(
    cap=st.integers(1, 5_000),
    sizes=st.lists(st.integers(50, 60), min_size=1, max_size=200),
    at_once=st.integers(1, 64),
)
def test_the_cap_holds_whatever_is_under_way(cap: int, sizes: list[int], at_once: int) -> None:
    """Requests of one kind differ a little; only the scouts may cross a cap smaller than they."""
    budget, spent = Budget(Caps(tokens=cap), Totals()), 0
    flying: list[int] = []
    waiting = list(sizes)
    while True:
        while waiting and len(flying) < at_once and budget.may_send(NOW):
            budget.sent()
            flying.append(waiting.pop())
        if not flying:
            break
        size = flying.pop()
        spent += size
        budget.ended(used(size), None)
    assert spent <= max(cap, SCOUTS * 60)
    if waiting:
        assert spent + math.ceil(1.25 * 60) * 2 > cap - 60


def test_what_earlier_runs_may_have_paid_stays_reserved() -> None:
    spent = Totals(input_tokens=100, maybe_billed=7)
    fresh, resumed = (Budget(Caps(tokens=1000), one) for one in (Totals(input_tokens=100), spent))
    for budget in (fresh, resumed):
        budget.sent()
        budget.ended(used(100), None)
    assert fresh.may_send(NOW)
    assert not resumed.may_send(NOW)  # 200 are used, and 8 of up to 125 each would be 1,200


def test_what_nobody_has_read_yet_counts_and_is_counted_once() -> None:
    unseen = Totals(input_tokens=700, output_tokens=200, cost_nanos=NANOS_PER_USD)
    budget = Budget(Caps(tokens=1_000), Totals(), unseen=unseen)
    assert budget.may_send(NOW)  # nobody knows what one costs
    budget.had(attempt(tokens=100))  # which is of the 900
    assert budget.reason(NOW) == "900 of 1,000 tokens are used"
    for _ in range(8):
        budget.had(attempt(tokens=100))
    assert budget.reason(NOW) == "900 of 1,000 tokens are used"
    budget.had(attempt(tokens=50))  # journalled after the last word
    assert budget.reason(NOW) == "950 of 1,000 tokens are used"
    money = Budget(Caps(cost_usd=1.0), Totals(), unseen=unseen)
    assert money.reason(NOW) == "$1.0000 of $1 are spent"


def test_once_every_journal_is_read_nothing_is_unseen() -> None:
    budget = Budget(Caps(tokens=1_000), Totals(), unseen=Totals(input_tokens=1_000))
    assert not budget.may_send(NOW)
    budget.had_all()
    assert budget.may_send(NOW)


def test_unseen_is_what_was_told_and_is_in_no_sum() -> None:
    here = Totals(ok=2, input_tokens=20, output_tokens=10, cost_nanos=5)
    told = Totals(ok=3, input_tokens=30, output_tokens=15, cost_nanos=9)
    more = Totals(input_tokens=10, output_tokens=5, cost_nanos=4)
    assert unseen_of(here, Live(at=NOW, totals=told)) == more
    assert unseen_of(told, Live(at=NOW, totals=here)) == Totals()
    assert unseen_of(here, None) == Totals()


def test_when_all_scouts_are_lost_no_more_leave() -> None:
    budget, sent = Budget(Caps(tokens=1_000_000), Totals(maybe_billed=50)), 0
    while budget.may_send(NOW) and sent < 100:
        budget.sent()
        sent += 1
        budget.failed(Fault(kind=FaultClass.AMBIGUOUS, code="timeout", message="no answer"))
    assert sent == SCOUTS
    assert "4 requests may have been billed" in budget.reason(NOW)


def test_scouts_that_an_earlier_run_lost_hold_no_new_ones() -> None:
    budget = Budget(Caps(tokens=1_000_000), Totals())
    for _ in range(SCOUTS):
        budget.had(attempt(FaultClass.AMBIGUOUS))
    assert budget.may_send(NOW)


def test_a_run_that_follows_knows_from_the_first_request_what_one_costs() -> None:
    spent = Totals(attempts=55, cost_nanos=9_800_000, input_tokens=100, output_tokens=880)
    budget = Budget(Caps(cost_usd=0.01), spent)
    assert "$0.0098 of $0.01" in budget.reason(0.0)
    assert Budget(Caps(cost_usd=0.02), spent).may_send(0.0)
